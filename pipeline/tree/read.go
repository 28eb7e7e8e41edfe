package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// ReadOptions say how a tree is read.
type ReadOptions struct {
	Workers int // that read metadata and content side by side; at least 1
	// Skip leaves out a path and what is below it.
	Skip func(hostpath.Path) bool
	// Done is told the bytes of content that were read; it is called
	// concurrently.
	Done func(bytes int64)
	// Known tells the content digest of a file that was read before and has not
	// changed since; it may be nil, and is called concurrently.
	Known func(Entry) (sum [32]byte, ok bool)
}

// ErrMounted is wrapped when another file system is mounted within a tree.
var ErrMounted = errors.New("another file system is mounted here")

// Read reads a whole tree, metadata and content, and calls each with the record
// of every path in the order of a listing, on one goroutine. root is the tree's
// directory; nothing outside of it is reached, since no symlink is followed.
// The memory it takes depends on the largest directory and on the inodes with
// several paths, not on the tree.
func Read(ctx context.Context, root *os.File, o ReadOptions, each func(Record) error) error {
	group, ctx := errgroup.WithContext(ctx)
	o.Workers = max(o.Workers, 1)
	r := &treeReader{
		walker: newWalker[struct{}, Record](ctx, WalkOptions{Workers: o.Workers, Skip: o.Skip}),
		o:      o, group: group, hashers: make(chan *Hasher, o.Workers),
	}
	group.Go(func() error { return r.walk(root) })
	for range o.Workers {
		r.hashers <- NewHasher(r.o.Done)
		group.Go(r.work)
	}
	group.Go(func() error { return r.collect(each) })
	return group.Wait()
}

type treeReader struct {
	*walker[struct{}, Record]
	o       ReadOptions
	group   *errgroup.Group
	hashers chan *Hasher // for large files
	links   Links
}

// work describes the paths of batches.
func (r *treeReader) work() error {
	h := NewHasher(r.o.Done)
	for b := range r.jobs {
		b.found = make([]Record, len(b.items))
		for i := range b.items {
			if err := r.describe(h, b, i); err != nil {
				return err
			}
		}
		close(b.done)
	}
	return nil
}

// largeFile is the size from which a file is not read by the worker that has its
// batch: several of them in one directory would keep one worker busy, and leave
// the others without work.
const largeFile = 4 << 20

// describe fills in record i of the batch, at once or, of a large file, a little
// later.
func (r *treeReader) describe(h *Hasher, b *batch[struct{}, Record], i int) error {
	it := b.items[i]
	e, err := Lstat(it.Dir, it.Name, it.Path)
	if err != nil {
		return err
	}
	if e.Dev != r.device {
		return pathError("read", it.Path, ErrMounted)
	}
	b.found[i].Entry = e
	if e.Type != Regular || e.Size < largeFile {
		defer it.handle.release()
		if e.Type == Regular {
			b.found[i].SHA256, err = r.content(h, it, e)
		}
		return err
	}
	b.large.Add(1)
	r.group.Go(func() error {
		defer b.large.Done()
		defer it.handle.release()
		select {
		case h := <-r.hashers:
			defer func() { r.hashers <- h }()
			var err error
			b.found[i].SHA256, err = r.content(h, it, e)
			return err
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	})
	return nil
}

// content is the digest of a file's content. An inode of several paths is read
// once.
func (r *treeReader) content(h *Hasher, it item[struct{}], e Entry) ([32]byte, error) {
	compute := func() ([32]byte, error) {
		if r.o.Known != nil {
			if sum, ok := r.o.Known(e); ok {
				if h.done != nil {
					h.done(e.Size)
				}
				return sum, nil
			}
		}
		return h.Sum(r.ctx, it.Dir, it.Name, e)
	}
	if g := r.links.Of(e); g != nil {
		return g.Sum(compute)
	}
	return compute()
}

// collect passes the records on in order.
func (r *treeReader) collect(each func(Record) error) error {
	for b := range r.ordered {
		select {
		case <-b.done:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
		b.large.Wait()
		if err := r.ctx.Err(); err != nil {
			return err
		}
		for _, rec := range b.found {
			rec.Link = r.links.Seen(rec.Entry)
			if err := each(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// Hasher computes the sums of files, one after the other.
type Hasher struct {
	sum  hash.Hash
	buf  []byte
	done func(int64)
}

// NewHasher makes a hasher. done is told the bytes that were read; it may be
// nil.
func NewHasher(done func(bytes int64)) *Hasher {
	return &Hasher{sum: sha256.New(), buf: make([]byte, 256<<10), done: done}
}

// Sum reads the file name of dir, which must have the size that e says. A file
// that shrinks meanwhile gives io.ErrUnexpectedEOF.
func (h *Hasher) Sum(ctx context.Context, dir *os.File, name string, e Entry) (sum [32]byte, err error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	var fd int
	err = retry(func() error {
		fd, err = unix.Openat(int(dir.Fd()), name, flags, 0)
		return err
	})
	if err != nil {
		return sum, pathError("open", e.Path, err)
	}
	defer unix.Close(fd)
	h.sum.Reset()
	var n int64
	// The size is known, so that a file that fits in the buffer takes one read,
	// and a second one only when it grew.
	for n < e.Size {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		k, err := unix.Read(fd, h.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return sum, pathError("read", e.Path, err)
		}
		if k == 0 {
			break
		}
		h.sum.Write(h.buf[:k])
		n += int64(k)
		if h.done != nil {
			h.done(int64(k))
		}
	}
	if n != e.Size {
		return sum, pathError("read", e.Path, fmt.Errorf("%d bytes instead of %d: %w", n, e.Size, io.ErrUnexpectedEOF))
	}
	h.sum.Sum(sum[:0])
	return sum, nil
}
