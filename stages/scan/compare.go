package scan

import (
	"context"
	"crypto"
	_ "crypto/md5"    // the sums of dpkg
	_ "crypto/sha256" // the sums of rpm
	"errors"
	"hash"
	"os"
	"sync"

	md5simd "github.com/minio/md5-simd"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/walk"
)

// comparer tells the owner of paths, and compares packaged files with what the
// package shipped. MD5 is what dpkg has, and the slowest part of a scan: one
// processor hashes several files at the same time in the lanes of its vector
// instructions, which takes more workers than processors to feed.
type comparer struct {
	indexes []collect.Index
	md5     md5simd.Server
	mu      sync.Mutex
	idle    []*reader
	all     []*reader
}

// lanes is how many workers keep the vector instructions busy (AVX-512 has 16).
const lanes = md5simd.Lanes

func newComparer(indexes []collect.Index) *comparer {
	return &comparer{indexes: indexes, md5: md5simd.NewServer()}
}

// close is called when no worker is left.
func (c *comparer) close() {
	for _, r := range c.all {
		r.md5.Close()
	}
	c.md5.Close()
}

// A reader is what one worker reads with.
type reader struct {
	buf    []byte
	md5    md5simd.Hasher
	others map[crypto.Hash]hash.Hash
}

func (c *comparer) take() *reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		r := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return r
	}
	r := &reader{buf: make([]byte, 128<<10), md5: c.md5.NewHash(), others: map[crypto.Hash]hash.Hash{}}
	c.all = append(c.all, r)
	return r
}

func (c *comparer) give(r *reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, r)
}

// short is the size to which a file is hashed by its worker alone: handing it
// over to the lanes takes longer.
const short = 8 << 10

func (r *reader) hash(kind crypto.Hash, size int64) hash.Hash {
	if kind == crypto.MD5 && size > short {
		return r.md5
	}
	if r.others[kind] == nil {
		r.others[kind] = kind.New()
	}
	return r.others[kind]
}

// slow is the size from which reading a file is a task of its own, so that a
// run of large files occupies all workers.
const slow = 512 << 10

// inspect is called for every path, by workers.
func (c *comparer) inspect(ctx context.Context, dir *os.File, it *walk.Item) walk.Inspector {
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
		c.compare(ctx, dir, it, owned)
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
var errChanged = errors.New(catalog.ProblemChanged)

func (c *comparer) compare(ctx context.Context, dir *os.File, it *walk.Item, owned collect.Owned) {
	r := c.take()
	defer c.give(r)
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
	fd, err := rootfs.OpenAt(int(dir.Fd()), it.Path.Base(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unchanged(fd, it); err != nil {
		return nil, err
	}
	h := r.hash(kind, it.Size)
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
		h.Write(r.buf[:n])
		// The size was compared when the file was opened, so that what would come
		// after it was written since.
		if size += int64(n); size >= it.Size || n == 0 {
			break
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
