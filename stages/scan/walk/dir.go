package walk

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/mounts"
)

// dir is a directory from when it was seen until it was visited.
type dir struct {
	path     hostpath.Path
	parent   *dir // nil for the root
	dev, ino uint64

	listing *task
	chunks  []*chunk // set by listing
	problem string   // set by listing
	gone    string   // set by listing

	handle
}

// chunk is a run of names of one directory that one worker looks at.
type chunk struct {
	dir   *dir
	names names
	items []Item // set by the task
	task  *task
}

// schedule has d listed.
func (w *walker) schedule(d *dir) {
	d.listing = newTask(d.path, func(ctx context.Context) { w.list(ctx, d) })
	d.listing.list = true
	w.queue.add(d.listing)
}

// list reads the names of d and cuts them into chunks.
func (w *walker) list(ctx context.Context, d *dir) {
	f, err := w.open(d)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			d.gone = "vanished before it was read"
		} else {
			d.problem = Reason(err)
		}
		return
	}
	list, err := readNames(ctx, f)
	if err != nil {
		// What was listed before the error is taken along.
		d.problem = Reason(err)
	}
	w.queue.listed(list.len())
	var tasks []*task
	for from := 0; from < list.len(); from += chunkNames {
		c := &chunk{dir: d, names: list.slice(from, min(from+chunkNames, list.len()))}
		c.task = newTask(join(d.path, c.names.at(0).name), func(ctx context.Context) { w.look(ctx, c) })
		d.chunks = append(d.chunks, c)
		tasks = append(tasks, c.task)
	}
	w.handles.hold(d, f, len(tasks))
	w.queue.add(tasks...)
}

// open opens d through its parent, and makes sure that it is the directory that
// was seen.
func (w *walker) open(d *dir) (*os.File, error) {
	if d.parent == nil {
		return w.Root.OpenDir(hostpath.Root)
	}
	parent, err := w.handles.use(w.Root, d.parent)
	if err != nil {
		w.handles.done(d.parent)
		return nil, err
	}
	fd, err := rootfs.OpenAt(int(parent.Fd()), d.path.Base(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	w.handles.done(d.parent)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if st.Dev != d.dev || st.Ino != d.ino {
		unix.Close(fd)
		return nil, errReplaced
	}
	return os.NewFile(uintptr(fd), string(d.path)), nil
}

var errReplaced = errors.New("replaced by another directory while it was scanned")

// look reads the metadata of the names of a chunk.
func (w *walker) look(ctx context.Context, c *chunk) {
	d := c.dir
	f, err := w.handles.use(w.Root, d)
	c.items = make([]Item, c.names.len())
	w.queue.read(len(c.items))
	more := 0
	for i := range c.items {
		if ctx.Err() != nil {
			break
		}
		it, n := &c.items[i], c.names.at(i)
		p := join(d.path, n.name)
		if err != nil {
			*it = unknown(p, n, err)
			continue
		}
		if m, ok := w.Mounts[p]; ok {
			*it = mounted(f, p, n, m)
			continue
		}
		w.lstat(f, p, n, it)
		if it.gone != "" || it.FS != "" {
			continue
		}
		if it.Type == tree.Directory {
			more += w.descend(f, d, it)
		}
		more += w.inspect(ctx, f, d, it)
	}
	c.names = names{}
	// The directory stays open for the directories and the tasks that were
	// found in it.
	w.handles.add(d, more)
	w.handles.done(d)
	for i := range c.items {
		it := &c.items[i]
		if it.sub != nil {
			w.schedule(it.sub)
		}
		if it.later != nil {
			w.queue.add(it.later)
		}
	}
}

func (w *walker) lstat(f *os.File, p hostpath.Path, n name, it *Item) {
	e, err := tree.Lstat(f, n.name, p)
	switch {
	case errors.Is(err, unix.ENOENT):
		*it = Item{Entry: tree.Entry{Path: p}, gone: "vanished while its directory was read"}
		return
	case err != nil:
		*it = unknown(p, n, err)
		return
	}
	*it = Item{Entry: e}
	if w.unprivileged && e.Type == tree.Regular {
		if err := unix.Faccessat(int(f.Fd()), n.name, unix.R_OK, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW); err != nil {
			it.Problem = Reason(err)
		}
	}
}

// descend decides whether the directory it is to be listed, and counts the use
// that makes of its parent's handle.
func (w *walker) descend(f *os.File, d *dir, it *Item) int {
	if it.Dev != d.dev {
		m, ok := otherDevice(f, it)
		if ok {
			it.FS, it.Mount = m.FSType, &m
			return 0
		}
	}
	if w.Prune != nil {
		if it.FS = w.Prune(it.Entry); it.FS != "" {
			return 0
		}
	}
	if len(it.Path) > MaxPath {
		it.Problem = fmt.Sprintf("not descended into: its path is longer than %d bytes", MaxPath)
		return 0
	}
	it.sub = &dir{path: it.Path, parent: d, dev: it.Dev, ino: it.Ino}
	return 1
}

func (w *walker) inspect(ctx context.Context, f *os.File, d *dir, it *Item) int {
	if w.Inspect == nil {
		return 0
	}
	later := w.Inspect(ctx, f, it)
	if later == nil {
		return 0
	}
	it.later = newTask(it.Path, func(ctx context.Context) {
		defer w.handles.done(d)
		f, err := w.handles.use(w.Root, d)
		if err != nil {
			it.Problem = Reason(err)
			return
		}
		later(ctx, f, it)
	})
	return 1
}

// otherDevice tells a file system that the mount table does not have (that of
// another mount namespace, or without /proc) from a subvolume, which has a
// device number of its own and belongs to the tree.
func otherDevice(f *os.File, it *Item) (facts.Mount, bool) {
	m := facts.Mount{Path: it.Path}
	h, err := unix.Openat(int(f.Fd()), it.Path.Base(), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		it.Problem = Reason(err)
		return m, true
	}
	top := os.NewFile(uintptr(h), string(it.Path))
	defer top.Close()
	outer, err1 := mounts.TypeOf(f)
	inner, err2 := mounts.TypeOf(top)
	if err := errors.Join(err1, err2); err != nil {
		it.Problem = Reason(err)
		return m, true
	}
	if inner == outer && mounts.Subvolumes(inner) {
		return m, false
	}
	m.FSType, m.Virtual = inner, mounts.Virtual(inner, it.Path)
	if err := mounts.Stat(top, &m); err != nil {
		it.Problem = Reason(err)
	}
	return m, true
}

// mounted describes a mount point. Nothing here waits for ever on the server of
// a network file system.
func mounted(f *os.File, p hostpath.Path, n name, m facts.Mount) Item {
	type answer struct {
		e tree.Entry
		m facts.Mount
	}
	got := make(chan answer, 1)
	dir, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = mounts.Within(func() error {
			f := os.NewFile(uintptr(dir), "")
			defer f.Close()
			e, err := tree.Lstat(f, n.name, p)
			if err != nil {
				return err
			}
			m := m
			if h, err := unix.Openat(int(f.Fd()), n.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
				top := os.NewFile(uintptr(h), "")
				err = mounts.Stat(top, &m)
				top.Close()
				if err != nil {
					return err
				}
			}
			got <- answer{e, m}
			return nil
		})
	}
	it := unknown(p, n, err)
	switch {
	case err == nil:
		a := <-got
		it = Item{Entry: a.e}
		m = a.m
	case m.Virtual: // a FUSE portal lets nobody look, and hides nothing of the host
		it.Problem = ""
	}
	it.FS, it.Mount = m.FSType, &m
	return it
}

// unknown is what is left of an entry that cannot be looked at: its name, and
// the type that its directory gave.
func unknown(p hostpath.Path, n name, err error) Item {
	it := Item{Entry: tree.Entry{Path: p, Type: n.kind()}}
	if err != nil {
		it.Problem = Reason(err)
	}
	return it
}

// Reason is the error of the system call alone: the path is known.
func Reason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// join is Path.Join for a name that is known to be clean.
func join(dir hostpath.Path, name string) hostpath.Path {
	if dir == hostpath.Root {
		return hostpath.Path("/" + name)
	}
	return dir + hostpath.Path("/"+name)
}
