// Package target looks at the cluster before anything is done.
//
// It reads no hand-off and writes the target hand-off: what the cluster offers,
// what is in the way, and which permissions are missing; in a rehearsal it writes
// an empty one. It asks the API server and changes nothing there; every run looks
// again, and what changed since makes the plan anew.
package target
