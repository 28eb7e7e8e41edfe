package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// item is under which the ledger keeps which seed a directory was filled from.
func item(volume string) string { return "volume " + volume }

// place is the volume's directory.
func (r *run) place(volume string) (string, error) {
	if volume == "" || strings.ContainsAny(volume, "/\x00") || volume[0] == '.' {
		return "", fmt.Errorf("volume %q: no name of a directory", volume)
	}
	return r.Workspace.Path(workspace.Volumes, volume), nil
}

// makeRoom makes the directory, and empties one that an earlier run filled from
// another seed. The ledger says which those are; it is told before the filling
// begins. What is in a directory that it does not know is left alone: the copier
// refuses it.
func (r *run) makeRoom(ctx context.Context, volume, dir, digest string) error {
	mark, known, err := r.Ledger.Lookup(ctx, item(volume))
	if err != nil || known && mark == digest {
		return errors.Join(err, mkdir(dir))
	}
	if known {
		r.Log.Info("replace a copy of an older seed", "volume", volume)
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("volume %s: %w", volume, err)
		}
	}
	if err := mkdir(dir); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("volume %s: %w", volume, err)
	}
	if len(list) > 0 {
		return nil
	}
	return r.Ledger.Commit(ctx, item(volume), digest)
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("volume: %w", err)
	}
	return nil
}

// emptyVolume makes the directory of a volume that starts empty. Nothing at the
// source says when it was last changed: its time is the epoch, so that a run that
// was stopped ends as one that was not.
func (r *run) emptyVolume(ctx context.Context, v handoff.Volume) error {
	const none = "empty"
	dir, err := r.place(v.Name)
	if err == nil {
		err = r.makeRoom(ctx, v.Name, dir, none)
	}
	if err != nil {
		return err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	if len(names) > 0 {
		return fmt.Errorf("volume %s starts empty, but %s holds %q: remove it", v.Name, dir, names[0].Name())
	}
	if err := os.Chown(dir, int(v.UID), int(v.GID)); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	// After the change of owner, which would clear setgid.
	if err := unix.Chmod(dir, v.Mode&0o7777); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	if err := os.Chtimes(dir, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	return nil
}
