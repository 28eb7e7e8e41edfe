// Package walk lists a file tree in one parallel pass: workers read directories
// and metadata ahead, one visitor gets every path depth first.
//
// It follows no symlink, reaches every path through the handle of its
// directory, and does not descend into other file systems. Its memory depends
// on the look-ahead and on the longest directory, not on the size of the tree.
package walk

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/mounts"
)

// Item is one path that was found.
type Item struct {
	tree.Entry
	// Problem says why something about the path could not be read.
	Problem string
	// FS is the type of another file system that is mounted here, or what Prune
	// said. Nothing below such a path is visited.
	FS    string
	Mount *facts.Mount // what is mounted here

	gone  string // why there is no such path any more
	sub   *dir
	later *task
	// Note is for Inspect to leave something for the visitor.
	Note Note
}

// Note is what the scan finds out about a path beyond its metadata.
type Note struct {
	Package string
	State   string
	Marks   uint64 // a bit for everyone who wants the path
}

// Options of a walk. Only Root is needed.
type Options struct {
	Root    *rootfs.Root
	Mounts  mounts.Table
	Workers int // GOMAXPROCS when 0
	// Prune names a directory that is not to be descended into; "" is to be.
	Prune func(tree.Entry) string
	// Inspect looks closer at a path in a worker; dir is the open directory that
	// holds it. What takes long it returns as a function, which is called with
	// the same arguments, beside others.
	Inspect func(ctx context.Context, dir *os.File, it *Item) (later Inspector)
	// Vanished is told about a path that was there when its directory was listed
	// and not any more when it was looked at.
	Vanished func(p hostpath.Path, why string) error
}

// Inspector looks closer at a path.
type Inspector func(ctx context.Context, dir *os.File, it *Item)

// How far workers may be ahead of the visitor. An item takes about half a KiB.
const (
	aheadItems = 16 << 10
	aheadNames = 128 << 10
	chunkNames = 256
	openDirs   = 256
)

// MaxPath is the longest path that is descended into, in bytes: four times what
// open(2) takes, so that only a tree made to exhaust its reader reaches it.
const MaxPath = 4 * unix.PathMax

// Walk visits every path of the root, the root itself first, in the order of
// [hostpath.Compare]. The item belongs to visit until it returns. An error of
// visit or of the context ends the walk, and nothing else does except a root
// that cannot be read.
func Walk(ctx context.Context, o Options, visit func(*Item) error) error {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Vanished == nil {
		o.Vanished = func(hostpath.Path, string) error { return nil }
	}
	w := &walker{Options: o, unprivileged: !readsAll()}
	w.queue.init()
	top, err := w.top(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for range o.Workers {
		group.Go(func() error { return w.queue.work(ctx) })
	}
	group.Go(func() error {
		defer w.queue.close()
		if err := w.visit(ctx, top, visit); err != nil {
			return err
		}
		return w.emit(ctx, top.sub, visit)
	})
	stop := context.AfterFunc(ctx, w.queue.close)
	defer stop()
	err = group.Wait()
	w.closeAll()
	return err
}

// readsAll tells whether permissions keep nothing from this process: that is up
// to its capabilities, and not to its being root (capabilities(7)).
func readsAll() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&hdr, &sets[0]); err != nil {
		return os.Geteuid() == 0
	}
	return sets[0].Effective&(1<<unix.CAP_DAC_OVERRIDE|1<<unix.CAP_DAC_READ_SEARCH) != 0
}

type walker struct {
	Options
	queue        queue
	handles      handles
	unprivileged bool
}

// top looks at the root itself.
func (w *walker) top(ctx context.Context) (*Item, error) {
	f, err := w.Root.OpenDir(hostpath.Root)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e, err := tree.Lstat(f, ".", hostpath.Root)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.Root.Name(), err)
	}
	it := &Item{Entry: e}
	if w.Inspect != nil {
		if later := w.Inspect(ctx, f, it); later != nil {
			later(ctx, f, it)
		}
	}
	it.sub = &dir{path: hostpath.Root, dev: e.Dev, ino: e.Ino}
	w.schedule(it.sub)
	return it, nil
}

// emit visits what is below d.
func (w *walker) emit(ctx context.Context, d *dir, visit func(*Item) error) error {
	for i, c := range d.chunks {
		if err := w.queue.wait(ctx, c.task); err != nil {
			return err
		}
		for j := range c.items {
			it := &c.items[j]
			if err := w.visit(ctx, it, visit); err != nil {
				return err
			}
			if it.gone == "" && it.sub != nil {
				if err := w.emit(ctx, it.sub, visit); err != nil {
					return err
				}
			}
			it.sub, it.later = nil, nil
		}
		w.queue.emitted(len(c.items))
		d.chunks[i] = nil
	}
	return nil
}

// visit hands out one item, once everything about it is known.
func (w *walker) visit(ctx context.Context, it *Item, visit func(*Item) error) error {
	if it.later != nil {
		if err := w.queue.wait(ctx, it.later); err != nil {
			return err
		}
	}
	if it.sub != nil {
		if err := w.queue.wait(ctx, it.sub.listing); err != nil {
			return err
		}
		if it.Problem == "" {
			it.Problem = it.sub.problem
		}
		it.gone = it.sub.gone
	}
	if it.gone != "" {
		return w.Vanished(it.Path, it.gone)
	}
	return visit(it)
}
