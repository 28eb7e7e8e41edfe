// Package datastore judges databases by their own files: whether a directory is
// what a clean stop leaves behind, or what a server that runs, or was killed, has
// there. It knows InnoDB's redo log (MariaDB 10.5 and newer), the control file of
// PostgreSQL, and the snapshots and append-only files of Redis; a format that it
// does not know is Unknown, never Clean.
//
// It reads and changes nothing. All that it reads is foreign: sizes are checked,
// and nothing is held but parts of a few files.
package datastore
