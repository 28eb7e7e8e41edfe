package copier

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

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
	share    share
	progress func(int64)
	known    *known

	mu   sync.Mutex
	open map[*largeFile]bool
}

func newFiller(s *seed.Seed, root *os.File, o Options) filler {
	return filler{seed: s, root: root, workers: o.Workers, progress: o.Progress, known: &known{}, trust: true}
}

// fill writes everything but hard links and the metadata of directories.
func (f *filler) fill(ctx context.Context) error {
	f.open = map[*largeFile]bool{}
	group, ctx := errgroup.WithContext(ctx)
	jobs := make(chan func(*worker) error)
	for range f.workers {
		group.Go(func() error {
			w := &worker{filler: f, at: newPlace(f.root), buf: make([]byte, 256<<10), sum: sha256.New()}
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
			if reservedPath(r.Path) {
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
	var out []func(*worker) error
	if f.share.mine(weigh(u)) {
		out = append(out, func(w *worker) error { return w.unit(ctx, u) })
	}
	for k := range u.Large {
		more, err := w.large(ctx, u, &u.Large[k])
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
	sum hash.Hash
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
		return w.file(ctx, &u.Records[i], content, isSparse(u, i))
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

// worthBeginning is the size from which a packed file's way to the disk begins
// before the flush.
const worthBeginning = 256 << 10

// file writes a packed file.
func (w *worker) file(ctx context.Context, r *tree.Record, content io.Reader, sparse bool) error {
	fd, err := w.create(r)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	out := output{fd: fd, path: r.Path, sparse: sparse}
	if err := out.copy(content, r.Size, w.buf, w.progress); err != nil {
		return err
	}
	if r.Size >= worthBeginning {
		out.begin(0)
	}
	if sparse {
		if err := unix.Ftruncate(fd, r.Size); err != nil {
			return pathError("truncate", r.Path, err)
		}
	}
	if err := dress(fd, r); err != nil || !w.share.whole() {
		return err // who does one share proves nothing
	}
	return w.readBack(ctx, fd, r)
}

// readBack reads a finished file back while the kernel still has it in memory: of
// many small ones, which take a page each and an inode, a Pod's memory holds few
// until the proof comes. One that is not what it should be is left to the proof,
// which names it, and so is one that somebody touches from here on.
func (w *worker) readBack(ctx context.Context, fd int, r *tree.Record) error {
	as, err := knownAs(fd, r.Path)
	if err != nil {
		return err
	}
	w.sum.Reset()
	if err := readBack(ctx, fd, Range{Raw: r.Size}, w.buf, w.sum); err != nil {
		return pathError("read", r.Path, fmt.Errorf("back: %w", err))
	}
	if sum := [32]byte(w.sum.Sum(nil)); sum == r.SHA256 {
		w.known.put(as, sum)
	}
	return nil
}
