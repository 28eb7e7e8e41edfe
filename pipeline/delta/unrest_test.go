package delta_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/fixtures/trees"
)

// unrest changes a tree at random, as applications and administrators do.
type unrest struct {
	dir  string
	rand *rand.Rand
	n    int
	err  error
}

func (u *unrest) do(err error) {
	if err != nil && u.err == nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
		u.err = err
	}
}

// pick returns the paths of a type.
func (u *unrest) all(want fs.FileMode) []string {
	var out []string
	u.do(filepath.WalkDir(u.dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && p != u.dir && d.Type() == want {
			out = append(out, p)
		}
		return err
	}))
	return out
}

func (u *unrest) pick(want fs.FileMode) (string, bool) {
	all := u.all(want)
	if len(all) == 0 {
		return "", false
	}
	return all[u.rand.IntN(len(all))], true
}

// fresh is a name that is not there, in some directory.
func (u *unrest) fresh() string {
	u.n++
	dirs := append(u.all(fs.ModeDir), u.dir)
	name := fmt.Sprintf("n%d", u.n)
	if u.rand.IntN(8) == 0 {
		name = "odd \n\t\\\xff" + name
	}
	return filepath.Join(dirs[u.rand.IntN(len(dirs))], name)
}

// content is small, and seldom large.
func (u *unrest) content() []byte {
	n := u.rand.IntN(20_000)
	if u.rand.IntN(12) == 0 {
		n = 8<<20 + u.rand.IntN(4<<20)
	}
	if u.rand.IntN(10) == 0 {
		return make([]byte, n)
	}
	return trees.Noise(n, u.rand.Uint64())
}

func (u *unrest) step() {
	file, hasFile := u.pick(0)
	switch k := u.rand.IntN(26); k {
	case 0, 1, 2:
		u.do(os.WriteFile(u.fresh(), u.content(), fs.FileMode(u.rand.IntN(0o1000))))
	case 3:
		u.do(os.Mkdir(u.fresh(), 0o755))
	case 4:
		u.do(os.Symlink(fmt.Sprintf("target%d", u.rand.IntN(9)), u.fresh()))
	case 5:
		u.do(unix.Mkfifo(u.fresh(), 0o600))
	case 6:
		if d, ok := u.pick(fs.ModeDir); ok { // a directory moves, perhaps into another one
			u.do(os.Rename(d, u.fresh()))
		}
	case 7:
		if a, ok := u.pick(fs.ModeDir); ok {
			if b, ok := u.pick(fs.ModeDir); ok && a != b {
				u.do(unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE))
			}
		}
	case 8:
		if d, ok := u.pick(fs.ModeDir); ok {
			u.do(unix.Chmod(d, uint32(u.rand.IntN(0o10000))|0o700))
		}
	case 9:
		if d, ok := u.pick(fs.ModeDir); ok && u.rand.IntN(3) == 0 {
			u.do(os.RemoveAll(d))
			if u.rand.IntN(2) == 0 { // another type in its place
				u.do(os.WriteFile(d, u.content(), 0o644))
			}
		}
	case 10:
		if l, ok := u.pick(fs.ModeSymlink); ok {
			u.do(os.Remove(l))
			u.do(os.Symlink(fmt.Sprintf("other%d", u.rand.IntN(9)), l))
		}
	case 11:
		if d, ok := u.pick(fs.ModeDir); ok {
			u.do(exec.Command("setfacl", "-d", "-m", fmt.Sprintf("u:%d:rw", 1000+u.rand.IntN(3)), d).Run())
		}
	default:
		if hasFile {
			u.file(file, k)
		}
	}
}

// file changes one file.
func (u *unrest) file(p string, k int) {
	info, err := os.Lstat(p)
	if err != nil {
		u.do(err)
		return
	}
	switch k {
	case 12, 13:
		u.write(p, int64(u.rand.IntN(int(info.Size())+1)), trees.Noise(1+u.rand.IntN(5000), u.rand.Uint64()))
	case 14, 15:
		u.write(p, info.Size(), u.content())
	case 16:
		u.do(os.Truncate(p, int64(u.rand.IntN(int(info.Size())*2+1))))
	case 17:
		u.do(os.Remove(p))
	case 18:
		u.do(os.Rename(p, u.fresh()))
	case 19:
		if q, ok := u.pick(0); ok && p != q {
			u.do(unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE))
		}
	case 20:
		u.do(os.Link(p, u.fresh()))
	case 21:
		u.do(os.Chown(p, u.rand.IntN(3), u.rand.IntN(3)))
		u.do(unix.Chmod(p, uint32(u.rand.IntN(0o10000))))
	case 22:
		u.do(unix.Setxattr(p, "user.k"+fmt.Sprint(u.rand.IntN(3)), trees.Noise(u.rand.IntN(50), u.rand.Uint64()), 0))
	case 23:
		if err := unix.Removexattr(p, "user.k"+fmt.Sprint(u.rand.IntN(3))); err != unix.ENODATA {
			u.do(err)
		}
	case 24: // an edit that hides: same size, same time
		u.write(p, 0, trees.Noise(int(min(info.Size(), 10)), u.rand.Uint64()))
		u.do(os.Chtimes(p, info.ModTime(), info.ModTime()))
	case 25:
		if u.rand.IntN(2) == 0 {
			u.do(unix.Truncate(p, info.Size()+1<<20)) // a hole
		} else {
			u.do(os.Chtimes(p, time.Unix(int64(u.rand.IntN(2e9)), 7), time.Unix(int64(u.rand.IntN(2e9)), int64(u.rand.IntN(1e9)))))
		}
	}
}

func (u *unrest) write(p string, at int64, data []byte) {
	f, err := os.OpenFile(p, os.O_WRONLY, 0)
	if err != nil {
		u.do(err)
		return
	}
	_, err = f.WriteAt(data, at)
	u.do(errors.Join(err, f.Close()))
}

// stir makes so many changes.
func (u *unrest) stir(n int) error {
	for range n {
		u.step()
	}
	return u.err
}
