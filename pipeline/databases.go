package pipeline

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
)

// Result codes of SQLite (https://sqlite.org/rescode.html). The lowest byte is
// the primary one.
const (
	primaryCode   = 0xff
	sqliteIOErr   = 10
	sqliteCorrupt = 11
	sqliteFull    = 13
	sqliteNotADB  = 26
)

// placed says where it was, when a database in dir had no room or could not be
// read or written: SQLite does not.
func placed(dir string, err error) error {
	var fault *sqlite.Error
	if !errors.As(err, &fault) {
		return err
	}
	code := fault.Code() & primaryCode
	switch {
	case code == sqliteFull, code == sqliteIOErr && full(dir):
		return fmt.Errorf("%w: databases in %s: %w", err, dir, unix.ENOSPC)
	case code == sqliteIOErr:
		return fmt.Errorf("%w: databases in %s", err, dir)
	}
	return err
}

// full tells whether the disk has no room for what SQLite writes at once.
func full(dir string) bool {
	const room = 64 << 10
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && int64(s.Bavail)*s.Bsize < room
}

// damaged reports whether a database is none any more.
func damaged(err error) bool {
	var fault *sqlite.Error
	if !errors.As(err, &fault) {
		return false
	}
	code := fault.Code() & primaryCode
	return code == sqliteCorrupt || code == sqliteNotADB
}
