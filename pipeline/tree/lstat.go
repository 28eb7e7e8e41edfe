package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Lstat reads the metadata of the entry name of the open directory dir, and
// follows nothing: a symlink is described itself, an automount is not
// triggered. name is one element, or "." for dir itself; p is what the entry
// and errors call it. A handle of any kind will do for dir, O_PATH too.
//
// All extended attributes that the caller may read are in the entry, POSIX ACLs
// in the raw form of system.posix_acl_* (acl(5)). One that is listed but cannot
// be read is an error that names it. Errors are *fs.PathError with p's escape.
func Lstat(dir *os.File, name string, p hostpath.Path) (Entry, error) {
	e, err := Stat(dir, name, p)
	if err == nil {
		err = e.Complete(dir, name)
	}
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

// Stat is Lstat without what takes further calls: the target of a symlink, and
// the extended attributes. The size of a symlink is what the file system says.
func Stat(dir *os.File, name string, p hostpath.Path) (Entry, error) {
	defer runtime.KeepAlive(dir)
	if strings.IndexByte(name, '/') >= 0 || name == "" || name == ".." {
		return Entry{}, pathError("lstat", p, fmt.Errorf("%q is not one element: %w", name, unix.EINVAL))
	}
	fd := int(dir.Fd())
	var st unix.Stat_t
	if err := retry(func() error {
		return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	}); err != nil {
		return Entry{}, pathError("lstat", p, err)
	}
	e, err := fromStat(&st, p)
	if err != nil {
		return Entry{}, pathError("lstat", p, err)
	}
	if e.Type == Symlink {
		e.Size = st.Size
	}
	return e, nil
}

// Complete adds to the result of Stat what Lstat has beyond it.
func (e *Entry) Complete(dir *os.File, name string) (err error) {
	defer runtime.KeepAlive(dir)
	fd := int(dir.Fd())
	if e.Type == Symlink {
		if e.Target, err = readlink(fd, name); err != nil {
			return pathError("readlink", e.Path, err)
		}
		e.Size = int64(len(e.Target))
	}
	if e.Xattrs, err = xattrs(fd, name); err != nil {
		return pathError("xattr", e.Path, err)
	}
	return nil
}

// fromStat is the part of an entry that stat(2) tells.
func fromStat(st *unix.Stat_t, p hostpath.Path) (Entry, error) {
	e := Entry{
		Path: p, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Allocated: st.Blocks * 512,
		Dev: st.Dev, Ino: st.Ino, Nlink: uint32(min(uint64(st.Nlink), math.MaxUint32)),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type, e.Size = Regular, st.Size
	case unix.S_IFDIR:
		e.Type = Directory
	case unix.S_IFLNK:
		e.Type = Symlink
	case unix.S_IFIFO:
		e.Type = FIFO
	case unix.S_IFSOCK:
		e.Type = Socket
	case unix.S_IFCHR:
		e.Type, e.Rdev = Char, st.Rdev
	case unix.S_IFBLK:
		e.Type, e.Rdev = Block, st.Rdev
	default:
		return Entry{}, fmt.Errorf("unknown file type %#o", st.Mode&unix.S_IFMT)
	}
	if e.Size < 0 {
		return Entry{}, fmt.Errorf("negative size %d", e.Size)
	}
	var ok bool
	// A time that nanoseconds in 64 bits cannot express (before 1677, after
	// 2262) could not be restored, so it must not be taken for another one.
	if e.Mtime, ok = nanoseconds(st.Mtim); !ok {
		return Entry{}, fmt.Errorf("modification time %d seconds from the epoch is out of range", st.Mtim.Sec)
	}
	e.Ctime, _ = nanoseconds(st.Ctim)
	return e, nil
}

// nanoseconds since the epoch; ok is false, and the value the nearest one, when
// they do not fit.
func nanoseconds(t unix.Timespec) (ns int64, ok bool) {
	const limit = math.MaxInt64/1_000_000_000 - 1
	switch {
	case t.Sec > limit:
		return math.MaxInt64, false
	case t.Sec < -limit:
		return math.MinInt64, false
	}
	return t.Sec*1_000_000_000 + t.Nsec, true
}

func readlink(fd int, name string) (string, error) {
	var buf [unix.PathMax + 1]byte
	for {
		n, err := unix.Readlinkat(fd, name, buf[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return "", err
		case n == len(buf):
			return "", unix.ENAMETOOLONG
		}
		return string(buf[:n]), nil
	}
}

// The kernel's limits for a list of names and for one value
// (linux/limits.h: XATTR_LIST_MAX, XATTR_SIZE_MAX).
const (
	xattrListMax  = 64 << 10
	xattrValueMax = 64 << 10
)

// xattrs reads the attributes of name without following it.
func xattrs(fd int, name string) ([]Xattr, error) {
	var small [1024]byte // nearly always enough, and on the stack
	buf := small[:]
	n, err := listxattr(fd, name, buf)
	if err == unix.ERANGE {
		buf = make([]byte, xattrListMax)
		n, err = listxattr(fd, name, buf)
	}
	switch {
	case err == unix.ENOTSUP || err == unix.ENODATA:
		return nil, nil
	case err != nil:
		return nil, err
	case n == 0:
		return nil, nil
	}
	path := throughProc(fd, name)
	var out []Xattr
	for list := string(buf[:n]); list != ""; {
		key, rest, _ := strings.Cut(list, "\x00")
		list = rest
		value, err := lgetxattr(path, key)
		if err == unix.ENODATA {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", key, err)
		}
		out = append(out, Xattr{Name: key, Value: value})
	}
	slices.SortFunc(out, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// listxattr asks the kernel by the handle of the directory, which Linux can do
// since 6.13, and before that by the way through /proc, which takes three times
// as long (measured: 1.1 and 3.7 µs).
func listxattr(fd int, name string, buf []byte) (n int, err error) {
	n, err = listxattrat(fd, name, buf)
	switch err {
	case nil, unix.ERANGE, unix.ENOTSUP, unix.ENODATA:
		return n, err
	}
	path := throughProc(fd, name)
	err = retry(func() error {
		n, err = unix.Llistxattr(path, buf)
		return err
	})
	return n, err
}

// listxattrat is listxattrat(2), which x/sys has no wrapper for yet.
func listxattrat(fd int, name string, buf []byte) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(fd), uintptr(unsafe.Pointer(p)),
			unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// throughProc names an entry of an open directory for the calls that take a
// path only (proc(5), /proc/pid/fd).
func throughProc(fd int, name string) string {
	place := make([]byte, 0, 64)
	place = append(place, "/proc/self/fd/"...)
	place = strconv.AppendInt(place, int64(fd), 10)
	place = append(place, '/')
	return string(append(place, name...))
}

func lgetxattr(path, key string) ([]byte, error) {
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(path, key, buf)
	for err == unix.EINTR || err == unix.ERANGE && len(buf) < xattrValueMax {
		if err == unix.ERANGE {
			buf = make([]byte, xattrValueMax)
		}
		n, err = unix.Lgetxattr(path, key, buf)
	}
	if err != nil {
		return nil, err
	}
	return slices.Clone(buf[:n]), nil
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// pathError names the path of the tree, not the one of this machine.
func pathError(op string, p hostpath.Path, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &fs.PathError{Op: op, Path: p.String(), Err: err}
}
