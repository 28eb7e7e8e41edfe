package scan

import (
	"context"
	"crypto"
	_ "crypto/md5" // the sums of dpkg
	"errors"
	"hash"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/walk"
)

// comparer tells the owner of paths, and compares packaged files with what the
// package shipped.
type comparer struct {
	indexes []collect.Index
	readers sync.Pool // of *reader
}

func newComparer(indexes []collect.Index) *comparer {
	c := &comparer{indexes: indexes}
	c.readers.New = func() any {
		return &reader{buf: make([]byte, 256<<10), hashes: map[crypto.Hash]hash.Hash{}}
	}
	return c
}

// A reader is what one worker reads with.
type reader struct {
	buf    []byte
	hashes map[crypto.Hash]hash.Hash
}

// slow is the size from which reading a file is a task of its own, so that a
// run of large files occupies all workers.
const slow = 512 << 10

// inspect is called for every path, by workers.
func (c *comparer) inspect(dir *os.File, it *walk.Item) walk.Inspector {
	owned, ok := c.owner(it)
	if !ok {
		return nil
	}
	it.Note.Package = owned.Package
	switch {
	case owned.Sum == "" || it.FS != "" || it.Problem != "" || !owned.Hash.Available():
		it.Note.State = string(catalog.Unchecked)
	case it.Type != tree.Regular:
		it.Note.State = string(state(owned, false))
	case it.Size >= slow:
		return func(ctx context.Context, dir *os.File, it *walk.Item) { c.compare(ctx, dir, it, owned) }
	default:
		c.compare(context.Background(), dir, it, owned)
	}
	return nil
}

func (c *comparer) owner(it *walk.Item) (collect.Owned, bool) {
	for _, x := range c.indexes {
		if o, ok := x.Owner(it.Path); ok {
			return o, true
		}
	}
	return collect.Owned{}, false
}

func state(o collect.Owned, same bool) catalog.State {
	switch {
	case o.Conffile && same:
		return catalog.ConffileSame
	case o.Conffile:
		return catalog.ConffileChanged
	case same:
		return catalog.Same
	}
	return catalog.Changed
}

// errChanged is the problem of a file that is not any more what the scan saw.
var errChanged = errors.New("changed while it was scanned")

func (c *comparer) compare(ctx context.Context, dir *os.File, it *walk.Item, owned collect.Owned) {
	r := c.readers.Get().(*reader)
	defer c.readers.Put(r)
	sum, err := r.sum(ctx, dir, it, owned.Hash)
	if err != nil {
		it.Problem = walk.Reason(err)
		it.Note.State = string(catalog.Unchecked)
		return
	}
	it.Note.State = string(state(owned, string(sum) == owned.Sum))
}

// sum reads a file with plain system calls: this is the one place where every
// call counts, tens of thousands of times.
func (r *reader) sum(ctx context.Context, dir *os.File, it *walk.Item, kind crypto.Hash) ([]byte, error) {
	fd, err := open(int(dir.Fd()), it.Path.Base())
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unchanged(fd, it); err != nil {
		return nil, err
	}
	h := r.hashes[kind]
	if h == nil {
		h = kind.New()
		r.hashes[kind] = h
	}
	h.Reset()
	size := int64(0)
	for {
		n, err := unix.Read(fd, r.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		h.Write(r.buf[:n])
		if size += int64(n); size > it.Size {
			return nil, errChanged
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if size != it.Size {
		return nil, errChanged
	}
	if size >= slow {
		if err := unchanged(fd, it); err != nil {
			return nil, err
		}
	}
	return h.Sum(nil), nil
}

// unchanged makes sure that fd is the file that was seen. A FIFO in its place
// does not block, thanks to O_NONBLOCK, and is refused here.
func unchanged(fd int, it *walk.Item) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Dev != it.Dev || st.Ino != it.Ino || st.Size != it.Size || st.Mtim.Nano() != it.Mtime || st.Ctim.Nano() != it.Ctime ||
		st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errChanged
	}
	return nil
}

// open opens a file without following a link and, where the kernel allows it,
// without a trace in its access time.
func open(dir int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	for noatime := unix.O_NOATIME; ; {
		fd, err := unix.Openat(dir, name, flags|noatime, 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EPERM && noatime != 0:
			noatime = 0
		default:
			return fd, err
		}
	}
}
