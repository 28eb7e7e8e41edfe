package datastore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// identity is a file whatever its names are, and in whatever mount namespace.
type identity struct {
	dev, ino uint64
}

// maxFiles bounds how many files of a database are looked for among those that
// processes hold open.
const maxFiles = 1 << 16

// Use adds to the verdict the processes that use the directory: those of this
// machine (proc(5), /proc) whose working directory it is, or which have one of its
// files open, in whatever namespace they are, and those that hold a lock on one
// (fcntl(2)), wherever they are. Without root's rights other users' processes are
// not seen.
func (v *Verdict) Use(ctx context.Context, root *rootfs.Root) error {
	files, err := filesOf(ctx, root, v.Dir, 2)
	if err != nil {
		return err
	}
	holders, err := holders(ctx, "/proc", files)
	if err != nil {
		return err
	}
	for _, h := range holders {
		v.note(Live, "", "%s", h)
	}
	return v.locks(root, files)
}

// filesOf are the directory and what is in it, down to a depth.
func filesOf(ctx context.Context, root *rootfs.Root, dir hostpath.Path, depth int) (map[identity]hostpath.Path, error) {
	out := map[identity]hostpath.Path{}
	var walk func(p hostpath.Path, depth int) error
	walk = func(p hostpath.Path, depth int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := root.Stat(p)
		if errors.Is(err, fs.ErrNotExist) || len(out) >= maxFiles {
			return nil
		}
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("stat %s: nothing says which file it is", p)
		}
		out[identity{uint64(st.Dev), st.Ino}] = p
		if !info.IsDir() || depth == 0 {
			return nil
		}
		list, err := root.ReadDir(p)
		if err != nil {
			return err
		}
		for _, e := range list {
			if e.Type()&fs.ModeSymlink != 0 {
				continue
			}
			if err := walk(p.Join(e.Name()), depth-1); err != nil {
				return err
			}
		}
		return nil
	}
	return out, walk(dir, depth)
}

// holders describes the processes that hold one of the files.
func holders(ctx context.Context, proc string, files map[identity]hostpath.Path) ([]string, error) {
	list, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := held(filepath.Join(proc, e.Name()), files); ok {
			comm, _ := os.ReadFile(filepath.Join(proc, e.Name(), "comm")) // gone with its process
			out = append(out, fmt.Sprintf("process %d (%s) uses %s", pid, strings.TrimSpace(string(comm)), p))
		}
	}
	return out, nil
}

// held finds one of the files among what a process holds. Processes come and go,
// and those of others may be closed to this one: what cannot be read is skipped.
func held(proc string, files map[identity]hostpath.Path) (hostpath.Path, bool) {
	names := []string{filepath.Join(proc, "cwd")}
	fds, _ := os.ReadDir(filepath.Join(proc, "fd"))
	for _, fd := range fds {
		names = append(names, filepath.Join(proc, "fd", fd.Name()))
	}
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil {
			if p, ok := files[identity{uint64(st.Dev), st.Ino}]; ok && (st.Mode&unix.S_IFMT != unix.S_IFDIR || strings.HasSuffix(name, "cwd")) {
				return p, true
			}
		}
	}
	return "", false
}

// locks asks for locks on files in the directory itself, where engines have them:
// ibdata1, aria_log_control.
func (v *Verdict) locks(root *rootfs.Root, files map[identity]hostpath.Path) error {
	var names []hostpath.Path
	for _, p := range files {
		if p.Dir() == v.Dir {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	for _, p := range names {
		f, err := root.Open(p)
		if err != nil {
			continue // no regular file, or gone
		}
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock)
		f.Close()
		if err == nil && lock.Type != unix.F_UNLCK {
			v.note(Live, p, "a process holds a lock on it")
		}
	}
	return nil
}
