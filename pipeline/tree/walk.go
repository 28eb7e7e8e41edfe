package tree

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// WalkOptions say how a tree is walked.
type WalkOptions struct {
	Workers int // that look side by side; at least 1
	// Skip leaves out a path and what is below it. It is called in the order of a
	// listing.
	Skip func(hostpath.Path) bool
	// Live is for a tree that others use: directories that vanish are passed
	// over, and so is what other file systems hold that are mounted within it.
	Live bool
	// Cross says of a directory on another file system that it is walked although
	// the tree is live; nil walks none.
	Cross func(hostpath.Path) bool
}

// Spot is a path and the way to it: the entry Name of the open directory Dir,
// "." for the root itself.
type Spot struct {
	Dir  *os.File
	Name string
	Path hostpath.Path
}

// Walk calls look for every path of the tree, by several workers at once, and
// each with what look made of it, in the order of a listing, on one goroutine.
// note is called right before, in the same order on another goroutine, and its
// result is handed to look: it may read something beside, path by path. The Spot
// is valid in look only. Nothing outside of root is reached, since no symlink is
// followed. The memory it takes depends on the largest directory only.
func Walk[N, T any](ctx context.Context, root *os.File, o WalkOptions,
	note func(hostpath.Path) (N, error), look func(worker int, at Spot, n N) (T, error), each func(T) error,
) error {
	group, ctx := errgroup.WithContext(ctx)
	o.Workers = max(o.Workers, 1)
	w := newWalker[N, T](ctx, o)
	w.note = note
	group.Go(func() error { return w.walk(root) })
	for n := range o.Workers {
		group.Go(func() error {
			for b := range w.jobs {
				b.found = make([]T, len(b.items))
				for i, it := range b.items {
					var err error
					b.found[i], err = look(n, it.Spot, it.noted)
					it.handle.release()
					if err != nil {
						return err
					}
				}
				close(b.done)
			}
			return nil
		})
	}
	group.Go(func() error {
		for b := range w.ordered {
			select {
			case <-b.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			for _, found := range b.found {
				if err := each(found); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return group.Wait()
}

// batch is a run of paths that one worker looks at. It bounds what waits in
// memory, and how many directories are open.
type batch[N, T any] struct {
	items []item[N]
	found []T
	done  chan struct{}
	large sync.WaitGroup // files that are read beside the batch; complete after done
}

const batchItems = 64

type item[N any] struct {
	Spot
	handle *dirHandle
	noted  N
}

// walker lists directories and hands out batches.
type walker[N, T any] struct {
	o       WalkOptions
	ctx     context.Context
	note    func(hostpath.Path) (N, error)
	device  uint64
	current *batch[N, T]
	jobs    chan *batch[N, T] // to the workers
	ordered chan *batch[N, T] // to the collector
}

func newWalker[N, T any](ctx context.Context, o WalkOptions) *walker[N, T] {
	return &walker[N, T]{o: o, ctx: ctx, jobs: make(chan *batch[N, T]), ordered: make(chan *batch[N, T], 2*o.Workers+2)}
}

func (w *walker[N, T]) walk(root *os.File) error {
	defer close(w.jobs)
	defer close(w.ordered)
	top, err := openBelow(int(root.Fd()), ".", hostpath.Root)
	if err != nil {
		return err
	}
	if w.device, err = top.device(hostpath.Root); err == nil {
		err = w.add(top, ".", hostpath.Root)
	}
	if err != nil {
		top.release()
		return err
	}
	if err := w.descend(top, hostpath.Root); err != nil {
		return err
	}
	return w.flush()
}

// descend adds everything below dir, and releases it.
func (w *walker[N, T]) descend(dir *dirHandle, p hostpath.Path) error {
	defer dir.release()
	names, err := readNames(dir.file, p)
	if err != nil {
		return err
	}
	for _, n := range names {
		path := child(p, n.name)
		if w.o.Skip != nil && w.o.Skip(path) {
			continue
		}
		if err := w.add(dir, n.name, path); err != nil {
			return err
		}
		if n.kind == unix.DT_UNKNOWN {
			var st unix.Stat_t
			err := unix.Fstatat(int(dir.file.Fd()), n.name, &st, unix.AT_SYMLINK_NOFOLLOW)
			if err != nil && !w.vanished(err) {
				return pathError("lstat", path, err)
			}
			if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				n.kind = unix.DT_DIR
			}
		}
		if n.kind != unix.DT_DIR {
			continue
		}
		if err := w.enter(dir, n.name, path); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker[N, T]) enter(dir *dirHandle, name string, p hostpath.Path) error {
	sub, err := openBelow(int(dir.file.Fd()), name, p)
	if w.vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if w.o.Live {
		device, err := sub.device(p)
		if err != nil || device != w.device && (w.o.Cross == nil || !w.o.Cross(p)) {
			sub.release()
			return err
		}
	}
	return w.descend(sub, p)
}

// vanished reports whether a directory is not there any more, or is none.
func (w *walker[N, T]) vanished(err error) bool {
	return w.o.Live && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP))
}

func (w *walker[N, T]) add(dir *dirHandle, name string, p hostpath.Path) error {
	it := item[N]{Spot: Spot{dir.file, name, p}, handle: dir}
	if w.note != nil {
		var err error
		if it.noted, err = w.note(p); err != nil {
			return err
		}
	}
	dir.refs.Add(1)
	if w.current == nil {
		w.current = &batch[N, T]{items: make([]item[N], 0, batchItems), done: make(chan struct{})}
	}
	w.current.items = append(w.current.items, it)
	if len(w.current.items) < batchItems {
		return nil
	}
	return w.flush()
}

func (w *walker[N, T]) flush() error {
	b := w.current
	if b == nil {
		return nil
	}
	w.current = nil
	select {
	case w.ordered <- b:
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
	select {
	case w.jobs <- b:
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
	return nil
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

func (d *dirHandle) device(p hostpath.Path) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.file.Fd()), &st); err != nil {
		return 0, pathError("stat", p, err)
	}
	return st.Dev, nil
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
