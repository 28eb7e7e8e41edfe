// Package transfer moves the databases that a server's files hold into another
// server: it starts the server that wrote the files on a socket of its own, has
// the engine's own tools dump and restore, and compares both servers table by
// table.
//
// A restore goes into what is empty or absent. What it begins it notes in the
// other server, in a database of the name statelift: a run that was stopped is
// begun again by the next, and what somebody else put there, or wrote since, is
// never overwritten.
package transfer
