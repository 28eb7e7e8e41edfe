package tree

import (
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Type is the kind of a file in the letter that find(1) -printf %y prints.
type Type string

// The types of inode(7).
const (
	Regular   Type = "f"
	Directory Type = "d"
	Symlink   Type = "l"
	FIFO      Type = "p"
	Socket    Type = "s"
	Char      Type = "c"
	Block     Type = "b"
)

// Entry is one path and its metadata, as lstat(2), readlink(2) and
// llistxattr(2) tell it.
type Entry struct {
	Path hostpath.Path `json:"path"`
	Type Type          `json:"type"`
	Mode uint32        `json:"mode"` // permissions with setuid, setgid and sticky: 07777
	UID  uint32        `json:"uid"`
	GID  uint32        `json:"gid"`
	// Size is the logical size in bytes of a regular file, the length of a
	// symlink's target, and 0 for everything else.
	Size int64 `json:"size"`
	// Allocated is what the file takes on disk, in bytes (st_blocks × 512).
	Allocated int64 `json:"allocated"`
	// Mtime and Ctime are in nanoseconds since the epoch.
	Mtime int64 `json:"mtime"`
	Ctime int64 `json:"ctime"`
	// Dev, Ino and Nlink tell hard links: paths with equal Dev and Ino are one
	// inode.
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"ino"`
	Nlink uint32 `json:"nlink"`
	// Rdev is the device number of a Char or Block entry.
	Rdev   uint64  `json:"rdev,omitempty"`
	Target string  `json:"target,omitempty"` // of a symlink, raw bytes
	Xattrs []Xattr `json:"xattrs,omitempty"` // sorted by name
}

// Xattr is one extended attribute (xattr(7)); POSIX ACLs and file capabilities
// are among them.
type Xattr struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}
