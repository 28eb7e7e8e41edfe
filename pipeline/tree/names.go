package tree

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// name is one entry of a directory as getdents64(2) tells it.
type name struct {
	name string
	kind byte // DT_*
}

// readNames lists a directory in the order of names. It takes about 70 bytes for
// each, since the names share the kernel's buffers.
func readNames(dir *os.File, p hostpath.Path) ([]name, error) {
	var list []name
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(int(dir.Fd()), buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, pathError("read", p, err)
		case n == 0:
			slices.SortFunc(list, func(a, b name) int { return strings.Compare(a.name, b.name) })
			return list, nil
		}
		if list, err = appendNames(list, string(buf[:n])); err != nil {
			return nil, pathError("read", p, err)
		}
	}
}

var errDirent = errors.New("malformed directory entry")

// appendNames parses struct linux_dirent64: inode 8, offset 8, length 2, type 1,
// and the name to a NUL.
func appendNames(list []name, data string) ([]name, error) {
	const header = 19
	for data != "" {
		if len(data) < header {
			return nil, errDirent
		}
		length := int(binary.NativeEndian.Uint16([]byte(data[16:18])))
		if length < header || length > len(data) {
			return nil, errDirent
		}
		s, _, ok := strings.Cut(data[header:length], "\x00")
		if !ok {
			return nil, errDirent
		}
		if s != "." && s != ".." {
			list = append(list, name{s, data[18]})
		}
		data = data[length:]
	}
	return list, nil
}
