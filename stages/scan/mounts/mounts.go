// Package mounts tells which other file systems are mounted below a directory,
// what kind they are and how much they hold.
package mounts

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Table holds the mounts strictly below a root, by their path in that root.
// Where several lie on one another, it has the uppermost.
type Table map[hostpath.Path]facts.Mount

// maxLine bounds a line of mountinfo: an overlay's options name all its layers.
const maxLine = 1 << 20

// Read reads the mounts of this process below root, an open directory, from
// /proc/self/mountinfo (proc_pid_mountinfo(5)). Sizes are not filled in.
func Read(root *os.File) (Table, error) {
	base, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	defer f.Close()
	return parse(f, hostpath.Clean(base))
}

// parse reads mountinfo and keeps what lies below base.
func parse(r io.Reader, base hostpath.Path) (Table, error) {
	table := Table{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for n := 1; lines.Scan(); n++ {
		m, err := parseLine(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("mountinfo:%d: %w", n, err)
		}
		if m.Path == base || !m.Path.Within(base) {
			continue
		}
		m.Path = m.Path.Below(base)
		m.Virtual = Virtual(m.FSType, m.Path)
		table[m.Path] = m
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("mountinfo: %w", err)
	}
	return table, nil
}

// parseLine reads one line, whose fifth field is the mount point, and where the
// type and the device follow a field that is a single hyphen.
func parseLine(line string) (facts.Mount, error) {
	fields := strings.Fields(line)
	for i := 6; i+2 < len(fields); i++ {
		if fields[i] == "-" {
			return facts.Mount{
				Path:   hostpath.Clean(unescape(fields[4])),
				FSType: unescape(fields[i+1]),
				Device: unescape(fields[i+2]),
			}, nil
		}
	}
	return facts.Mount{}, fmt.Errorf("not a line of mountinfo: %q", line)
}

// unescape reads the octal escapes \040, \011, \012 and \134 of the kernel's
// mangle_path.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '7' {
			return false
		}
	}
	return s[0] <= '3'
}

// Virtual reports whether a file system of this type at p holds no data of its
// own: a view of the kernel, or memory that every start of the host fills anew.
// A tmpfs elsewhere is somebody's data.
func Virtual(fsType string, p hostpath.Path) bool {
	switch fsType {
	case "proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "securityfs", "debugfs", "tracefs", "configfs",
		"pstore", "bpf", "mqueue", "hugetlbfs", "autofs", "binfmt_misc", "rpc_pipefs", "nsfs", "fusectl", "efivarfs",
		"selinuxfs", "smackfs", "nfsd", "cpuset", "resctrl", "fuse.lxcfs", "fuse.portal", "fuse.gvfsd-fuse", "functionfs", "sockfs", "pipefs":
		return true
	case "tmpfs", "ramfs":
		for _, dir := range []hostpath.Path{"/dev", "/run", "/sys", "/proc", "/var/run", "/var/lock"} {
			if p.Within(dir) {
				return true
			}
		}
	}
	return false
}

// Stat fills in the size and use of the file system that f lies on (statfs(2)).
// Virtual ones have neither.
func Stat(f *os.File, m *facts.Mount) error {
	if m.Virtual {
		return nil
	}
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return err
	}
	unit := s.Frsize
	if unit == 0 {
		unit = s.Bsize
	}
	m.Size = int64(s.Blocks) * unit
	m.Used = int64(s.Blocks-s.Bfree) * unit
	return nil
}

// Patience is how long the server of a network file system may take to answer.
const Patience = 10 * time.Second

// Within runs f, which may hang for ever in the kernel when a server is gone,
// and gives up on it, not on the scan, after [Patience].
func Within(f func() error) error { return within(Patience, f) }

func within(patience time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("no answer within %s: %w", patience, unix.ETIMEDOUT)
	}
}

// TypeOf names the type of the file system that f lies on by its magic number
// (statfs(2)), for one that the table does not have.
func TypeOf(f *os.File) (string, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return "", err
	}
	switch uint32(s.Type) {
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", nil
	case 0xca451a4e:
		return "bcachefs", nil
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", nil
	case unix.NFS_SUPER_MAGIC:
		return "nfs", nil
	case unix.TMPFS_MAGIC:
		return "tmpfs", nil
	case unix.PROC_SUPER_MAGIC:
		return "proc", nil
	case unix.SYSFS_MAGIC:
		return "sysfs", nil
	case unix.DEVPTS_SUPER_MAGIC:
		return "devpts", nil
	case unix.CGROUP_SUPER_MAGIC:
		return "cgroup", nil
	case unix.CGROUP2_SUPER_MAGIC:
		return "cgroup2", nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay", nil
	case unix.MSDOS_SUPER_MAGIC:
		return "vfat", nil
	}
	return fmt.Sprintf("type 0x%x", uint32(s.Type)), nil
}

// Subvolumes reports whether directories of one file system of this type can
// have different device numbers, as the subvolumes of btrfs do.
func Subvolumes(fsType string) bool { return fsType == "btrfs" || fsType == "bcachefs" }
