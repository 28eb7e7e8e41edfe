package copier

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

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
	err = makeAt(fd, name, r)
	if err == unix.EEXIST && w.again {
		if err := w.removeAt(fd, name, r.Path); err != nil {
			return err
		}
		err = makeAt(fd, name, r)
	}
	switch {
	case err == unix.EEXIST:
		return pathError("create", r.Path, ErrOccupied)
	case refused(err), err == unix.ENAMETOOLONG:
		return nil // the read-back finds it missing
	case err != nil:
		return pathError("create", r.Path, err)
	}
	return dressAt(fd, name, r)
}

// makeAt makes what node makes, undressed.
func makeAt(fd int, name string, r *tree.Record) error {
	if r.Type == tree.Symlink {
		return unix.Symlinkat(r.Target, fd, name)
	}
	return unix.Mknodat(fd, name, format(r.Type)|0o600, int(r.Rdev))
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
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
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
