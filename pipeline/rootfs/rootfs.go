// Package rootfs reads the root file system of a foreign host, as if the
// process had changed its root to it (chroot(2)): an absolute symlink such as
// /etc/alternatives/php leads inside that root, and nothing leads out of it.
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// ErrTooLarge is wrapped when a file is longer than the reader accepts.
var ErrTooLarge = errors.New("file is larger than expected")

// Root is an open foreign root. It is safe for concurrent use.
type Root struct {
	dir *os.File
}

// Open opens the root at dir. The caller closes it.
func Open(dir string) (*Root, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	return &Root{dir: f}, nil
}

// Close releases the handle.
func (r *Root) Close() error { return r.dir.Close() }

// Name is the directory that was opened.
func (r *Root) Name() string { return r.dir.Name() }

// Open opens a regular file for reading, following symlinks inside the root.
// Anything that is not a regular file is refused, so that a FIFO or a device
// of the source can neither block nor be triggered.
func (r *Root) Open(p hostpath.Path) (*os.File, error) {
	h, err := pathrs.OpenatInRoot(r.dir, p.Rel())
	if err != nil {
		return nil, wrap("open", p, err)
	}
	defer h.Close()
	return reopenRegular(h, p)
}

// OpenNoFollow opens the regular file that p itself names: no element of p may
// be a symlink. It is for content, which is copied from where the scan saw it.
func (r *Root) OpenNoFollow(p hostpath.Path) (*os.File, error) {
	dir, err := r.OpenDir(p.Dir())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return OpenRegularAt(dir, p)
}

// OpenRegularAt opens the regular file p.Base() in the directory dir without
// following a symlink.
func OpenRegularAt(dir *os.File, p hostpath.Path) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := OpenAt(int(dir.Fd()), p.Base(), flags)
	if err != nil {
		return nil, wrap("open", p, err)
	}
	f := os.NewFile(uintptr(fd), string(p))
	return requireRegular(f, p)
}

// OpenAt is OpenAt(2) for reading, with O_NOATIME where the kernel grants it:
// reading leaves no trace on the source. The caller closes the descriptor.
func OpenAt(dir int, name string, flags int) (int, error) {
	for noatime := unix.O_NOATIME; ; {
		fd, err := unix.Openat(dir, name, flags|noatime, 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EPERM && noatime != 0:
			noatime = 0
		default:
			return fd, err
		}
	}
}

// OpenDir opens the directory p with no symlink on the way. The handle serves
// *at system calls and ReadDir.
func (r *Root) OpenDir(p hostpath.Path) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := OpenAt(int(r.dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return nil, wrap("open", hostpath.Root, err)
	}
	if p == hostpath.Root {
		return os.NewFile(uintptr(fd), string(p)), nil
	}
	rest := p.Rel()
	for rest != "" {
		elem := rest
		for i := range len(rest) {
			if rest[i] == '/' {
				elem = rest[:i]
				break
			}
		}
		rest = rest[min(len(elem)+1, len(rest)):]
		next, err := OpenAt(fd, elem, flags)
		unix.Close(fd)
		if err != nil {
			return nil, wrap("open", p, err)
		}
		fd = next
	}
	return os.NewFile(uintptr(fd), string(p)), nil
}

// ReadFile reads a whole regular file of at most limit bytes, following links
// inside the root; a longer one gives ErrTooLarge.
func (r *Root) ReadFile(p hostpath.Path, limit int64) ([]byte, error) {
	f, err := r.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, wrap("read", p, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: over %d bytes: %w", p, limit, ErrTooLarge)
	}
	return data, nil
}

// Resolve tells which path of the root p leads to after all symlinks.
func (r *Root) Resolve(p hostpath.Path) (hostpath.Path, error) {
	h, err := pathrs.OpenatInRoot(r.dir, p.Rel())
	if err != nil {
		return "", wrap("resolve", p, err)
	}
	defer h.Close()
	abs, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", h.Fd()))
	if err != nil {
		return "", wrap("resolve", p, err)
	}
	base, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", r.dir.Fd()))
	if err != nil {
		return "", wrap("resolve", p, err)
	}
	return hostpath.Path(abs).Below(hostpath.Clean(base)), nil
}

// Stat describes what p leads to after all symlinks, inside the root.
func (r *Root) Stat(p hostpath.Path) (fs.FileInfo, error) {
	h, err := pathrs.OpenatInRoot(r.dir, p.Rel())
	if err != nil {
		return nil, wrap("stat", p, err)
	}
	defer h.Close()
	return h.Stat()
}

// ReadDir lists a directory in the order of names, following links inside the
// root.
func (r *Root) ReadDir(p hostpath.Path) ([]fs.DirEntry, error) {
	h, err := pathrs.OpenatInRoot(r.dir, p.Rel())
	if err != nil {
		return nil, wrap("read", p, err)
	}
	defer h.Close()
	d, err := pathrs.Reopen(h, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return nil, wrap("read", p, err)
	}
	defer d.Close()
	list, err := d.ReadDir(-1)
	if err != nil {
		return nil, wrap("read", p, err)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// Readlink reads the symlink p itself; symlinks on the way to it are followed
// inside the root.
func (r *Root) Readlink(p hostpath.Path) (string, error) {
	h, err := pathrs.OpenatInRoot(r.dir, p.Dir().Rel())
	if err != nil {
		return "", wrap("readlink", p, err)
	}
	defer h.Close()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(h.Fd()), p.Base(), buf)
	if err != nil {
		return "", wrap("readlink", p, err)
	}
	return string(buf[:n]), nil
}

func reopenRegular(h *os.File, p hostpath.Path) (*os.File, error) {
	fi, err := h.Stat()
	if err != nil {
		return nil, wrap("stat", p, err)
	}
	if !fi.Mode().IsRegular() {
		return nil, wrap("open", p, errNotRegular)
	}
	f, err := pathrs.Reopen(h, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC)
	if err != nil {
		return nil, wrap("open", p, err)
	}
	return f, nil
}

var errNotRegular = errors.New("not a regular file")

func requireRegular(f *os.File, p hostpath.Path) (*os.File, error) {
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, wrap("open", p, err)
	}
	return f, nil
}

// wrap names the path of the host, and keeps of the cause the errno alone:
// its own message names paths of this machine.
func wrap(op string, p hostpath.Path, err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return &fs.PathError{Op: op, Path: p.String(), Err: err}
}
