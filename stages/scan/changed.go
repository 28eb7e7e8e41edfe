package scan

import (
	"context"
	"errors"
	"iter"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/scan/walk"
)

// Changed tells whether the source at root still is what the inventory c says,
// by names and metadata alone: it reads no content and stops at the first
// difference. Because content cannot change without the time of the inode
// (ctime), and that time cannot be set, equal metadata is equal content. What
// is mounted below the source, and the workspace, are not looked at.
func Changed(ctx context.Context, root string, ws workspace.Workspace, c *catalog.Catalog) (bool, error) {
	r, err := rootfs.Open(root)
	if err != nil {
		return false, err
	}
	defer r.Close()
	table, err := mountTable(r)
	if err != nil {
		table = nil
	}
	next, stop := iter.Pull2(c.Entries(ctx, catalog.Filter{}))
	defer stop()
	err = walk.Walk(ctx, walk.Options{
		Root: r, Mounts: table, Prune: prune(ws),
		Vanished: func(hostpath.Path, string) error { return errDiffers },
	}, func(it *walk.Item) error {
		was, err, ok := next()
		switch {
		case err != nil:
			return err
		case !ok || !equal(was.Entry, it):
			return errDiffers
		}
		return nil
	})
	if errors.Is(err, errDiffers) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	_, err, more := next()
	return more, err
}

var errDiffers = errors.New("the source differs")

func equal(was catalog.Entry, it *walk.Item) bool {
	a, b := was.Entry, it.Entry
	if a.Path != b.Path || a.Type != b.Type || was.FS != it.FS || a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID {
		return false
	}
	if it.FS != "" {
		return true
	}
	// What could not be read may be readable now, by somebody else or on a disk
	// that is whole again.
	if was.Problem != it.Problem {
		return false
	}
	// The number of a device is given anew at every boot, and some file systems
	// allocate later than they tell.
	return a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime && a.Ino == b.Ino && a.Nlink == b.Nlink &&
		a.Rdev == b.Rdev && a.Target == b.Target
}
