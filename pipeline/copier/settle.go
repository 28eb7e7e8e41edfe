package copier

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// remove removes what is not wanted, or of another type, directories after what
// is in them.
func (m *mender) remove(ctx context.Context) error {
	var doomed []hostpath.Path // directories, each in the one before
	leave := func(next hostpath.Path) error {
		for n := len(doomed); n > 0 && (next == "" || !next.Within(doomed[n-1])); n = len(doomed) {
			if err := m.unlink(doomed[n-1], unix.AT_REMOVEDIR); err != nil {
				return err
			}
			doomed = doomed[:n-1]
		}
		return nil
	}
	err := m.pairs(ctx, func(want, have *snapshot.Item) error {
		if have == nil {
			return nil
		}
		if err := leave(have.Path()); err != nil {
			return err
		}
		switch {
		case want != nil && want.Type() == have.Type():
			return nil
		case have.Type() == tree.Directory:
			doomed = append(doomed, have.Path())
			return nil
		}
		return m.unlink(have.Path(), 0)
	})
	if err != nil {
		return err
	}
	return leave("")
}

func (m *mender) unlink(p hostpath.Path, flags int) error {
	fd, name, err := m.at.parent(p)
	if err != nil {
		return err
	}
	if flags != 0 && m.at.path.Within(p) {
		m.at.close()
	}
	if err := unix.Unlinkat(fd, name, flags); err != nil && err != unix.ENOENT {
		return pathError("unlink", p, err)
	}
	return nil
}

// place makes what is missing, and dresses what is there, in the order of the
// listing: a directory before what is in it, the first path of an inode before
// the others.
func (m *mender) place(ctx context.Context) error {
	linker := &worker{filler: &filler{root: m.root, again: true}, at: m.at}
	return m.pairs(ctx, func(want, have *snapshot.Item) error {
		switch {
		case want == nil:
			return nil
		case want.Type() == tree.Directory:
			if have != nil && have.Type() == tree.Directory {
				return nil
			}
			return m.mkdir(want.Path())
		case want.Linked():
			r, err := want.Record()
			if err != nil {
				return err
			}
			return linker.link(&r, m.other)
		}
		there := have != nil && have.Type() == want.Type()
		if there && bytes.Equal(want.Line(), have.Line()) {
			return nil
		}
		r, err := want.Record()
		if err != nil {
			return err
		}
		switch {
		case r.Type != tree.Regular:
			return m.node(&r)
		case there && m.good(want, have):
			return m.redress(&r, have)
		}
		return m.settle(ctx, &r)
	})
}

func (m *mender) mkdir(p hostpath.Path) error {
	fd, name, err := m.at.parent(p)
	if err != nil {
		return err
	}
	if err := unix.Mkdirat(fd, name, 0o700); err != nil && err != unix.EEXIST {
		return pathError("mkdir", p, err)
	}
	return nil
}

// node makes what has no content, in the stage, where it inherits nothing.
func (m *mender) node(r *tree.Record) error {
	const temp = "node"
	stage := int(m.stage.Fd())
	if err := unix.Unlinkat(stage, temp, 0); err != nil && err != unix.ENOENT {
		return pathError("unlink", hostpath.Path("/"+stageName+"/"+temp), err)
	}
	switch err := makeAt(stage, temp, r); {
	case refused(err), err == unix.ENAMETOOLONG:
		return nil // the next look finds it missing
	case err != nil:
		return pathError("create", r.Path, err)
	}
	if err := dressAt(stage, temp, r); err != nil {
		return err
	}
	return m.put(temp, r.Path)
}

// put moves something from the stage to its place.
func (m *mender) put(name string, p hostpath.Path) error {
	fd, base, err := m.at.parent(p)
	if err != nil {
		return err
	}
	return pathError("rename", p, unix.Renameat(int(m.stage.Fd()), name, fd, base))
}

// redress gives a file whose content is right its metadata.
func (m *mender) redress(r *tree.Record, have *snapshot.Item) error {
	dir, name, err := m.at.parent(r.Path)
	if err != nil {
		return err
	}
	if err := m.unaltered(dir, name, have); err != nil {
		return err
	}
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open", r.Path, err)
	}
	defer unix.Close(fd)
	if err := m.dress(fd, r); err != nil {
		return err
	}
	return m.known.add(fd, r.Path, r.SHA256)
}

// dress is [dress] for what has a past.
func (m *mender) dress(fd int, r *tree.Record) error {
	compared := func(x tree.Xattr) bool { return len(m.options.compared([]tree.Xattr{x})) > 0 }
	if err := stripOf(fd, r, compared); err != nil {
		return err
	}
	return dress(fd, r)
}

// settle brings a file from the stage to its place.
func (m *mender) settle(ctx context.Context, r *tree.Record) error {
	name, proved, err := m.staged(ctx, r)
	if err != nil || name == "" {
		return err
	}
	fd, err := openat(int(m.stage.Fd()), name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open", r.Path, err)
	}
	defer unix.Close(fd)
	if err := m.dress(fd, r); err != nil {
		return err
	}
	if err := m.put(name, r.Path); err != nil || !proved {
		return err
	}
	return m.known.add(fd, r.Path, r.SHA256)
}

// staged finds a file with the content of r, or "" when it has to wait for the
// next portion. The last one that wants a content gets the very file that was
// staged.
func (m *mender) staged(ctx context.Context, r *tree.Record) (name string, proved bool, err error) {
	const temp = "file"
	if r.Size == 0 {
		fd, err := m.create(temp)
		if err != nil {
			return "", false, err
		}
		return temp, false, unix.Close(fd)
	}
	n := m.needs[r.SHA256]
	if n == nil {
		if m.more {
			return "", false, nil
		}
		return "", false, pathError("place", r.Path, fmt.Errorf("its content %x was not asked for", r.SHA256))
	}
	if n.places--; n.places > 0 {
		item := snapshot.Of(*r, nil)
		return temp, false, m.copyTo(ctx, int(m.stage.Fd()), staged(r.SHA256), &item, temp)
	}
	return staged(r.SHA256), n.proved, nil
}

// unstage removes the stage with what is left in it.
func (m *mender) unstage(context.Context) error {
	dir, err := openat(int(m.stage.Fd()), ".", dirFlags, 0)
	if err != nil {
		return pathError("open", hostpath.Path("/"+stageName), err)
	}
	f := os.NewFile(uintptr(dir), stageName)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return pathError("read", hostpath.Path("/"+stageName), err)
	}
	for _, name := range names {
		if err := unix.Unlinkat(dir, name, 0); err != nil && err != unix.ENOENT {
			return pathError("unlink", hostpath.Path("/"+stageName+"/"+name), err)
		}
	}
	return pathError("rmdir", hostpath.Path("/"+stageName), unix.Unlinkat(int(m.root.Fd()), stageName, unix.AT_REMOVEDIR))
}

// dressDirs gives directories their metadata, which every change in them spoils;
// the root at the very end.
func (m *mender) dressDirs(ctx context.Context) error {
	var root, had *snapshot.Item
	err := m.pairs(ctx, func(want, have *snapshot.Item) error {
		switch {
		case want == nil || want.Type() != tree.Directory:
			return nil
		case want.Path() == hostpath.Root:
			root, had = want, have
			return nil
		}
		return m.dressDir(want, have)
	})
	if err != nil || root == nil {
		return err
	}
	return m.dressDir(root, had)
}

func (m *mender) dressDir(want, have *snapshot.Item) error {
	r, err := want.Record()
	if err != nil {
		return err
	}
	fd, err := m.at.dir(r.Path)
	if err != nil {
		return err
	}
	if have != nil && bytes.Equal(want.Line(), have.Line()) {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return pathError("stat", r.Path, err)
		}
		if st.Mtim.Nano() == r.Mtime && st.Mode&0o7777 == r.Mode && st.Uid == r.UID && st.Gid == r.GID {
			return nil
		}
	}
	return m.dress(fd, &r)
}
