package walk

import (
	"bytes"
	"context"
	"encoding/binary"
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

// readNames lists a directory in the order of bytes. Its names share one piece
// of memory, so that a million of them cost little more than their bytes. With
// an error it returns what it has got so far.
func readNames(ctx context.Context, f *os.File) ([]name, error) {
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	var (
		arena []byte
		ends  []uint32
		types []byte
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
			arena = append(arena, base...)
			ends = append(ends, uint32(len(arena)))
			types = append(types, typ)
		}
		fail = ctx.Err()
	}
	all := string(arena)
	names := make([]name, len(ends))
	start := uint32(0)
	for i, end := range ends {
		names[i] = name{name: all[start:end], typ: types[i]}
		start = end
	}
	slices.SortFunc(names, func(a, b name) int { return strings.Compare(a.name, b.name) })
	// A directory that changes while it is read may show a name twice.
	names = slices.CompactFunc(names, func(a, b name) bool { return a.name == b.name })
	return names, fail
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
