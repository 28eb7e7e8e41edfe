package copier

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// finish makes the hard links, for whose first paths the content had to be
// there, and dresses the directories: each after everything in it, since that
// changes its time.
func (f *filler) finish(ctx context.Context) error {
	listing, err := f.seed.Listing(ctx)
	if err != nil {
		return err
	}
	defer listing.Close()
	w := &worker{filler: f, at: newPlace(f.root)}
	defer w.at.close()
	other := newPlace(f.root)
	defer other.close()
	var open []tree.Record // the directories above the last path
	lines := tree.NewReader(listing)
	for {
		r, err := lines.Next()
		if err != nil && err != io.EOF {
			return err
		}
		for n := len(open); n > 0 && (err == io.EOF || !r.Path.Within(open[n-1].Path)); n = len(open) {
			if err := w.dressDir(&open[n-1]); err != nil {
				return err
			}
			open = open[:n-1]
		}
		if err == io.EOF {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case r.Type == tree.Directory:
			open = append(open, r)
		case r.Link != "":
			if err := w.link(&r, other); err != nil {
				return err
			}
		}
	}
}

// link makes a hard link to the first path of the same inode.
func (w *worker) link(r *tree.Record, first *place) error {
	from, fromName, err := first.parent(r.Link)
	if err != nil {
		return err
	}
	to, toName, err := w.at.parent(r.Path)
	if err != nil {
		return err
	}
	err = unix.Linkat(from, fromName, to, toName, 0)
	if err == unix.EEXIST && w.again {
		var a, b unix.Stat_t
		if unix.Fstatat(from, fromName, &a, unix.AT_SYMLINK_NOFOLLOW) == nil &&
			unix.Fstatat(to, toName, &b, unix.AT_SYMLINK_NOFOLLOW) == nil && a.Ino == b.Ino && a.Dev == b.Dev {
			return nil
		}
		if err := w.removeAt(to, toName, r.Path); err != nil {
			return err
		}
		err = unix.Linkat(from, fromName, to, toName, 0)
	}
	if refused(err) || err == unix.ENOENT {
		return nil // as its first path was: the read-back finds it missing
	}
	if err == unix.EEXIST {
		err = ErrOccupied
	}
	if err != nil {
		return pathError("link", r.Path, fmt.Errorf("to %s: %w", r.Link, err))
	}
	return nil
}

func (w *worker) dressDir(r *tree.Record) error {
	fd, err := w.at.dir(r.Path)
	if err != nil {
		return err
	}
	if r.Path == hostpath.Root {
		if err := strip(fd, r); err != nil {
			return err
		}
	}
	return dress(fd, r)
}

// strip takes from what was there before the attributes that it should not have.
func strip(fd int, r *tree.Record) error {
	return stripOf(fd, r, func(tree.Xattr) bool { return true })
}

// stripOf is strip for some attributes only.
func stripOf(fd int, r *tree.Record, some func(tree.Xattr) bool) error {
	want := map[string]bool{}
	for _, x := range r.Xattrs {
		want[x.Name] = true
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Flistxattr(fd, buf)
	if err != nil {
		return pathError("listxattr", r.Path, tolerate(err))
	}
	for start, i := 0, 0; i < n; i++ {
		if buf[i] != 0 {
			continue
		}
		name := string(buf[start:i])
		start = i + 1
		if want[name] || !some(tree.Xattr{Name: name}) {
			continue
		}
		if err := unix.Fremovexattr(fd, name); tolerate(err) != nil && err != unix.ENODATA {
			return pathError("removexattr", r.Path, err)
		}
	}
	return nil
}
