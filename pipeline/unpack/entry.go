package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// unpacker makes one tree.
type unpacker struct {
	ctx    context.Context
	top    *os.File
	limits Limits
	count  int64
	bytes  int64
	buf    []byte
	dirs   dirs
	later  *later
	// implied are the directories that were made for an entry below them and
	// have not come themselves.
	implied map[string]bool
	rootSet bool
}

// maxImplied bounds the memory for directories that an archive leaves out.
const maxImplied = 100_000

func newUnpacker(ctx context.Context, top *os.File, l Limits) (*unpacker, error) {
	// A default ACL of the workspace would be inherited by everything.
	for _, attr := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
		err := unix.Fremovexattr(int(top.Fd()), attr)
		if err != nil && err != unix.ENODATA && err != unix.ENOTSUP {
			return nil, fmt.Errorf("unpack: %s: %w", attr, err)
		}
	}
	spill, err := newLater(top)
	if err != nil {
		return nil, err
	}
	return &unpacker{
		ctx: ctx, top: top, limits: l, buf: make([]byte, 1<<20), dirs: dirs{top: top},
		later: spill, implied: map[string]bool{},
	}, nil
}

func (u *unpacker) close() {
	u.dirs.close()
	u.later.close()
}

// bad is a fault of the entry.
func bad(name, format string, args ...any) error {
	return &EntryError{Name: hostpath.Quote(name), Err: fmt.Errorf(format, args...)}
}

// tooLarge is the archive's fault where somebody set a limit, and a matter of
// the disk where the disk does.
func (u *unpacker) tooLarge(name, format string, args ...any) error {
	if u.limits.disk {
		return noRoom(hostpath.Quote(name), format, args...)
	}
	return bad(name, format, args...)
}

// noRoom is no fault of the archive: it wraps ENOSPC.
func noRoom(name, format string, args ...any) error {
	return fmt.Errorf("entry %s: %s: %w", name, fmt.Sprintf(format, args...), unix.ENOSPC)
}

// entry makes one entry.
func (u *unpacker) entry(hdr *tar.Header, content io.Reader) error {
	switch hdr.Typeflag {
	case tar.TypeXGlobalHeader, 'V': // what belongs to the archive: comments, its label
		return nil
	}
	name, err := cleanName(hdr.Name)
	if err != nil {
		return bad(hdr.Name, "%w", err)
	}
	m, err := metaOf(hdr)
	if err != nil {
		return bad(hdr.Name, "%w", err)
	}
	m.Path = []byte(name)
	if hdr.Typeflag == tar.TypeDir || hdr.Typeflag == 'D' { // D: a directory of GNU tar --incremental
		return u.directory(name, m)
	}
	if name == "" {
		return bad(hdr.Name, "the root is not a directory")
	}
	dir, err := u.parent(hdr.Name, name)
	if err != nil {
		return err
	}
	fd, base := int(dir.Fd()), path.Base(name)
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.file(hdr, fd, base, m, content)
	case tar.TypeLink:
		return u.link(hdr, fd, base)
	case tar.TypeSymlink:
		if strings.ContainsRune(hdr.Linkname, 0) || hdr.Linkname == "" {
			return bad(hdr.Name, "a symlink to nothing")
		}
		err = unix.Symlinkat(hdr.Linkname, fd, base)
	case tar.TypeFifo:
		err = unix.Mknodat(fd, base, unix.S_IFIFO|0o600, 0)
	case tar.TypeChar, tar.TypeBlock:
		kind := uint32(unix.S_IFCHR)
		if hdr.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
		if hdr.Devmajor < 0 || hdr.Devmajor > math.MaxUint32 || hdr.Devminor < 0 || hdr.Devminor > math.MaxUint32 {
			return bad(hdr.Name, "a device number out of range")
		}
		err = unix.Mknodat(fd, base, kind|0o600, int(unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))))
	default:
		return bad(hdr.Name, "its type %q is unknown", hdr.Typeflag)
	}
	if err != nil {
		return made(hdr.Name, err)
	}
	symlink := hdr.Typeflag == tar.TypeSymlink
	if symlink && m.Access != "" {
		return bad(hdr.Name, "a symlink with an ACL")
	}
	if err := m.applyAt(fd, base, symlink); err != nil {
		return made(hdr.Name, err)
	}
	return u.later.acl(m)
}

// made tells faults of the archive from those of this machine, among the errors
// of making a file.
func made(name string, err error) error {
	switch {
	case errors.Is(err, unix.EEXIST):
		return bad(name, "it comes twice")
	case errors.Is(err, unix.ENAMETOOLONG):
		return bad(name, "its name is too long")
	case errors.Is(err, errImpossible), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EFBIG), errors.Is(err, unix.ELOOP):
		return bad(name, "%w", err)
	}
	return fmt.Errorf("unpack %s: %w", hostpath.Quote(name), err)
}

// maxName bounds a whole name: no system call takes more.
const maxName = 4 * unix.PathMax

// cleanName makes a name relative to the root, "" for the root itself.
func cleanName(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("it has no name")
	case name[0] == '/':
		return "", errors.New("its name is absolute")
	case len(name) > maxName:
		return "", fmt.Errorf("its name is longer than %d bytes", maxName)
	case strings.ContainsRune(name, 0):
		return "", errors.New("its name holds a NUL byte")
	}
	for elem := range strings.SplitSeq(name, "/") {
		if elem == ".." {
			return "", errors.New("its name leads upwards (..)")
		}
	}
	if name = path.Clean(name); name == "." {
		return "", nil
	}
	return name, nil
}

// directory makes a directory. What it is to have is set at the end, since every
// entry in it would change its time, and a default ACL would be inherited.
func (u *unpacker) directory(name string, m *meta) error {
	if name == "" {
		if u.rootSet {
			return bad(string(m.Path)+"./", "it comes twice")
		}
		u.rootSet = true
		return u.later.add(m)
	}
	dir, err := u.parent(name, name)
	if err != nil {
		return err
	}
	err = unix.Mkdirat(int(dir.Fd()), path.Base(name), 0o700)
	if errors.Is(err, unix.EEXIST) && u.implied[name] {
		delete(u.implied, name)
		err = nil
	}
	if err != nil {
		return made(name, err)
	}
	return u.later.add(m)
}

// parent opens the directory that name is in, and makes it when the archive
// left it out.
func (u *unpacker) parent(entry, name string) (*os.File, error) {
	return u.dirs.open(parentOf(name), func(at *os.File, dir string) error {
		if len(u.implied) >= maxImplied {
			return bad(entry, "more than %d directories that the archive does not have themselves", maxImplied)
		}
		if err := unix.Mkdirat(int(at.Fd()), path.Base(dir), 0o700); err != nil {
			return made(entry, err)
		}
		u.implied[dir] = true
		return nil
	}, entry)
}

func parentOf(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// file makes a regular file and writes its content.
func (u *unpacker) file(hdr *tar.Header, dir int, base string, m *meta, content io.Reader) error {
	sparse := isSparse(hdr)
	if !sparse && hdr.Size > u.limits.largest() {
		return bad(hdr.Name, "its %d bytes are more than an archive of %d bytes can hold", hdr.Size, u.limits.Packed)
	}
	if left := u.limits.Bytes - u.bytes; !sparse && hdr.Size > left {
		return u.tooLarge(hdr.Name, "its %d bytes are more than there is room for (%d bytes of %d are left)", hdr.Size, left, u.limits.Bytes)
	}
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return made(hdr.Name, err)
	}
	defer unix.Close(fd)
	if err := u.write(hdr, fd, content, sparse); err != nil {
		return err
	}
	if err := m.apply(fd); err != nil {
		return made(hdr.Name, err)
	}
	return u.later.acl(m)
}

// hole is the smallest run of zeros, at a multiple of itself, that is left out
// of a file that was sparse.
const hole = 4096

func (u *unpacker) write(hdr *tar.Header, fd int, content io.Reader, sparse bool) error {
	at := int64(0)
	for {
		n, err := io.ReadFull(content, u.buf)
		if n > 0 {
			if err := u.put(hdr, fd, at, u.buf[:n], sparse); err != nil {
				return err
			}
			at += int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF && at == hdr.Size {
			break
		}
		if err != nil {
			return fault(u.ctx, hostpath.Quote(hdr.Name), err)
		}
	}
	if sparse {
		if err := unix.Ftruncate(fd, at); err != nil {
			return made(hdr.Name, err)
		}
	}
	return nil
}

// put writes a piece at an offset, without the holes.
func (u *unpacker) put(hdr *tar.Header, fd int, at int64, piece []byte, sparse bool) error {
	for len(piece) > 0 {
		n := len(piece)
		if sparse {
			n = min(n, hole)
			if allZero(piece[:n]) {
				piece, at = piece[n:], at+int64(n)
				continue
			}
			for n < len(piece) && !allZero(piece[n:min(n+hole, len(piece))]) {
				n = min(n+hole, len(piece))
			}
		}
		if u.bytes += int64(n); u.bytes > u.limits.Bytes {
			return u.tooLarge(hdr.Name, "there is no room for it (%d bytes)", u.limits.Bytes)
		}
		for done := 0; done < n; {
			k, err := unix.Pwrite(fd, piece[done:n], at+int64(done))
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return made(hdr.Name, err)
			}
			done += k
		}
		piece, at = piece[n:], at+int64(n)
	}
	return nil
}

// isSparse reports whether the file had holes: archive/tar fills them with
// zeros.
func isSparse(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// link makes a hard link to an entry that came before.
func (u *unpacker) link(hdr *tar.Header, dir int, base string) error {
	target, err := cleanName(hdr.Linkname)
	if err != nil {
		return bad(hdr.Name, "the target %s of the hard link: %w", hostpath.Quote(hdr.Linkname), err)
	}
	if target == "" {
		return bad(hdr.Name, "a hard link to the root")
	}
	// The handle of the entry's own directory may be closed by opening another.
	own, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return made(hdr.Name, err)
	}
	defer unix.Close(own)
	at, err := u.dirs.open(parentOf(target), func(*os.File, string) error { return errNoTarget }, hdr.Name)
	if errors.Is(err, errNoTarget) {
		return bad(hdr.Name, "a hard link to %s: %w", hostpath.Quote(hdr.Linkname), errNoTarget)
	}
	if err != nil {
		return err
	}
	err = unix.Linkat(int(at.Fd()), path.Base(target), own, base, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return bad(hdr.Name, "a hard link to %s: %w", hostpath.Quote(hdr.Linkname), errNoTarget)
	case errors.Is(err, unix.EPERM):
		return bad(hdr.Name, "a hard link to the directory %s", hostpath.Quote(hdr.Linkname))
	case err != nil:
		return made(hdr.Name, err)
	}
	return nil
}

var errNoTarget = errors.New("which did not come before it")
