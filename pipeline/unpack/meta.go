package unpack

import (
	"archive/tar"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// meta is what an entry is to have beside its content.
type meta struct {
	Path   []byte // in the tree, relative
	Mode   uint32
	UID    int
	GID    int
	Mtime  time.Time
	Xattrs []xattr
	// Access and Default are ACLs in the text of acl(5). They may name users,
	// whose numbers are known only when the tree is whole.
	Access, Default string
}

type xattr struct {
	Name  string
	Value []byte
}

// metaOf reads a header. Attributes come in the records of star, GNU tar and
// libarchive (tar(5) of libarchive, "Pax Interchange Format").
func metaOf(hdr *tar.Header) (*meta, error) {
	if hdr.Uid < 0 || hdr.Uid >= math.MaxUint32 || hdr.Gid < 0 || hdr.Gid >= math.MaxUint32 {
		return nil, fmt.Errorf("its owner %d:%d is out of range", hdr.Uid, hdr.Gid)
	}
	m := &meta{Mode: uint32(hdr.Mode) & 0o7777, UID: hdr.Uid, GID: hdr.Gid, Mtime: hdr.ModTime}
	if s := m.Mtime.Unix(); s > maxSeconds || s < -maxSeconds {
		return nil, fmt.Errorf("its time %d is out of range", s)
	}
	for key, value := range hdr.PAXRecords {
		if err := m.record(key, value); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(m.Xattrs, func(a, b xattr) int { return strings.Compare(a.Name, b.Name) })
	m.Xattrs = slices.CompactFunc(m.Xattrs, func(a, b xattr) bool { return a.Name == b.Name })
	return m, nil
}

// maxSeconds is what nanoseconds in 64 bits can express.
const maxSeconds = math.MaxInt64 / 1_000_000_000

var decodeName = strings.NewReplacer("%25", "%", "%3D", "=")

func (m *meta) record(key, value string) error {
	switch {
	case key == "SCHILY.acl.access":
		m.Access = value
	case key == "SCHILY.acl.default":
		m.Default = value
	case key == "SCHILY.acl.ace":
		return errors.New("its NFSv4 ACL cannot be kept")
	case key == "RHT.security.selinux":
		m.Xattrs = append(m.Xattrs, xattr{"security.selinux", []byte(strings.TrimRight(value, "\x00") + "\x00")})
	case strings.HasPrefix(key, "SCHILY.xattr."):
		// GNU tar writes = and % in names as %3D and %25.
		name := decodeName.Replace(strings.TrimPrefix(key, "SCHILY.xattr."))
		m.Xattrs = append(m.Xattrs, xattr{name, []byte(value)})
	case strings.HasPrefix(key, "LIBARCHIVE.xattr."):
		name, err := url.PathUnescape(strings.TrimPrefix(key, "LIBARCHIVE.xattr."))
		if err != nil {
			return fmt.Errorf("the name of an attribute: %w", err)
		}
		data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
		m.Xattrs = append(m.Xattrs, xattr{name, data})
	}
	return nil
}

// errImpossible is an attribute that no file system takes.
var errImpossible = errors.New("this cannot be")

// refused tells attributes that cannot be (xattr(7): there are four classes, and
// those of users belong to files and directories) from those that this file
// system does not have.
func (x xattr) refused(err error) error {
	class, _, _ := strings.Cut(x.Name, ".")
	known := class == "user" || class == "trusted" || class == "security" || class == "system"
	switch {
	case !known, class == "user" && err == unix.EPERM, class == "system" && err != unix.ENOSPC,
		err == unix.EINVAL, err == unix.ERANGE, err == unix.E2BIG, err == unix.EACCES:
		return fmt.Errorf("attribute %q: %w: %w", x.Name, errImpossible, err)
	}
	return fmt.Errorf("attribute %q: %w", x.Name, err)
}

// apply sets everything but ACLs on an open file. The order matters: a change of
// owner clears setuid and capabilities, and everything changes the time.
func (m *meta) apply(fd int) error {
	if err := unix.Fchown(fd, m.UID, m.GID); err != nil {
		return fmt.Errorf("owner: %w", err)
	}
	if err := unix.Fchmod(fd, m.Mode); err != nil {
		return fmt.Errorf("mode: %w", err)
	}
	for _, x := range m.Xattrs {
		if err := unix.Fsetxattr(fd, x.Name, x.Value, 0); err != nil {
			return x.refused(err)
		}
	}
	return m.setTime(fd)
}

func (m *meta) setTime(fd int) error {
	t := m.times()
	return timeError(futimens(fd, t))
}

func (m *meta) times() [2]unix.Timespec {
	t := unix.Timespec{Sec: m.Mtime.Unix(), Nsec: int64(m.Mtime.Nanosecond())}
	return [2]unix.Timespec{t, t}
}

func timeError(err error) error {
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	return nil
}

// futimens is utimensat(2) on an open file: an empty path with AT_EMPTY_PATH.
func futimens(fd int, t [2]unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), t[:], 0)
}

// applyAt is apply for what is not opened: a symlink, a FIFO, a device.
func (m *meta) applyAt(dir int, base string, symlink bool) error {
	if err := unix.Fchownat(dir, base, m.UID, m.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("owner: %w", err)
	}
	if !symlink {
		if err := unix.Fchmodat(dir, base, m.Mode, 0); err != nil {
			return fmt.Errorf("mode: %w", err)
		}
	}
	for _, x := range m.Xattrs {
		if err := unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", dir, base), x.Name, x.Value, 0); err != nil {
			return x.refused(err)
		}
	}
	t := m.times()
	return timeError(unix.UtimesNanoAt(dir, base, t[:], unix.AT_SYMLINK_NOFOLLOW))
}
