package copier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

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
	// Progress is told the bytes of content that were written; Proved those
	// that were read back. They are called concurrently and may be nil.
	Progress, Proved func(bytes int64)
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
// everything back and writes what it found to the file listing, outside of dir
// (atomically). It returns the receipt, whose Proved says whether the copy is
// equal; a copy that is not is no error here. Copy goes on with what an
// interrupted one left, see the package's documentation.
//
// An error names the path; it wraps ErrOccupied when the directory holds
// something else, oci.ErrDamaged when a blob is not what its digest says.
func Copy(ctx context.Context, s *seed.Seed, dir, listing string, o Options) (handoff.Receipt, error) {
	receipt, err := copyTo(ctx, s, dir, listing, o)
	if err != nil {
		return handoff.Receipt{}, fmt.Errorf("copy of volume %s to %s: %w", s.Config.Volume, dir, err)
	}
	return receipt, nil
}

func copyTo(ctx context.Context, s *seed.Seed, dir, listing string, o Options) (handoff.Receipt, error) {
	o, err := o.check()
	if err != nil {
		return handoff.Receipt{}, err
	}
	root, err := openRoot(dir)
	if err != nil {
		return handoff.Receipt{}, err
	}
	defer root.Close()
	found, err := inspect(root, s.Manifest.Digest)
	if err != nil {
		return handoff.Receipt{}, err
	}
	if found == occupied {
		return adopt(ctx, s, root, listing, o)
	}
	f := &filler{seed: s, root: root, workers: o.Workers, progress: o.Progress, again: found == marked, trust: true}
	if found == marked {
		f.journal, err = resume(ctx, root)
	} else {
		f.journal, err = begin(root, s.Manifest.Digest)
	}
	if err != nil {
		return handoff.Receipt{}, err
	}
	defer f.journal.close()
	receipt, err := f.round(ctx, listing, o)
	if err == nil && !receipt.Proved && found == marked {
		// What looked finished was not, as after a power cut: write it all.
		f.trust = false
		f.journal.forget()
		receipt, err = f.round(ctx, listing, o)
	}
	if err != nil || !receipt.Proved {
		return receipt, err
	}
	return receipt, f.release(ctx)
}

// round fills, flushes and reads back. The flush and the read-back run side by
// side: what is read is what is being flushed, and a failure of either one
// fails the copy.
func (f *filler) round(ctx context.Context, listing string, o Options) (handoff.Receipt, error) {
	if err := f.fill(ctx); err != nil {
		return handoff.Receipt{}, err
	}
	if err := f.finish(ctx); err != nil {
		return handoff.Receipt{}, err
	}
	var receipt handoff.Receipt
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return flush(f.root) })
	group.Go(func() (err error) {
		receipt, err = prove(ctx, f.seed, f.root, listing, o)
		return err
	})
	return receipt, group.Wait()
}

func flush(root *os.File) error {
	if err := unix.Syncfs(int(root.Fd())); err != nil {
		return pathError("flush", hostpath.Root, err)
	}
	return nil
}

// release removes the marker of a proved copy, and makes good what that changed:
// the time of the root.
func (f *filler) release(ctx context.Context) error {
	if err := unix.Unlinkat(int(f.root.Fd()), Marker, 0); err != nil {
		return pathError("unlink", markerPath, err)
	}
	if err := dressRoot(ctx, f.seed, f.root); err != nil {
		return err
	}
	return pathError("flush", hostpath.Root, f.root.Sync())
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
func adopt(ctx context.Context, s *seed.Seed, root *os.File, listing string, o Options) (handoff.Receipt, error) {
	receipt, err := prove(ctx, s, root, listing, o)
	if err != nil {
		return receipt, err
	}
	if onlyRoot(receipt) {
		// Killed after the marker was removed and before the root got its time.
		if err := dressRoot(ctx, s, root); err != nil {
			return receipt, err
		}
		if receipt, err = prove(ctx, s, root, listing, o); err != nil {
			return receipt, err
		}
	}
	if !receipt.Proved {
		d := receipt.Differences[0]
		return receipt, fmt.Errorf("%w: it differs in %d ways, the first is %s: %s", ErrOccupied, receipt.DifferenceCount, d.Path, d.What)
	}
	return receipt, flush(root)
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
