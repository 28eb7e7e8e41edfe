package seed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
)

// Source opens directories of the host without following symlinks;
// [rootfs.Root] is one.
type Source interface {
	OpenDir(p hostpath.Path) (*os.File, error)
}

// Layered is a source that lies above another: a file that it does not have is
// looked for there.
type Layered interface {
	Source
	Under() Source
}

// ErrChanged is wrapped when a file is not what it was when it was scanned.
var ErrChanged = errors.New("changed since the scan")

// Problem is a file whose content could not be taken along.
type Problem struct {
	Path hostpath.Path // on the host
	Err  error
}

// Error names the path and the reason.
func (p Problem) Error() string { return fmt.Sprintf("%s: %v", p.Path, p.Err) }

// reading opens files of the source; it keeps the last directory open, since
// files come directory by directory. One for each worker.
type reading struct {
	source Source
	path   hostpath.Path
	dir    *os.File
	under  *reading // of what lies below a [Layered] source
}

func (r *reading) close() {
	if r.dir != nil {
		r.dir.Close()
		r.dir = nil
	}
	if r.under != nil {
		r.under.close()
	}
}

// open opens the file that the scan described as e, at the path p of the host.
func (r *reading) open(p hostpath.Path, e *tree.Entry) (*os.File, error) {
	f, err := r.openHere(p, e)
	layered, ok := r.source.(Layered)
	if !ok || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if r.under == nil {
		r.under = &reading{source: layered.Under()}
	}
	return r.under.open(p, e)
}

func (r *reading) openHere(p hostpath.Path, e *tree.Entry) (*os.File, error) {
	parent := parentOf(p)
	if r.dir == nil || r.path != parent {
		r.close()
		dir, err := r.source.OpenDir(parent)
		if err != nil {
			return nil, err
		}
		r.dir, r.path = dir, parent
	}
	f, err := rootfs.OpenRegularAt(r.dir, p)
	if err != nil {
		return nil, err
	}
	if err := same(f, e); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// same compares the open file with what the scan saw. Every change of content,
// metadata or attributes sets the time of the last status change (inode(7)).
func same(f *os.File, e *tree.Entry) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	what := ""
	switch {
	case st.Ino != e.Ino:
		what = "another file is there"
	case st.Size != e.Size:
		what = fmt.Sprintf("%d bytes instead of %d", st.Size, e.Size)
	case st.Mtim.Nano() != e.Mtime:
		what = "its modification time"
	case st.Ctim.Nano() != e.Ctime:
		what = "its status"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrChanged, what)
}

// fatal reports whether an error ends the whole work, and is not of one file.
func fatal(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	var own *ownError
	return errors.As(err, &own)
}

// ownError marks an error of the place that is written to.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

func own(err error) error {
	if err == nil {
		return nil
	}
	return &ownError{err}
}

// reason is an error of one file without the path, which the problem names.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}

// parentOf is p.Dir() for a path that is clean.
func parentOf(p hostpath.Path) hostpath.Path {
	for i := len(p) - 1; i > 0; i-- {
		if p[i] == '/' {
			return p[:i]
		}
	}
	return hostpath.Root
}

// below is p on the host, for a path of the volume at root.
func below(root, p hostpath.Path) hostpath.Path {
	switch {
	case root == hostpath.Root:
		return p
	case p == hostpath.Root:
		return root
	}
	return root + p
}
