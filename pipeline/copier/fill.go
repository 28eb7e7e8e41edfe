package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// filler writes a copy.
type filler struct {
	seed     *seed.Seed
	root     *os.File
	journal  *journal
	workers  int
	again    bool // there may be something already
	trust    bool // what looks finished is finished
	progress func(int64)

	mu   sync.Mutex
	open map[*largeFile]bool
}

// fill writes everything but hard links and the metadata of directories.
func (f *filler) fill(ctx context.Context) error {
	f.open = map[*largeFile]bool{}
	group, ctx := errgroup.WithContext(ctx)
	jobs := make(chan func(*worker) error)
	for range f.workers {
		group.Go(func() error {
			w := &worker{filler: f, at: newPlace(f.root), buf: make([]byte, 256<<10)}
			defer w.at.close()
			for job := range jobs {
				if err := job(w); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(jobs)
		return f.feed(ctx, jobs)
	})
	err := group.Wait()
	for file := range f.open {
		unix.Close(file.fd)
	}
	f.open = nil
	return err
}

// feed makes the directories of each unit, in order, and hands out the rest.
func (f *filler) feed(ctx context.Context, jobs chan<- func(*worker) error) error {
	w := &worker{filler: f, at: newPlace(f.root)}
	defer w.at.close()
	for u, err := range f.seed.Units(ctx) {
		if err != nil {
			return err
		}
		for i := range u.Records {
			r := &u.Records[i]
			if r.Path == markerPath {
				return fmt.Errorf("%s: a copy under way needs this name: %w", r.Path, seed.ErrFormat)
			}
			if r.Type == tree.Directory {
				if err := w.mkdir(r); err != nil {
					return err
				}
			}
		}
		list, err := f.jobs(ctx, w, &u)
		if err != nil {
			return err
		}
		for _, job := range list {
			select {
			case jobs <- job:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// jobs are the work of a unit: what is packed, and each part of a large file.
func (f *filler) jobs(ctx context.Context, w *worker, u *seed.Filled) ([]func(*worker) error, error) {
	out := []func(*worker) error{func(w *worker) error { return w.unit(ctx, u) }}
	for k := range u.Large {
		l := &u.Large[k]
		more, err := w.large(ctx, &u.Records[l.At], l, isSparse(u, l.At))
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// worker does one thing at a time.
type worker struct {
	*filler
	at  *place
	buf []byte
}

// mkdir makes a directory that nobody else can look into until it is finished.
func (w *worker) mkdir(r *tree.Record) error {
	if r.Path == hostpath.Root {
		return w.prepareRoot()
	}
	fd, name, err := w.at.parent(r.Path)
	if err != nil {
		return err
	}
	err = unix.Mkdirat(fd, name, 0o700)
	if err == unix.EEXIST {
		// An interrupted run's, or lost+found.
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return pathError("lstat", r.Path, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return pathError("mkdir", r.Path, fmt.Errorf("%w: it is no directory here", ErrOccupied))
		}
		return w.undress(r.Path)
	}
	return pathError("mkdir", r.Path, err)
}

// prepareRoot makes the root, which was there before, as mkdir makes directories.
func (w *worker) prepareRoot() error {
	if err := w.undress(hostpath.Root); err != nil {
		return err
	}
	fd, err := w.at.dir(hostpath.Root)
	if err != nil {
		return err
	}
	return pathError("chmod", hostpath.Root, tolerate(unix.Fchmod(fd, 0o700)))
}

// undress takes from a directory the default ACL, which new files would inherit.
func (w *worker) undress(p hostpath.Path) error {
	fd, err := w.at.dir(p)
	if err != nil {
		return err
	}
	err = unix.Fremovexattr(fd, "system.posix_acl_default")
	if err == unix.ENODATA || tolerate(err) == nil {
		return nil
	}
	return pathError("removexattr", p, err)
}

// unit writes what is packed, and what has no content.
func (w *worker) unit(ctx context.Context, u *seed.Filled) error {
	todo := make([]bool, len(u.Records))
	missing := false
	for i := range u.Records {
		r := &u.Records[i]
		switch {
		case r.Type == tree.Directory, r.Link != "":
		case w.finished(r):
		case r.Type != tree.Regular:
			if err := w.node(r); err != nil {
				return err
			}
		case u.Small(i):
			todo[i], missing = true, true
		}
		if u.Small(i) && !todo[i] {
			w.progress(r.Size)
		}
	}
	if !missing {
		return ctx.Err()
	}
	var written []int
	err := w.seed.ReadPack(ctx, u, func(i int, content io.Reader) error {
		if !todo[i] {
			return nil
		}
		written = append(written, i)
		return w.file(&u.Records[i], content, isSparse(u, i))
	})
	if err != nil && errors.Is(err, oci.ErrDamaged) || errors.Is(err, seed.ErrFormat) {
		// Nothing of a pack with a wrong digest stays.
		for _, i := range written {
			if err := w.remove(u.Records[i].Path); err != nil {
				return err
			}
		}
	}
	return err
}

// isSparse reports whether the file at i had holes.
func isSparse(u *seed.Filled, i int) bool {
	for _, k := range u.Sparse {
		if k == i {
			return true
		}
	}
	return false
}

// finished reports whether a run before wrote r to its end.
func (w *worker) finished(r *tree.Record) bool {
	if !w.again || !w.trust {
		return false
	}
	fd, name, err := w.at.parent(r.Path)
	if err != nil {
		return false
	}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false
	}
	return st.Mode == r.Mode|format(r.Type) && st.Uid == r.UID && st.Gid == r.GID && st.Mtim.Nano() == r.Mtime &&
		(r.Type != tree.Regular || st.Size == r.Size)
}

// format is the type as mknod(2) wants it.
func format(t tree.Type) uint32 {
	switch t {
	case tree.Directory:
		return unix.S_IFDIR
	case tree.Symlink:
		return unix.S_IFLNK
	case tree.FIFO:
		return unix.S_IFIFO
	case tree.Socket:
		return unix.S_IFSOCK
	case tree.Char:
		return unix.S_IFCHR
	case tree.Block:
		return unix.S_IFBLK
	}
	return unix.S_IFREG
}

// node makes a symlink, FIFO, socket or device.
func (w *worker) node(r *tree.Record) error {
	fd, name, err := w.at.parent(r.Path)
	if err != nil {
		return err
	}
	make := func() error {
		if r.Type == tree.Symlink {
			return unix.Symlinkat(r.Target, fd, name)
		}
		return unix.Mknodat(fd, name, format(r.Type)|0o600, int(r.Rdev))
	}
	err = make()
	if err == unix.EEXIST && w.again {
		if err := w.removeAt(fd, name, r.Path); err != nil {
			return err
		}
		err = make()
	}
	switch {
	case err == unix.EEXIST:
		return pathError("create", r.Path, ErrOccupied)
	case refused(err):
		return nil // the read-back finds it missing
	case err != nil:
		return pathError("create", r.Path, err)
	}
	return dressAt(fd, name, r)
}

func (w *worker) remove(p hostpath.Path) error {
	fd, name, err := w.at.parent(p)
	if err != nil {
		return err
	}
	return w.removeAt(fd, name, p)
}

// removeAt removes what an interrupted run left, which is never a directory.
func (w *worker) removeAt(fd int, name string, p hostpath.Path) error {
	err := unix.Unlinkat(fd, name, 0)
	if err == unix.EISDIR {
		return pathError("unlink", p, fmt.Errorf("%w: it is a directory here", ErrOccupied))
	}
	if err == unix.ENOENT {
		return nil
	}
	return pathError("unlink", p, err)
}

// create makes a new, empty file. It never opens one that is there.
func (w *worker) create(r *tree.Record) (int, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	dir, name, err := w.at.parent(r.Path)
	if err != nil {
		return -1, err
	}
	fd, err := openat(dir, name, flags, 0o600)
	if err == unix.EEXIST && w.again {
		if err := w.removeAt(dir, name, r.Path); err != nil {
			return -1, err
		}
		fd, err = openat(dir, name, flags, 0o600)
	}
	if err == unix.EEXIST {
		err = ErrOccupied
	}
	return fd, pathError("create", r.Path, err)
}

// file writes a packed file.
func (w *worker) file(r *tree.Record, content io.Reader, sparse bool) error {
	fd, err := w.create(r)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	out := output{fd: fd, path: r.Path, sparse: sparse}
	if err := out.copy(content, r.Size, w.buf, w.progress); err != nil {
		return err
	}
	if sparse {
		if err := unix.Ftruncate(fd, r.Size); err != nil {
			return pathError("truncate", r.Path, err)
		}
	}
	return dress(fd, r)
}

// large makes a file in parts and returns the jobs that write them. The last one
// that ends finishes the file.
func (w *worker) large(ctx context.Context, r *tree.Record, l *seed.Large, sparse bool) ([]func(*worker) error, error) {
	if w.finished(r) {
		w.progress(r.Size)
		return nil, nil
	}
	fd, fresh, err := w.openLarge(r)
	if err != nil {
		return nil, err
	}
	file := &largeFile{fd: fd, r: r, sparse: sparse, journaled: len(l.Parts) > 1}
	w.keep(file)
	if err := unix.Ftruncate(fd, r.Size); err != nil {
		return nil, pathError("truncate", r.Path, err)
	}
	var jobs []func(*worker) error
	var at int64
	for k, p := range l.Parts {
		from := at
		at += p.Raw
		if p.Digest == "" && sparse || !fresh && w.journal.has(r.Path, k) {
			w.progress(p.Raw)
			continue
		}
		jobs = append(jobs, func(w *worker) error { return w.part(ctx, file, k, p, from) })
	}
	if len(jobs) == 0 {
		jobs = append(jobs, func(*worker) error { return nil })
	}
	file.left.Store(int32(len(jobs)))
	for i, job := range jobs {
		jobs[i] = func(w *worker) error {
			if err := job(w); err != nil {
				return err
			}
			if file.left.Add(-1) > 0 {
				return nil
			}
			defer w.drop(file)
			return dress(file.fd, file.r)
		}
	}
	return jobs, nil
}

// keep remembers an open file until it is finished or the work ends.
func (f *filler) keep(file *largeFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[file] = true
}

func (f *filler) drop(file *largeFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, file)
	unix.Close(file.fd)
}

// largeFile is one that several workers write.
type largeFile struct {
	fd        int
	r         *tree.Record
	sparse    bool
	journaled bool
	left      atomic.Int32
}

// openLarge makes the file, or opens what an interrupted run began when the
// marker has parts of it.
func (w *worker) openLarge(r *tree.Record) (fd int, fresh bool, err error) {
	if len(w.journal.done[r.Path]) > 0 {
		dir, name, err := w.at.parent(r.Path)
		if err != nil {
			return -1, false, err
		}
		fd, err := openat(dir, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(fd, &st)
			if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 && st.Size == r.Size {
				return fd, false, nil
			}
			unix.Close(fd)
		}
	}
	fd, err = w.create(r)
	return fd, true, err
}

// part writes one part of a large file at its place.
func (w *worker) part(ctx context.Context, file *largeFile, k int, p seed.Part, at int64) error {
	out := output{fd: file.fd, path: file.r.Path, sparse: file.sparse, at: at}
	var content io.Reader = io.LimitReader(zeros{}, p.Raw)
	if p.Digest != "" {
		blob, err := w.seed.OpenPart(ctx, p)
		if err != nil {
			return pathError("copy", file.r.Path, err)
		}
		defer blob.Close()
		content = blob
	}
	if err := out.copy(content, p.Raw, w.buf, w.progress); err != nil {
		return w.spoilt(file, err)
	}
	// To the end, where the digest is compared.
	if _, err := io.CopyBuffer(io.Discard, content, w.buf[:1024]); err != nil {
		return w.spoilt(file, pathError("copy", file.r.Path, err))
	}
	if file.journaled {
		return w.journal.wrote(file.r.Path, k)
	}
	return nil
}

// spoilt removes a file of which a part turned out to have the wrong digest.
func (w *worker) spoilt(file *largeFile, err error) error {
	if errors.Is(err, oci.ErrDamaged) || errors.Is(err, seed.ErrFormat) {
		return errors.Join(err, w.remove(file.r.Path))
	}
	return err
}

// zeros is an endless source of them.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
