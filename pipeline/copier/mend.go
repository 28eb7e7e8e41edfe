package copier

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// stageName is the directory in the root in which files are made, each under the
// sum of its content. After an interruption they are used again.
const stageName = Marker + ".d"

// portion bounds the contents that are brought in one go, and so the memory.
const portion = 100_000

// mender makes the directory what is wanted, by what was found in it.
type mender struct {
	*reconciler
	at, other *place
	stage     *os.File
	fresh     bool // what an interrupted run staged is not trusted

	mu    sync.Mutex
	owner map[uint64]hostpath.Path // of inodes with several paths
	needs map[[32]byte]*need
	// bases are contents that a needed one can be made of.
	bases map[[32]byte][]base
	more  bool // there was no room for all needs
	buf   []byte
}

// need is a content that is not where it should be.
type need struct {
	places int    // files that want it
	staged bool   // it is in the stage, complete
	steps  []Step // still to be taken on what is staged, the last one first
	proved bool   // nothing in it is unread
}

// base says that with so many steps a content becomes the one that is needed.
type base struct {
	sum   [32]byte
	steps []Step
}

// mend brings about what is wanted. It reports whether there is more to do for
// which there was no room.
func (r *reconciler) mend(ctx context.Context, fresh bool) (more bool, err error) {
	m := &mender{
		reconciler: r, at: newPlace(r.root), other: newPlace(r.root), fresh: fresh,
		owner: map[uint64]hostpath.Path{}, needs: map[[32]byte]*need{}, bases: map[[32]byte][]base{}, buf: make([]byte, 1<<20),
	}
	defer m.at.close()
	defer m.other.close()
	if fresh {
		r.known = &known{}
	}
	if err := m.openStage(); err != nil {
		return false, err
	}
	defer m.stage.Close()
	for _, step := range []func(context.Context) error{
		m.claim, m.ask, m.recover, m.move, m.duplicate, m.fetch, m.patch, m.remove, m.place, m.unstage, m.dressDirs,
	} {
		if err := step(ctx); err != nil {
			return false, err
		}
	}
	return m.more, nil
}

// pairs goes along what is wanted and what was found, where that may make a
// difference.
func (m *mender) pairs(ctx context.Context, each func(want, have *snapshot.Item) error) error {
	return alongside(ctx, m.file("want"), m.file("have"), each)
}

func alongside(ctx context.Context, a, b string, each func(a, b *snapshot.Item) error) error {
	return snapshot.Pairs(a, b, func(ia, ib *snapshot.Item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return each(ia, ib)
	})
}

// isFile reports whether the item is a file by its first path.
func isFile(i *snapshot.Item) bool { return i != nil && i.Type() == tree.Regular && !i.Linked() }

// good reports whether the content is where it should be: in an inode that no
// other file claims.
func (m *mender) good(want, have *snapshot.Item) bool {
	return have != nil && have.Type() == tree.Regular && have.Sum() == want.Sum() &&
		(have.Nlink < 2 || m.owner[have.Ino] == want.Path())
}

// claim deals the inodes of several paths to the first file that each fits.
func (m *mender) claim(ctx context.Context) error {
	return m.pairs(ctx, func(want, have *snapshot.Item) error {
		if isFile(want) && have != nil && have.Type() == tree.Regular && have.Nlink > 1 && have.Sum() == want.Sum() {
			if _, claimed := m.owner[have.Ino]; !claimed {
				m.owner[have.Ino] = want.Path()
			}
		}
		return nil
	})
}

// openStage makes the directory, or takes that of an interrupted run. Nothing is
// inherited in it.
func (m *mender) openStage() error {
	root := int(m.root.Fd())
	if err := unix.Mkdirat(root, stageName, 0o700); err != nil && err != unix.EEXIST {
		return pathError("mkdir", hostpath.Path("/"+stageName), err)
	}
	fd, err := openat(root, stageName, dirFlags, 0)
	if err != nil {
		return pathError("open", hostpath.Path("/"+stageName), err)
	}
	m.stage = os.NewFile(uintptr(fd), stageName)
	if err := unix.Fremovexattr(fd, "system.posix_acl_default"); err != nil && err != unix.ENODATA && tolerate(err) != nil {
		return pathError("removexattr", hostpath.Path("/"+stageName), err)
	}
	return pathError("chmod", hostpath.Path("/"+stageName), tolerate(unix.Fchmod(fd, 0o700)))
}

func staged(sum [32]byte) string { return hex.EncodeToString(sum[:]) }

// ask finds out which contents are missing, and of what they could be made.
func (m *mender) ask(ctx context.Context) error {
	return m.pairs(ctx, func(want, have *snapshot.Item) error {
		if !isFile(want) || want.Size == 0 || m.good(want, have) {
			return nil
		}
		sum := want.Sum()
		n := m.needs[sum]
		if n == nil {
			if len(m.needs) >= portion {
				m.more = true
				return nil
			}
			n = &need{}
			m.needs[sum] = n
			steps := m.wanted.Content.Steps(sum)
			for k := range steps {
				from := steps[k].From
				m.bases[from] = append(m.bases[from], base{sum: sum, steps: steps[:k+1]})
			}
		}
		n.places++
		return nil
	})
}

// recover looks what an interrupted run staged. That it is what its name says
// turns out when everything is read back. What it was patching is patched again.
func (m *mender) recover(context.Context) error {
	dir, err := openat(int(m.stage.Fd()), ".", dirFlags, 0)
	if err != nil {
		return pathError("open", hostpath.Path("/"+stageName), err)
	}
	names := os.NewFile(uintptr(dir), stageName)
	defer names.Close()
	for {
		list, err := names.Readdirnames(256)
		for _, name := range list {
			var sum [32]byte
			n, derr := hex.Decode(sum[:], []byte(name[:min(len(name), 64)]))
			if need := m.needs[sum]; !m.fresh && derr == nil && n == 32 && need != nil {
				if len(name) == 64 {
					need.staged, need.steps = true, nil
					continue
				}
				if steps := m.wanted.Content.Steps(sum); name == staged(sum)+patching && !need.staged && len(steps) > 0 {
					need.staged, need.steps = true, steps
					continue
				}
			}
			if err := unix.Unlinkat(int(m.stage.Fd()), name, 0); err != nil && err != unix.ENOENT {
				return pathError("unlink", hostpath.Path("/"+stageName+"/"+name), err)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return pathError("read", hostpath.Path("/"+stageName), err)
		}
	}
}

// patching is the suffix of a staged file that is not yet what its name says.
const patching = ".patching"

// asked returns for what a content that was found can be used: for the need
// itself, or as a base.
func (m *mender) asked(sum [32]byte) (target [32]byte, n *need, steps []Step) {
	if n := m.needs[sum]; n != nil && !n.staged {
		return sum, n, nil
	}
	for _, b := range m.bases[sum] {
		if n := m.needs[b.sum]; !n.staged {
			return b.sum, n, b.steps
		}
	}
	return sum, nil, nil
}

// stageAs is the name for a content that still needs steps, or none.
func stageAs(sum [32]byte, steps []Step) string {
	if len(steps) > 0 {
		return staged(sum) + patching
	}
	return staged(sum)
}

// move takes files whose content is wanted elsewhere, and not where they are,
// into the stage: renamed ones, and those that are patched.
func (m *mender) move(ctx context.Context) error {
	return m.pairs(ctx, func(want, have *snapshot.Item) error {
		if !isFile(have) || have.Nlink > 1 || isFile(want) && m.good(want, have) {
			return nil
		}
		sum, n, steps := m.asked(have.Sum())
		if n == nil {
			return nil
		}
		fd, name, err := m.at.parent(have.Path())
		if err != nil {
			return err
		}
		if err := m.unaltered(fd, name, have); err != nil {
			return err
		}
		if err := unix.Renameat(fd, name, int(m.stage.Fd()), stageAs(sum, steps)); err != nil {
			return pathError("rename", have.Path(), err)
		}
		n.staged, n.proved, n.steps = true, true, steps
		return nil
	})
}

// unaltered makes sure that a path is what was found.
func (m *mender) unaltered(fd int, name string, have *snapshot.Item) error {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("lstat", have.Path(), err)
	}
	if st.Ino != have.Ino || st.Ctim.Nano() != have.Ctime && have.Nlink < 2 {
		return pathError("lstat", have.Path(), errors.New("somebody writes into the volume"))
	}
	return nil
}

// duplicate copies contents that are wanted elsewhere and stay where they are.
func (m *mender) duplicate(ctx context.Context) error {
	if !m.open() {
		return nil
	}
	found, err := snapshot.OpenFile(m.found)
	if err != nil {
		return err
	}
	defer found.Close()
	_, err = found.UpTo("", func(have *snapshot.Item) error {
		if !isFile(have) || ctx.Err() != nil {
			return ctx.Err()
		}
		sum, n, steps := m.asked(have.Sum())
		if n == nil {
			return nil
		}
		fd, name, err := m.at.parent(have.Path())
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
			return nil // moved to the stage
		}
		if err := m.copyTo(ctx, fd, name, have, stageAs(sum, steps)); err != nil {
			return err
		}
		n.staged, n.steps = true, steps
		return nil
	})
	return err
}

// open reports whether any need is.
func (m *mender) open() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.needs {
		if !n.staged {
			return true
		}
	}
	return false
}

// copyTo copies a file of the volume into the stage.
func (m *mender) copyTo(ctx context.Context, dir int, name string, have *snapshot.Item, to string) error {
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open", have.Path(), err)
	}
	in := os.NewFile(uintptr(fd), name)
	defer in.Close()
	if fd, err = m.create(to); err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), to)
	defer out.Close()
	for left := have.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		// By copy_file_range(2) where the kernel and the file system have it.
		n, err := io.CopyN(out, in, min(left, 64<<20))
		if err == io.EOF {
			err = fmt.Errorf("it became shorter by %d bytes", left-n)
		}
		if err != nil {
			return pathError("copy", have.Path(), err)
		}
		left -= n
	}
	return nil
}

// create makes a new, empty file in the stage, instead of one that is there.
func (m *mender) create(name string) (int, error) {
	fd := int(m.stage.Fd())
	if err := unix.Unlinkat(fd, name, 0); err != nil && err != unix.ENOENT {
		return -1, pathError("unlink", hostpath.Path("/"+stageName+"/"+name), err)
	}
	out, err := openat(fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	return out, pathError("create", hostpath.Path("/"+stageName+"/"+name), err)
}
