package datastore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// JudgeBackup looks at a copy that the engine's own means made of a database that
// ran. It is Clean when a server starts with it as after a clean stop, Recoverable
// when the server brings it to the moment of the copy at its first start, by what is
// in it; any other state says that it is no copy.
func JudgeBackup(ctx context.Context, root *rootfs.Root, engine Engine, dir hostpath.Path) (Verdict, error) {
	v := Verdict{Engine: engine, Dir: dir, State: Clean}
	var err error
	switch engine {
	case PostgreSQL:
		err = v.baseBackup(root)
	case InnoDB:
		err = v.preparedBackup(root)
	case Redis:
		return Judge(ctx, root, engine, dir)
	default:
		return Verdict{}, fmt.Errorf("there is no engine %q", engine)
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("copy of %s in %s: %w", engine, dir, err)
	}
	if len(v.Evidence) == 0 {
		v.note(Unknown, dir, "it holds no file of %s", engine)
	}
	return v, nil
}

// startsAt is the first line of a backup label: where the write-ahead log has to be
// read from, and the file of it that has this place (backup_label, PostgreSQL
// chapter 26.3.4).
var startsAt = regexp.MustCompile(`^START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) \(file ([0-9A-F]{24})\)\n`)

// maxLabel bounds a backup label, which has some ten lines.
const maxLabel = 64 << 10

// baseBackup judges a base backup: a control file that fits its checksum, the label
// that says where recovery begins, and the log from there on.
func (v *Verdict) baseBackup(root *rootfs.Root) error {
	control, err := root.ReadFile(v.Dir.Join("global/pg_control"), controlSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, rootfs.ErrTooLarge):
		v.note(Unknown, v.Dir.Join("global/pg_control"), "it is longer than a control file")
		return nil
	case err != nil:
		return err
	}
	if c := parseControl(control); c.why != "" {
		v.note(Unknown, v.Dir.Join("global/pg_control"), "%s", c.why)
	}
	name := v.Dir.Join("backup_label")
	label, err := root.ReadFile(name, maxLabel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.note(Unclean, name, "nothing says where the server has to recover from")
		return nil
	case errors.Is(err, rootfs.ErrTooLarge):
		v.note(Unknown, name, "it is longer than a backup label")
		return nil
	case err != nil:
		return err
	}
	start := startsAt.FindSubmatch(label)
	if start == nil {
		v.note(Unknown, name, "it does not begin with the place in the write-ahead log")
		return nil
	}
	segment := v.Dir.Join("pg_wal", string(start[2]))
	found, err := exists(root, segment)
	if err != nil {
		return err
	}
	if !found {
		v.note(Unclean, segment, "the write-ahead log from which the server has to recover is not there")
	}
	v.note(Recoverable, name, "a base backup, which the server recovers from the write-ahead log at %s that is in it", start[1])
	return v.tablespaces(root)
}

// preparedBackup judges a copy of mariadb-backup after --prepare: the tool says so in
// xtrabackup_checkpoints (mariadb_backup_checkpoints since 11), and leaves an empty
// redo log, of which the server makes a new one, or one without changes.
func (v *Verdict) preparedBackup(root *rootfs.Root) error {
	for _, name := range []string{"xtrabackup_checkpoints", "mariadb_backup_checkpoints"} {
		p := v.Dir.Join(name)
		data, err := root.ReadFile(p, maxLabel)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, rootfs.ErrTooLarge):
			v.note(Unknown, p, "it is longer than what the tool writes")
			return nil
		case err != nil:
			return err
		}
		kind, upTo := checkpoints(string(data))
		if kind != "full-prepared" && kind != "log-applied" {
			v.note(Unclean, p, "the copy is not prepared: it is %.40q", kind)
			return nil
		}
		v.note(Clean, p, "a copy that was prepared up to %.20s", upTo)
		return v.emptyRedo(root)
	}
	return nil
}

// checkpoints reads lines KEY = VALUE.
func checkpoints(text string) (kind, upTo string) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(key) {
		case "backup_type":
			kind = strings.TrimSpace(value)
		case "last_lsn":
			upTo = strings.TrimSpace(value)
		}
	}
	return kind, upTo
}

// emptyRedo accepts a redo log of no bytes, or none, and judges any other.
func (v *Verdict) emptyRedo(root *rootfs.Root) error {
	info, err := root.Stat(v.Dir.Join("ib_logfile0"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return judgeInnoDB(root, v)
}
