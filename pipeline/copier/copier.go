package copier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// Options say how a copy is made and proved.
type Options struct {
	Workers int // at least 1; each takes some 15 MiB
	// NotCompared are names of extended attributes, as patterns of path.Match,
	// that the file system of the copy cannot hold or sets by itself, such as
	// security.selinux. The receipt names them.
	NotCompared []string
	// MustOwn has a copy fail with ErrOwners, before any file is written, where
	// the file system refuses owners that the seed needs. Without it, the
	// read-back names each path.
	MustOwn bool
	// Progress is told the bytes of content that were written; Proved those
	// that were read back. They are called concurrently and may be nil.
	Progress, Proved func(bytes int64)

	known *known // nil when nothing was read back yet
}

func (o Options) check() (Options, error) {
	o.Workers = max(o.Workers, 1)
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	for _, pattern := range o.NotCompared {
		if _, err := path.Match(pattern, ""); err != nil {
			return o, fmt.Errorf("not compared: %q: %w", pattern, err)
		}
	}
	return o, nil
}

// Copy fills the existing directory dir from the seed, flushes it, reads
// everything back and writes what it found to the file listing, outside of dir.
// It returns the receipt, whose Proved says whether the copy is equal; a copy
// that is not is no error here. Copy goes on with what an interrupted one left,
// see the package's documentation.
//
// An error names the path; it wraps ErrOccupied when the directory holds
// something else, oci.ErrDamaged when a blob is not what its digest says.
func Copy(ctx context.Context, s *seed.Seed, dir, listing string, o Options) (handoff.Receipt, error) {
	c, err := Start(ctx, s, dir, o)
	if err != nil {
		return handoff.Receipt{}, err
	}
	defer c.Close()
	// The flush and the read-back run side by side: what is read is what is
	// being flushed, and a failure of either one fails the copy.
	var receipt handoff.Receipt
	group, gctx := errgroup.WithContext(ctx)
	group.Go(c.Flush)
	group.Go(func() (err error) {
		receipt, err = c.Prove(gctx, listing)
		return err
	})
	if err := group.Wait(); err != nil {
		return handoff.Receipt{}, err
	}
	if err := c.Release(ctx); err != nil {
		return handoff.Receipt{}, err
	}
	return receipt, errors.Join(c.Flush(), flushFile(listing))
}

func flushFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), atomicfile.SyncDir(filepath.Dir(name)))
}

// Copying is a copy that is under way. Who makes several copies on one file
// system starts all, flushes once while he proves all, releases all, and flushes
// once more; for one copy there is Copy. It is for one goroutine.
type Copying struct {
	filler
	options Options
	dir     string
	found   condition
	proved  bool
}

// Start fills the directory; see Copy. The caller closes the result.
func Start(ctx context.Context, s *seed.Seed, dir string, o Options) (_ *Copying, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copy of volume %s to %s: %w", s.Config.Volume, dir, err)
		}
	}()
	if o, err = o.check(); err != nil {
		return nil, err
	}
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	c := &Copying{filler: newFiller(s, root, o), options: o, dir: dir}
	c.options.known = c.known
	if err := c.start(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Copying) start(ctx context.Context) (err error) {
	if c.found, err = inspect(c.root, c.seed.Manifest.Digest); err != nil {
		return err
	}
	switch c.found {
	case occupied:
		return nil // perhaps an equal copy: Prove tells
	case marked:
		c.again = true
		c.journal, err = resume(ctx, c.root, c.seed.Manifest.Digest)
	default:
		c.journal, err = begin(c.root, c.seed.Manifest.Digest, Shard{})
	}
	if err == nil && c.options.MustOwn {
		err = c.mayOwn(ctx)
	}
	if err != nil {
		return err
	}
	return c.write(ctx)
}

// write brings everything into the directory.
func (c *Copying) write(ctx context.Context) error {
	if err := c.fill(ctx); err != nil {
		return err
	}
	return c.finish(ctx)
}

// Flush makes everything on the file system of the directory durable
// (syncfs(2)), and tells of writes that failed since Start.
func (c *Copying) Flush() error {
	if err := unix.Syncfs(int(c.root.Fd())); err != nil {
		return fmt.Errorf("flush %s: %w", c.dir, err)
	}
	return nil
}

// Prove reads everything back, writes what it found to the file listing, and
// compares. The file is whole or not there, but not flushed.
func (c *Copying) Prove(ctx context.Context, listing string) (_ handoff.Receipt, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copy of volume %s to %s: %w", c.seed.Config.Volume, c.dir, err)
		}
	}()
	if c.found == occupied {
		return c.adopt(ctx, listing)
	}
	receipt, err := c.proveMarked(ctx, listing)
	if err == nil && !receipt.Proved && c.found == marked {
		// What looked finished was not, as after a power cut: write it all.
		c.trust = false
		c.journal.forget()
		if err := c.write(ctx); err != nil {
			return handoff.Receipt{}, err
		}
		if err := c.Flush(); err != nil {
			return handoff.Receipt{}, err
		}
		receipt, err = c.proveMarked(ctx, listing)
	}
	c.proved = err == nil && receipt.Proved
	return receipt, err
}

// proveMarked is prove after a mark that tells later what was touched since.
func (c *Copying) proveMarked(ctx context.Context, listing string) (handoff.Receipt, error) {
	mark, err := markOf(ctx, c.root)
	if err != nil {
		return handoff.Receipt{}, err
	}
	receipt, err := prove(ctx, c.seed, c.root, listing, c.options)
	receipt.Mark = mark
	return receipt, err
}

// Release removes the marker of a copy that was proved and flushed, and makes
// good what that changed: the time of the root. It does nothing for a copy that
// was not proved: that stays one under way.
func (c *Copying) Release(ctx context.Context) error {
	if !c.proved || c.found == occupied {
		return nil
	}
	if err := unmark(c.root); err != nil {
		return err
	}
	return dressRoot(ctx, c.seed, c.root)
}

// Close releases the handles.
func (c *Copying) Close() {
	c.root.Close()
	if c.journal != nil {
		c.journal.close()
	}
}

// dressRoot gives the root its metadata, and makes sure that it took.
func dressRoot(ctx context.Context, s *seed.Seed, root *os.File) error {
	listing, err := s.Listing(ctx)
	if err != nil {
		return err
	}
	defer listing.Close()
	r, err := tree.NewReader(listing).Next()
	if err != nil {
		return err
	}
	fd := int(root.Fd())
	if err := strip(fd, &r); err != nil {
		return err
	}
	if err := dress(fd, &r); err != nil {
		return err
	}
	got, err := tree.Lstat(root, ".", hostpath.Root)
	if err == nil && (got.Mtime != r.Mtime || got.Mode != r.Mode || got.UID != r.UID || got.GID != r.GID) {
		err = pathError("utimens", hostpath.Root, errors.New("somebody else changes the directory"))
	}
	return err
}

// adopt proves a directory that is full already: a run was killed right before
// its end, or the copy was made and is asked for again.
func (c *Copying) adopt(ctx context.Context, listing string) (handoff.Receipt, error) {
	receipt, err := c.proveMarked(ctx, listing)
	if err != nil {
		return receipt, err
	}
	if onlyRoot(receipt) {
		// Killed after the marker was removed and before the root got its time.
		if err := dressRoot(ctx, c.seed, c.root); err != nil {
			return receipt, err
		}
		if receipt, err = c.proveMarked(ctx, listing); err != nil {
			return receipt, err
		}
	}
	if !receipt.Proved {
		d := receipt.Differences[0]
		return receipt, fmt.Errorf("%w: it differs in %d ways, the first is %s: %s", ErrOccupied, receipt.DifferenceCount, d.Path, d.What)
	}
	c.proved = true
	return receipt, nil
}

func onlyRoot(r handoff.Receipt) bool {
	for _, d := range r.Differences {
		if d.Path != hostpath.Root {
			return false
		}
	}
	return len(r.Differences) > 0
}

func openRoot(dir string) (*os.File, error) {
	fd, err := openat(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// Prove reads the directory dir as a whole and compares it with the seed, as
// Copy does at its end; it changes nothing but the file listing, which gets what
// was found. A difference is no error, the receipt says it.
func Prove(ctx context.Context, s *seed.Seed, dir, listing string, o Options) (handoff.Receipt, error) {
	o, err := o.check()
	if err != nil {
		return handoff.Receipt{}, err
	}
	root, err := openRoot(dir)
	if err == nil {
		defer root.Close()
		var receipt handoff.Receipt
		if receipt, err = prove(ctx, s, root, listing, o); err == nil {
			return receipt, nil
		}
	}
	return handoff.Receipt{}, fmt.Errorf("proof of volume %s in %s: %w", s.Config.Volume, dir, err)
}
