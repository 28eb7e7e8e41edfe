package walk

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/tree"
)

// name is an entry of a directory, with the type that it gave (DT_*).
type name struct {
	name string
	typ  byte
}

// names are those of one directory. They share one piece of memory, so that a
// million of them cost eight bytes each and their own.
type names struct {
	arena string
	refs  []ref
}

// ref is a name in the arena. NAME_MAX is 255.
type ref struct {
	start uint32
	size  uint8
	typ   byte
}

func (n names) len() int { return len(n.refs) }

func (n names) at(i int) name { return name{n.text(n.refs[i]), n.refs[i].typ} }

func (n names) text(r ref) string { return n.arena[r.start : r.start+uint32(r.size)] }

func (n names) slice(from, to int) names { return names{n.arena, n.refs[from:to:to]} }

// kind is the type, and Regular where the file system does not tell.
func (n name) kind() tree.Type {
	switch n.typ {
	case unix.DT_DIR:
		return tree.Directory
	case unix.DT_LNK:
		return tree.Symlink
	case unix.DT_FIFO:
		return tree.FIFO
	case unix.DT_SOCK:
		return tree.Socket
	case unix.DT_CHR:
		return tree.Char
	case unix.DT_BLK:
		return tree.Block
	}
	return tree.Regular
}

var direntBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// readNames lists a directory in the order of bytes. With an error it returns
// what it has got so far.
func readNames(ctx context.Context, f *os.File) (names, error) {
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	var (
		arena strings.Builder
		list  names
		fail  error
	)
	for fail == nil {
		n, err := unix.Getdents(int(f.Fd()), *buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			fail = err
			break
		}
		for rest := (*buf)[:n]; len(rest) > 0; {
			size, typ, base := dirent(rest)
			if size == 0 {
				break
			}
			rest = rest[size:]
			if s := string(base); s == "." || s == ".." || s == "" {
				continue
			}
			if arena.Len() > math.MaxUint32-len(base) || len(base) > math.MaxUint8 {
				fail = unix.EOVERFLOW
				break
			}
			list.refs = append(list.refs, ref{uint32(arena.Len()), uint8(len(base)), typ})
			arena.Write(base)
		}
		fail = ctx.Err()
	}
	list.arena = arena.String()
	slices.SortFunc(list.refs, func(a, b ref) int { return strings.Compare(list.text(a), list.text(b)) })
	// A directory that changes while it is read may show a name twice.
	list.refs = slices.CompactFunc(list.refs, func(a, b ref) bool { return list.text(a) == list.text(b) })
	return list, fail
}

// dirent takes one struct linux_dirent64 (getdents(2)) off buf: d_ino and d_off
// of 8 bytes each, d_reclen of 2, d_type of 1, d_name ended by NUL.
func dirent(buf []byte) (size int, typ byte, base []byte) {
	const header = 19
	if len(buf) < header {
		return 0, 0, nil
	}
	size = int(binary.NativeEndian.Uint16(buf[16:]))
	if size < header || size > len(buf) {
		return 0, 0, nil
	}
	base = buf[header:size]
	if i := bytes.IndexByte(base, 0); i >= 0 {
		base = base[:i]
	}
	return size, buf[18], base
}
