package copier

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// place is a way to paths below one root for one goroutine. It keeps the last
// directory open.
type place struct {
	root *os.File
	path hostpath.Path
	fd   int // of path; -1 when none is open
}

func newPlace(root *os.File) *place { return &place{root: root, fd: -1} }

func (pl *place) close() {
	if pl.fd >= 0 {
		unix.Close(pl.fd)
		pl.fd = -1
	}
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// dir returns a handle of the directory p, valid until the next call.
func (pl *place) dir(p hostpath.Path) (int, error) {
	if pl.fd >= 0 && pl.path == p {
		return pl.fd, nil
	}
	fd, err := openat(int(pl.root.Fd()), ".", dirFlags, 0)
	if err != nil {
		return -1, pathError("open", hostpath.Root, err)
	}
	rest := string(p[1:])
	for rest != "" {
		name := rest
		for i := range len(rest) {
			if rest[i] == '/' {
				name = rest[:i]
				break
			}
		}
		rest = rest[min(len(name)+1, len(rest)):]
		next, err := openat(fd, name, dirFlags, 0)
		unix.Close(fd)
		if err != nil {
			return -1, pathError("open", p, err)
		}
		fd = next
	}
	pl.close()
	pl.fd, pl.path = fd, p
	return fd, nil
}

// parent returns a handle of the directory that p is in, and p's name there.
func (pl *place) parent(p hostpath.Path) (int, string, error) {
	i := len(p) - 1
	for p[i] != '/' {
		i--
	}
	dir := p[:i]
	if i == 0 {
		dir = hostpath.Root
	}
	fd, err := pl.dir(dir)
	return fd, string(p[i+1:]), err
}

func openat(fd int, name string, flags int, mode uint32) (int, error) {
	for {
		n, err := unix.Openat(fd, name, flags, mode)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// procPath names an entry of an open directory for calls that take a path only
// (proc(5)).
func procPath(fd int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(fd) + "/" + name
}

func pathError(op string, p hostpath.Path, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: p.String(), Err: err}
}

// refused reports whether the file system or the kernel does not allow what was
// asked for. The work goes on then: the read-back finds the path different, and
// says how.
func refused(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL)
}

// tolerate is err unless it is a refusal.
func tolerate(err error) error {
	if refused(err) {
		return nil
	}
	return err
}

// tooLarge reports whether a file system has no room for an attribute with an
// inode, which ext4 calls "no space left" too (setxattr(2)): then there is space
// left on the disk.
func tooLarge(err error, fd int) bool {
	if err == unix.E2BIG || err == unix.ERANGE {
		return true
	}
	var st unix.Statfs_t
	return err == unix.ENOSPC && unix.Fstatfs(fd, &st) == nil && st.Bavail > 64 && (st.Files == 0 || st.Ffree > 0)
}

// dress gives an open file or directory its owner, attributes, mode and times,
// in the order in which none undoes another: a change of owner clears setuid and
// capabilities, an ACL changes the mode. Times come last, as the sign that all
// is done.
func dress(fd int, r *tree.Record) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("stat", r.Path, err)
	}
	if st.Uid != r.UID || st.Gid != r.GID { // else it would be a change of the inode for nothing
		if err := unix.Fchown(fd, int(r.UID), int(r.GID)); tolerate(err) != nil {
			return pathError("chown", r.Path, err)
		}
	}
	for _, x := range r.Xattrs {
		if err := unix.Fsetxattr(fd, x.Name, x.Value, 0); tolerate(err) != nil && !tooLarge(err, fd) {
			return pathError("setxattr", r.Path, fmt.Errorf("%s: %w", x.Name, err))
		}
	}
	if err := unix.Fchmod(fd, r.Mode); tolerate(err) != nil {
		return pathError("chmod", r.Path, err)
	}
	return pathError("utimens", r.Path, tolerate(futimens(fd, r.Mtime)))
}

// dressAt is dress for what cannot be opened: symlinks, FIFOs, sockets, devices.
func dressAt(fd int, name string, r *tree.Record) error {
	if err := unix.Fchownat(fd, name, int(r.UID), int(r.GID), unix.AT_SYMLINK_NOFOLLOW); tolerate(err) != nil {
		return pathError("chown", r.Path, err)
	}
	for _, x := range r.Xattrs {
		if err := unix.Lsetxattr(procPath(fd, name), x.Name, x.Value, 0); tolerate(err) != nil && !tooLarge(err, fd) {
			return pathError("setxattr", r.Path, fmt.Errorf("%s: %w", x.Name, err))
		}
	}
	if r.Type != tree.Symlink {
		if err := chmodAt(fd, name, r.Mode); tolerate(err) != nil {
			return pathError("chmod", r.Path, err)
		}
	}
	ts := times(r.Mtime)
	return pathError("utimens", r.Path, tolerate(unix.UtimesNanoAt(fd, name, ts[:], unix.AT_SYMLINK_NOFOLLOW)))
}

// chmodAt follows no symlink, which fchmodat(2) would: the way leads over a
// handle that opens nothing (open(2), O_PATH).
func chmodAt(fd int, name string, mode uint32) error {
	h, err := openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(h)
	var st unix.Stat_t
	if err := unix.Fstat(h, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.ELOOP
	}
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(h), mode)
}

func times(mtime int64) [2]unix.Timespec {
	sec, ns := mtime/1_000_000_000, mtime%1_000_000_000
	if ns < 0 {
		sec, ns = sec-1, ns+1_000_000_000
	}
	ts := unix.Timespec{Sec: sec, Nsec: ns}
	return [2]unix.Timespec{ts, ts}
}
