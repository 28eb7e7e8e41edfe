package source

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/unpack"
	"github.com/statelift/statelift/pipeline/workspace"
)

// archive unpacks a file on this machine into the workspace.
func (s *Stage) archive(ctx context.Context, env *pipeline.Env, name, checksum string) (handoff.Source, error) {
	if os.Geteuid() != 0 {
		return handoff.Source{}, s.input(errors.New("an archive can be unpacked by root only: nobody else can keep the owners of its files"))
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return handoff.Source{}, s.input(err)
	}
	f, err := os.Open(abs)
	if err != nil {
		return handoff.Source{}, s.input(bare(err))
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return handoff.Source{}, s.input(bare(err))
	}
	mark := fmt.Sprintf("%s %d %d %d", abs, fi.Size(), fi.ModTime().UnixNano(), inode(fi))
	a, done, err := unpacked(ctx, env, mark, checksum)
	if err != nil {
		return handoff.Source{}, err
	}
	if !done {
		if a, err = s.unpack(ctx, env, f, fi, checksum); err != nil {
			return handoff.Source{}, err
		}
		if err := remember(ctx, env, note{Mark: mark, Checksum: checksum, Archive: a}); err != nil {
			return handoff.Source{}, err
		}
	}
	a.Path = abs
	root, err := topOf(env.Workspace.Path(workspace.Unpacked))
	if err != nil {
		return handoff.Source{}, s.input(err)
	}
	return handoff.Source{Spec: Redact(s.Spec), Kind: "archive", Root: root, Archive: &a}, nil
}

func inode(fi os.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// unpack reads the archive to its end, into a directory that gets its name only
// when everything is there and flushed.
func (s *Stage) unpack(ctx context.Context, env *pipeline.Env, f *os.File, fi os.FileInfo, checksum string) (handoff.Archive, error) {
	target, temp := env.Workspace.Path(workspace.Unpacked), env.Workspace.Path("."+workspace.Unpacked+".new")
	for _, old := range []string{temp, target} {
		if err := os.RemoveAll(old); err != nil {
			return handoff.Archive{}, fmt.Errorf("source: %w", err)
		}
	}
	if err := os.Mkdir(temp, 0o700); err != nil {
		return handoff.Archive{}, fmt.Errorf("source: %w", err)
	}
	env.Progress.Begin("unpack", "bytes", fi.Size())
	defer env.Progress.End()
	var in io.Reader = &reporter{f, env.Progress}
	var sum hash.Hash
	var want []byte
	if checksum != "" {
		var err error
		if sum, want, err = parseChecksum(checksum); err != nil {
			return handoff.Archive{}, s.input(err)
		}
		in = io.TeeReader(in, sum)
	}
	res, err := unpack.Archive(ctx, in, temp, unpack.Limits{Bytes: s.MaxBytes, Ratio: s.MaxRatio, Packed: fi.Size()})
	if err == nil && sum != nil {
		if err := check(sum, want); err != nil {
			os.RemoveAll(temp)
			return handoff.Archive{}, s.input(err)
		}
	}
	if err != nil {
		os.RemoveAll(temp)
		var entry *unpack.EntryError
		if errors.As(err, &entry) {
			return handoff.Archive{}, s.input(err)
		}
		if errors.Is(err, unix.ENOSPC) {
			return handoff.Archive{}, fmt.Errorf("unpack %s: %w: make room in %s, or give a workspace (-w) on a larger disk", f.Name(), err, env.Workspace.Dir)
		}
		return handoff.Archive{}, fmt.Errorf("source: %w", err)
	}
	if now, err := f.Stat(); err != nil || now.Size() != fi.Size() || !now.ModTime().Equal(fi.ModTime()) {
		return handoff.Archive{}, s.input(errors.New("the archive changed while it was read"))
	}
	if _, err := topOf(temp); err != nil {
		os.RemoveAll(temp)
		return handoff.Archive{}, s.input(err)
	}
	if err := settle(temp, target); err != nil {
		return handoff.Archive{}, fmt.Errorf("source: %w", err)
	}
	return handoff.Archive{
		Size: fi.Size(), ModTime: fi.ModTime().UTC(), SHA256: res.SHA256, Format: string(res.Format), Entries: res.Entries,
	}, nil
}

// settle flushes the tree and gives it its name.
func settle(temp, target string) error {
	d, err := os.Open(temp)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("flush %s: %w", temp, err)
	}
	if err := os.Rename(temp, target); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(target))
}

// topOf is the root file system in what was unpacked: the directory itself, or
// the only directory in it.
func topOf(dir string) (string, error) {
	err := looksLikeRoot(dir)
	if err == nil {
		return dir, nil
	}
	list, readErr := os.ReadDir(dir)
	if readErr != nil {
		return "", bare(readErr)
	}
	if len(list) == 1 && list[0].IsDir() {
		inner := filepath.Join(dir, list[0].Name())
		if looksLikeRoot(inner) == nil {
			return inner, nil
		}
	}
	return "", err
}

// reporter tells how much was read.
type reporter struct {
	r io.Reader
	p pipeline.Progress
}

func (r *reporter) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.p.Add(int64(n))
	return n, err
}
