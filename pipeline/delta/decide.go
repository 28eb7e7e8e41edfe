package delta

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// before is what an inode was in the last state.
type before struct {
	ctime, mtime, size int64
	sum                [32]byte
	path               hostpath.Path
	blocks             []byte
	moved              bool // it is not at that path any more
}

func beforeOf(i *snapshot.Item) *before {
	b := &before{ctime: i.Ctime, mtime: i.Mtime, size: i.Size, path: i.Path(), blocks: i.Blocks}
	if i.Type() == tree.Regular {
		b.sum = i.Sum()
	}
	return b
}

// meet notes an inode that is in the list now, and what it was, as far as the
// walk can tell: an inode that was at that path and at no other one.
func (m *maker) meet(s *seen) {
	b, met := m.known[s.entry.Ino]
	if b == nil && s.old != nil && s.old.Ino == s.entry.Ino && s.old.Nlink < 2 {
		b = beforeOf(s.old)
	}
	if b != nil || !met {
		m.known[s.entry.Ino] = b
	}
	if s.entry.Type == tree.Regular {
		m.devices[s.entry.Dev] = s.entry.Path
	}
}

// remember collects from the last state the inodes that are in the list now, and
// were not met at their paths: by them renames are found, and the blocks of large
// files.
func (m *maker) remember() error {
	if !m.found {
		return nil
	}
	elsewhere := false
	for _, b := range m.known {
		elsewhere = elsewhere || b == nil
	}
	if elsewhere {
		if err := m.each(m.base.State, func(i *snapshot.Item) error {
			if b, wanted := m.known[i.Ino]; wanted && b == nil {
				m.known[i.Ino] = beforeOf(i)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	moved := func(i *snapshot.Item) error {
		if b := m.known[i.Ino]; b != nil && b.path == i.Path() {
			b.moved = i.Flags&gone != 0
		}
		return nil
	}
	if m.lost {
		if err := m.each(goneList, moved); err != nil {
			return err
		}
	}
	return m.each(foundList, moved)
}

// each reads a list, or the state of that name.
func (m *maker) each(name string, f func(*snapshot.Item) error) error {
	if name != m.base.State {
		name += stateSuffix
	}
	in, err := openState(m.Dir, name)
	if err != nil {
		return err
	}
	defer in.Close()
	for {
		i, err := in.Take()
		if err != nil || i == nil {
			return err
		}
		if err := f(i); err != nil {
			return err
		}
	}
}

// decide finds out, for each path that is not as it was, whether its content has
// to travel: not if inode and times are known, nor if it is read and has the sum
// that it had. Of large files the blocks that changed go to blobs right here.
func (m *maker) decide(ctx context.Context) error {
	if err := m.remember(); err != nil {
		return err
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	list := lazyState{dir: m.Dir, name: decidedList}
	defer list.abort()
	old, err := openState(m.Dir, m.base.State)
	if err != nil {
		return err
	}
	defer old.Close()
	d := decider{maker: m, at: opener{source: m.Source}, sum: tree.NewHasher(m.progress), old: old}
	defer d.at.close()
	var links tree.Links
	if m.found {
		if err := m.each(foundList, func(i *snapshot.Item) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if i.Flags&gone == 0 && i.Type() == tree.Regular {
				r, err := i.Record()
				if err != nil {
					return err
				}
				if links.Seen(r.Entry) == "" {
					if i, err = d.file(ctx, r); err != nil {
						return err
					}
				}
			}
			return list.add(i)
		}); err != nil {
			return err
		}
	}
	_, err = list.end()
	return err
}

type decider struct {
	*maker
	at  opener
	sum *tree.Hasher
	old *snapshot.Cursor
}

// priorOf is what the content of a file may be like: that of its inode, or, when
// a new one took its place, that of its path.
func (d *decider) priorOf(r *tree.Record) (*before, error) {
	if k := d.known[r.Ino]; k != nil {
		return k, nil
	}
	at, err := d.old.UpTo(r.Path, nil)
	if err != nil || at == nil || at.Type() != tree.Regular {
		return nil, err
	}
	return &before{size: at.Size, sum: at.Sum(), path: at.Path(), blocks: at.Blocks}, nil
}

// file decides about a regular file, by its first path.
func (d *decider) file(ctx context.Context, r tree.Record) (*snapshot.Item, error) {
	settle := func(sum [32]byte, blocks []byte) (*snapshot.Item, error) {
		r.SHA256 = sum
		i := snapshot.Of(r, blocks)
		i.Flags = settled
		return &i, nil
	}
	k, err := d.priorOf(&r)
	if err != nil {
		return nil, err
	}
	switch {
	case k != nil && k.size == r.Size && k.mtime == r.Mtime && k.ctime == r.Ctime && !d.Checksum:
		return settle(k.sum, k.blocks) // renamed together with a directory
	case r.Size == 0:
		return settle(sha256.Sum256(nil), nil)
	case k != nil && k.blocks != nil && r.Size >= BlockSize:
		sum, blocks, err := d.patchSteady(ctx, &r.Entry, k)
		if errors.Is(err, errUnsteady) {
			i := snapshot.Of(r, nil)
			i.Flags = unsteady
			return &i, nil
		}
		if err != nil {
			return nil, err
		}
		return settle(sum, blocks)
	case k != nil && k.size == r.Size:
		sum, err := d.hash(ctx, &r.Entry)
		if err == nil && sum == k.sum {
			return settle(sum, k.blocks)
		}
		if err != nil && !errors.Is(err, errUnsteady) {
			return nil, err
		}
	}
	d.pending++
	i := snapshot.Of(r, nil)
	i.Flags = pending
	return &i, nil
}

// errUnsteady is wrapped when a file is not what it was when it was looked at,
// or cannot be read: what packs it tries again, and tells of it.
var errUnsteady = errors.New("changed while it was read")

// hash reads a file whose size did not change.
func (d *decider) hash(ctx context.Context, e *tree.Entry) ([32]byte, error) {
	f, err := d.at.open(d.below(e.Path), e)
	if err != nil {
		return [32]byte{}, err
	}
	defer f.Close()
	sum, err := d.sum.Sum(ctx, d.at.dir, e.Path.Base(), *e)
	if err != nil {
		if ctx.Err() != nil {
			return sum, ctx.Err()
		}
		return sum, fmt.Errorf("%w: %w", errUnsteady, err)
	}
	return sum, steady(f, e)
}

// opener opens files of the source, and keeps their directory open.
type opener struct {
	source Source
	path   hostpath.Path
	dir    *os.File
}

func (o *opener) close() {
	if o.dir != nil {
		o.dir.Close()
		o.dir = nil
	}
}

// enter opens the directory that p is in; the handle is the opener's.
func (o *opener) enter(p hostpath.Path) (*os.File, error) {
	if o.dir == nil || o.path != p.Dir() {
		o.close()
		dir, err := o.source.OpenDir(p.Dir())
		if err != nil {
			return nil, err
		}
		o.dir, o.path = dir, p.Dir()
	}
	return o.dir, nil
}

// open opens the file that was seen as e, at the path p of the host.
func (o *opener) open(p hostpath.Path, e *tree.Entry) (*os.File, error) {
	dir, err := o.enter(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnsteady, err)
	}
	f, err := rootfs.OpenRegularAt(dir, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnsteady, err)
	}
	if err := steady(f, e); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// steady compares the open file with what was seen.
func steady(f *os.File, e *tree.Entry) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if st.Ino != e.Ino || st.Size != e.Size || st.Mtim.Nano() != e.Mtime || st.Ctim.Nano() != e.Ctime {
		return errUnsteady
	}
	return nil
}
