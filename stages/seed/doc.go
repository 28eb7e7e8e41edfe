// Package seed makes the seeds of the volumes.
//
// It reads the hand-offs plan and source, the inventory, and the source's files
// of class volume; it writes seeds/, an OCI layout, rounds/VOLUME/, from which the
// sync rounds start (package delta), and the hand-off seeds; it touches nothing
// else. It resumes by blob: the ledger tells which pack or part
// is of which files as the scan saw them.
package seed
