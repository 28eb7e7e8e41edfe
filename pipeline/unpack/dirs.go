package unpack

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// dirs opens directories below top, element by element, and follows no symlink.
// It keeps the last one open: archives list a directory's entries together.
type dirs struct {
	top  *os.File
	last *os.File
	name string
}

// open opens the directory name, "" for the top. A missing one is made by
// missing, which gets its parent. The handle is good until the next call.
// entry is who wants it, for errors.
func (d *dirs) open(name string, missing func(parent *os.File, dir string) error, entry string) (*os.File, error) {
	if name == "" {
		return d.top, nil
	}
	if d.last != nil && d.name == name {
		return d.last, nil
	}
	at, from := d.top, 0
	for from < len(name) {
		end := strings.IndexByte(name[from:], '/')
		if end < 0 {
			end = len(name)
		} else {
			end += from
		}
		next, err := d.step(at, name[from:end], name[:end], missing, entry)
		if at != d.top {
			at.Close()
		}
		if err != nil {
			return nil, err
		}
		at, from = next, end+1
	}
	d.close()
	d.last, d.name = at, name
	return at, nil
}

func (d *dirs) step(at *os.File, elem, path string, missing func(*os.File, string) error, entry string) (*os.File, error) {
	for again := true; ; again = false {
		fd, err := unix.Openat(int(at.Fd()), elem, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case err == unix.EINTR:
			again = true
		case err == unix.ENOENT && again:
			if err := missing(at, path); err != nil {
				return nil, err
			}
		case err == unix.ELOOP, err == unix.ENOTDIR:
			return nil, bad(entry, "it lies below %s, which the archive made something else than a directory", hostpath.Quote(path))
		case errors.Is(err, unix.ENAMETOOLONG):
			return nil, bad(entry, "its name is too long")
		default:
			return nil, fmt.Errorf("unpack %s: %w", hostpath.Quote(path), err)
		}
	}
}

func (d *dirs) close() {
	if d.last != nil {
		d.last.Close()
		d.last = nil
	}
}
