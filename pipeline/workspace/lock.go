package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked is wrapped when another statelift works in the workspace.
var ErrLocked = errors.New("another statelift is at work in this workspace")

// ErrForeign is wrapped for a directory that is in use and no workspace.
var ErrForeign = errors.New("not empty, and no workspace of statelift")

// Open makes dir a workspace, or opens the one that is there. Its mode is 0700,
// for it holds what the host kept secret.
func Open(dir string) (Workspace, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Workspace{}, fmt.Errorf("workspace %s: %w", dir, err)
	}
	w := Workspace{Dir: abs}
	names, err := os.ReadDir(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return w, fmt.Errorf("workspace: %w", err)
	case len(names) > 0 && !w.Exists() && !onlyDecisions(names):
		return w, fmt.Errorf("workspace %s: %w", abs, ErrForeign)
	}
	if err := os.MkdirAll(w.Path(Run), 0o700); err != nil {
		return w, fmt.Errorf("workspace: %w", err)
	}
	if err := os.Chmod(abs, 0o700); err != nil {
		return w, fmt.Errorf("workspace: %w", err)
	}
	return w, nil
}

// onlyDecisions allows a user to write statelift.yaml before the first run.
func onlyDecisions(names []fs.DirEntry) bool {
	return len(names) == 1 && names[0].Name() == Decisions
}

// Exists reports whether the directory is a workspace already.
func (w Workspace) Exists() bool {
	fi, err := os.Stat(w.Path(Run))
	return err == nil && fi.IsDir()
}

// Lock takes the workspace for this process until release is called or the
// process ends, however it ends (flock(2)). ErrLocked names who has it.
func (w Workspace) Lock() (release func(), err error) {
	f, err := os.OpenFile(w.Path(Run, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("workspace: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.Read(holder)
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("workspace %s: lock: %w", w.Dir, err)
		}
		return nil, fmt.Errorf("%w: %s is held by process %s", ErrLocked, w.Dir, strings.TrimSpace(string(holder[:n])))
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return func() { f.Close() }, nil
}
