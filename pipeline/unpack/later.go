package unpack

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// later remembers what can be set only when the tree is whole, in a file without
// a name: there may be millions of directories.
type later struct {
	file *os.File
	w    *bufio.Writer
	enc  *gob.Encoder
}

// pending is one record of it.
type pending struct {
	Dir  bool // everything of a directory, else only the ACL
	Meta meta
}

func newLater(top *os.File) (*later, error) {
	f, err := os.CreateTemp(filepath.Dir(top.Name()), ".unpack-*")
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unpack: %w", err)
	}
	w := bufio.NewWriterSize(f, 64<<10)
	return &later{file: f, w: w, enc: gob.NewEncoder(w)}, nil
}

func (l *later) close() { l.file.Close() }

// add remembers a directory.
func (l *later) add(m *meta) error { return l.put(pending{true, *m}) }

// acl remembers the ACL of another file, when it has one.
func (l *later) acl(m *meta) error {
	if m.Access == "" {
		return nil
	}
	return l.put(pending{false, meta{Path: m.Path, Access: m.Access, Mtime: m.Mtime}})
}

func (l *later) put(p pending) error {
	if err := l.enc.Encode(p); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}

// finish sets what was left for the end.
func (u *unpacker) finish() error {
	// Directories that the archive did not have get what is usual, and a time
	// that does not depend on when it was unpacked.
	for dir := range u.implied {
		if err := u.later.add(&meta{Path: []byte(dir), Mode: 0o755, Mtime: time.Unix(0, 0)}); err != nil {
			return err
		}
	}
	if !u.rootSet {
		if err := u.later.add(&meta{Mode: 0o755, Mtime: time.Unix(0, 0)}); err != nil {
			return err
		}
	}
	if err := u.later.w.Flush(); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if _, err := u.later.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	who := &accounts{top: u.top}
	dec := gob.NewDecoder(bufio.NewReaderSize(u.later.file, 64<<10))
	for {
		var p pending
		err := dec.Decode(&p)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = u.ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		if err := u.settle(p, who); err != nil {
			return err
		}
	}
}

func (u *unpacker) settle(p pending, who names) error {
	name := string(p.Meta.Path)
	gone := func(*os.File, string) error { return unix.ENOENT }
	if p.Dir {
		f, err := u.dirs.open(name, gone, name)
		if err != nil {
			return err
		}
		if err := p.Meta.apply(int(f.Fd())); err != nil {
			return made(name, err)
		}
		return p.Meta.setACLs(who, func(attr string, value []byte) error { return unix.Fsetxattr(int(f.Fd()), attr, value, 0) })
	}
	f, err := u.dirs.open(parentOf(name), gone, name)
	if err != nil {
		return err
	}
	at := fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), path.Base(name))
	return p.Meta.setACLs(who, func(attr string, value []byte) error { return unix.Lsetxattr(at, attr, value, 0) })
}

// setACLs sets the ACLs with set, which follows no symlink.
func (m *meta) setACLs(who names, set func(attr string, value []byte) error) error {
	for _, acl := range []struct{ attr, text string }{
		{"system.posix_acl_access", m.Access}, {"system.posix_acl_default", m.Default},
	} {
		if acl.text == "" {
			continue
		}
		value, err := encodeACL(acl.text, who)
		if err != nil {
			return bad(string(m.Path), "%w", err)
		}
		if err := set(acl.attr, value); err != nil {
			return made(string(m.Path), fmt.Errorf("%s: %w", acl.attr, err))
		}
	}
	return nil
}

// accounts are the users and groups of the host in the archive, which is at the
// top or in the only directory of it.
type accounts struct {
	top           *os.File
	users, groups map[string]uint32
}

func (a *accounts) user(name string) (uint32, bool) {
	if a.users == nil {
		a.users = a.read("etc/passwd")
	}
	id, ok := a.users[name]
	return id, ok
}

func (a *accounts) group(name string) (uint32, bool) {
	if a.groups == nil {
		a.groups = a.read("etc/group")
	}
	id, ok := a.groups[name]
	return id, ok
}

func (a *accounts) read(file string) map[string]uint32 {
	ids := map[string]uint32{}
	root, err := rootfs.Open(a.top.Name())
	if err != nil {
		return ids
	}
	defer root.Close()
	const limit = 16 << 20
	data, err := root.ReadFile(hostpath.Clean(file), limit)
	if errors.Is(err, os.ErrNotExist) {
		if list, err := root.ReadDir(hostpath.Root); err == nil && len(list) == 1 {
			data, _ = root.ReadFile(hostpath.Clean(list[0].Name()).Join(file), limit)
		}
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 3 {
			continue
		}
		if n, err := strconv.ParseUint(f[2], 10, 32); err == nil {
			ids[f[0]] = uint32(n)
		}
	}
	return ids
}
