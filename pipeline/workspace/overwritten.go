package workspace

import (
	"errors"
	"io/fs"
	"os"

	"github.com/statelift/statelift/pipeline/atomicfile"
)

// overwritten is there from when on statelift may have written to volumes that
// others had written to.
const overwritten = "overwritten"

// Overwrites notes, before that happens, that statelift writes to volumes: what an
// application wrote there is no longer all there. Calls may be concurrent with reads,
// not with each other.
func (w Workspace) Overwrites() error {
	if there, err := w.Overwritten(); there || err != nil {
		return err
	}
	return atomicfile.Write(w.Path(Run, overwritten), nil, 0o600)
}

// Overwritten reports whether that was noted since the volumes were handed over.
func (w Workspace) Overwritten() (bool, error) {
	_, err := os.Stat(w.Path(Run, overwritten))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// HandsOver notes, before that happens, that applications write to the volumes from
// now on.
func (w Workspace) HandsOver() error {
	if err := os.Remove(w.Path(Run, overwritten)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
