package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"sync/atomic"

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
	r := &treeReader{o: o, ctx: ctx, group: group, jobs: make(chan *batch), ordered: make(chan *batch, 2*o.Workers+2), hashers: make(chan *hasher, o.Workers)}
	group.Go(r.walk(root))
	for range o.Workers {
		r.hashers <- r.newHasher()
		group.Go(r.work)
	}
	group.Go(func() error { return r.collect(each) })
	return group.Wait()
}

// batch is a run of paths that one worker looks at. It bounds what waits in
// memory, and how many directories are open.
type batch struct {
	items   []item
	records []Record
	done    chan struct{}
	large   sync.WaitGroup // files that are read beside the batch; complete after done
}

const batchItems = 64

type item struct {
	dir  *dirHandle
	name string
	path hostpath.Path
}

type treeReader struct {
	o       ReadOptions
	ctx     context.Context
	group   *errgroup.Group
	hashers chan *hasher // for large files
	device  uint64
	current *batch
	jobs    chan *batch // to the workers
	ordered chan *batch // to the collector
	links   Links
}

// walk lists directories and hands out batches.
func (r *treeReader) walk(root *os.File) func() error {
	return func() error {
		defer close(r.jobs)
		defer close(r.ordered)
		top, err := openBelow(int(root.Fd()), ".", hostpath.Root)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(top.file.Fd()), &st); err != nil {
			top.release()
			return pathError("stat", hostpath.Root, err)
		}
		r.device = st.Dev
		if err := r.add(item{top, ".", hostpath.Root}); err != nil {
			top.release()
			return err
		}
		if err := r.descend(top, hostpath.Root); err != nil {
			return err
		}
		return r.flush()
	}
}

// descend adds everything below dir, and releases it.
func (r *treeReader) descend(dir *dirHandle, p hostpath.Path) error {
	defer dir.release()
	names, err := readNames(dir.file, p)
	if err != nil {
		return err
	}
	for _, n := range names {
		path := child(p, n.name)
		if r.o.Skip != nil && r.o.Skip(path) {
			continue
		}
		if err := r.add(item{dir, n.name, path}); err != nil {
			return err
		}
		if n.kind == unix.DT_UNKNOWN {
			var st unix.Stat_t
			if err := unix.Fstatat(int(dir.file.Fd()), n.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return pathError("lstat", path, err)
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				n.kind = unix.DT_DIR
			}
		}
		if n.kind != unix.DT_DIR {
			continue
		}
		sub, err := openBelow(int(dir.file.Fd()), n.name, path)
		if err != nil {
			return err
		}
		if err := r.descend(sub, path); err != nil {
			return err
		}
	}
	return nil
}

func (r *treeReader) add(it item) error {
	it.dir.refs.Add(1)
	if r.current == nil {
		r.current = &batch{items: make([]item, 0, batchItems), done: make(chan struct{})}
	}
	r.current.items = append(r.current.items, it)
	if len(r.current.items) < batchItems {
		return nil
	}
	return r.flush()
}

func (r *treeReader) flush() error {
	b := r.current
	if b == nil {
		return nil
	}
	r.current = nil
	select {
	case r.ordered <- b:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	select {
	case r.jobs <- b:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	return nil
}

func (r *treeReader) newHasher() *hasher {
	return &hasher{sum: sha256.New(), buf: make([]byte, 256<<10), done: r.o.Done}
}

// work describes the paths of batches.
func (r *treeReader) work() error {
	h := r.newHasher()
	for b := range r.jobs {
		b.records = make([]Record, len(b.items))
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
func (r *treeReader) describe(h *hasher, b *batch, i int) error {
	it := b.items[i]
	e, err := Lstat(it.dir.file, it.name, it.path)
	if err != nil {
		return err
	}
	if e.Dev != r.device {
		return pathError("read", it.path, ErrMounted)
	}
	b.records[i].Entry = e
	if e.Type != Regular || e.Size < largeFile {
		defer it.dir.release()
		if e.Type == Regular {
			b.records[i].SHA256, err = r.content(h, it, e)
		}
		return err
	}
	b.large.Add(1)
	r.group.Go(func() error {
		defer b.large.Done()
		defer it.dir.release()
		select {
		case h := <-r.hashers:
			defer func() { r.hashers <- h }()
			var err error
			b.records[i].SHA256, err = r.content(h, it, e)
			return err
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	})
	return nil
}

// content is the digest of a file's content. An inode of several paths is read
// once.
func (r *treeReader) content(h *hasher, it item, e Entry) ([32]byte, error) {
	compute := func() ([32]byte, error) {
		if r.o.Known != nil {
			if sum, ok := r.o.Known(e); ok {
				if h.done != nil {
					h.done(e.Size)
				}
				return sum, nil
			}
		}
		return h.hash(r.ctx, it.dir.file, it.name, e)
	}
	if g := r.links.Of(e); g != nil {
		return g.sha256(compute)
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
		for _, rec := range b.records {
			rec.Link = r.links.Seen(rec.Entry)
			if err := each(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasher reads files with one buffer.
type hasher struct {
	sum  hash.Hash
	buf  []byte
	done func(int64)
}

// hash reads the file name of dir, which must be what e says it is.
func (h *hasher) hash(ctx context.Context, dir *os.File, name string, e Entry) (sum [32]byte, err error) {
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

// dirHandle is an open directory that is closed when its last user is done.
type dirHandle struct {
	file *os.File
	refs atomic.Int32
}

func (d *dirHandle) release() {
	if d.refs.Add(-1) == 0 {
		d.file.Close()
	}
}

func openBelow(fd int, name string, p hostpath.Path) (*dirHandle, error) {
	var sub int
	err := retry(func() (err error) {
		sub, err = unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, pathError("open", p, err)
	}
	d := &dirHandle{file: os.NewFile(uintptr(sub), string(p))}
	d.refs.Store(1)
	return d, nil
}

// child is dir.Join(name) without the cleaning, which a name from the kernel
// does not need.
func child(dir hostpath.Path, name string) hostpath.Path {
	if dir == hostpath.Root {
		return hostpath.Path("/" + name)
	}
	return dir + "/" + hostpath.Path(name)
}
