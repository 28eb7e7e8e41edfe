// Package changes finds what was written to a volume since its content was
// proved, and packs it.
package changes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"

	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
)

// What became of a path.
const (
	Added   = "added"
	Altered = "altered" // its type or content
	Dressed = "dressed" // its owner, mode, times, attributes or hard links only
	Removed = "removed"
)

// Options say how a volume is compared.
type Options struct {
	// Since is a time of the volume's own file system in nanoseconds since the
	// epoch: the content of files whose ctime is older is not read, since nobody
	// touched them (inode(7)). 0 reads all.
	Since int64
	// Tree is the digest of the listing; "" does not compare it.
	Tree string
	// NotCompared are extended attributes that do not count, as patterns of
	// path.Match.
	NotCompared []string
	// Progress is told the bytes of content that were read; it may be nil and is
	// called concurrently.
	Progress func(int64)
}

// Volume is a directory that is compared. Nobody may write to it meanwhile.
type Volume struct {
	root *rootfs.Root
}

// Open opens the directory. The caller closes it.
func Open(dir string) (*Volume, error) {
	root, err := rootfs.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Volume{root}, nil
}

// Close releases it.
func (v *Volume) Close() error { return v.root.Close() }

// Found is one path that differs.
type Found struct {
	handoff.Change
	// Record is how it is now; of a removed path, how it was.
	Record tree.Record
}

// Find compares the volume with a listing and calls each with every path that
// differs, in the order of listings. A listing that is nil is that of an empty
// directory. Memory depends on the largest directory and on the inodes with
// several paths.
func (v *Volume) Find(ctx context.Context, listing *tree.Reader, o Options, each func(Found) error) error {
	dir, err := v.root.OpenDir(hostpath.Root)
	if err != nil {
		return err
	}
	defer dir.Close()
	m := &merge{options: o, listing: listing, each: each}
	if err := m.next(); err != nil {
		return err
	}
	how := tree.ReadOptions{
		Workers: runtime.GOMAXPROCS(0), Skip: copier.Reserved, Done: o.Progress,
		Known: func(e tree.Entry) (sum [32]byte, ok bool) { return sum, o.Since != 0 && e.Ctime < o.Since },
	}
	if err := tree.Read(ctx, dir, how, m.add); err != nil {
		return fmt.Errorf("changes of %s: %w", v.root.Name(), err)
	}
	if err := m.rest(); err != nil {
		return err
	}
	if listing != nil && o.Tree != "" && listing.Digest() != o.Tree {
		return fmt.Errorf("the listing has the digest %s, not %s: %w", listing.Digest(), o.Tree, ErrCut)
	}
	return nil
}

// merge goes through the listing and the volume side by side.
type merge struct {
	options Options
	listing *tree.Reader
	each    func(Found) error

	want  tree.Record // the next of the listing
	ended bool        // there is none
}

func (m *merge) next() (err error) {
	if m.listing == nil {
		m.ended = true
		return nil
	}
	m.want, err = m.listing.Next()
	if m.ended = errors.Is(err, io.EOF); m.ended {
		return nil
	}
	return err
}

// add takes the next path of the volume.
func (m *merge) add(got tree.Record) error {
	for !m.ended && hostpath.Compare(m.want.Path, got.Path) < 0 {
		if err := m.removed(); err != nil {
			return err
		}
	}
	got.Xattrs = m.compared(got.Xattrs)
	if m.ended || m.want.Path != got.Path {
		if made(got) || m.listing == nil && got.Path == hostpath.Root {
			return nil
		}
		return m.tell(Added, got)
	}
	what := m.differs(got)
	if err := m.next(); err != nil || what == "" {
		return err
	}
	return m.tell(what, got)
}

func (m *merge) removed() error {
	if err := m.tell(Removed, m.want); err != nil {
		return err
	}
	return m.next()
}

func (m *merge) rest() error {
	for !m.ended {
		if err := m.removed(); err != nil {
			return err
		}
	}
	return nil
}

func (m *merge) tell(what string, r tree.Record) error {
	return m.each(Found{Change: handoff.Change{Path: r.Path, What: what, Type: string(r.Type), Size: r.Size}, Record: r})
}

// made reports what mke2fs(8) makes in every new ext4 file system.
func made(r tree.Record) bool {
	return r.Path == "/lost+found" && r.Type == tree.Directory && r.UID == 0 && r.GID == 0 && r.Mode == 0o700
}

// differs says how a path that is in both differs, "" when it does not.
func (m *merge) differs(got tree.Record) string {
	want := m.want
	unread := got.SHA256 == [32]byte{} // nobody touched it
	switch {
	case got.Type != want.Type, got.Size != want.Size, got.Target != want.Target, got.Rdev != want.Rdev,
		got.Type == tree.Regular && !unread && got.SHA256 != want.SHA256:
		return Altered
	case got.Mode != want.Mode, got.UID != want.UID, got.GID != want.GID, got.Mtime != want.Mtime, got.Link != want.Link,
		!slices.EqualFunc(got.Xattrs, m.compared(want.Xattrs), func(x, y tree.Xattr) bool { return x.Name == y.Name && string(x.Value) == string(y.Value) }):
		return Dressed
	}
	return ""
}

// compared drops the attributes that do not count.
func (m *merge) compared(list []tree.Xattr) []tree.Xattr {
	if len(m.options.NotCompared) == 0 || len(list) == 0 {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(x tree.Xattr) bool {
		return slices.ContainsFunc(m.options.NotCompared, func(pattern string) bool {
			ok, err := path.Match(pattern, x.Name)
			return err == nil && ok
		})
	})
}
