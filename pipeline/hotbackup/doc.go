// Package hotbackup copies databases consistently while they run, by the engines'
// own means: pg_basebackup(1), mariadb-backup, BGSAVE of Redis. Which commands that
// are is data (profile.Backup); this package has them run on the source, where the
// copy stays until it was read: below /var/lib/statelift/backups/ID, which is
// removed afterwards, and also by the next call after a kill. ID is of the workspace,
// so that several of them do not remove each other's.
//
// # The command of a profile
//
// It is run as root on the source, with the database's directory as an argument
// appended to its own: then it changes nothing, prints a line for each fact, and ends
// with status 0:
//
//	down               no server runs there
//	missing            the tool is not on the source
//	refused TEXT       the tool would not do, and why
//	dir NAME PATH      the copy will have the directory PATH of the source as NAME,
//	                   which has small letters, digits and "-"; the database's own
//	                   directory is the first
//
// With one more argument, the directory of the copy, it makes the directories that it
// named there, and returns when the copy is complete; any other end is a failure,
// with another status. That directory is empty, and belongs to the owner of the
// database's directory with mode 0700. Passwords come from the application's own
// configuration on the source; none is an argument.
package hotbackup
