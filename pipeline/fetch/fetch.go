// Package fetch brings the objects of one directory of the host from a store into
// a directory, as the index of the store describes them: each file verified by its
// SHA-256, with numeric owner, mode and time, links and empty directories too.
package fetch

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/tree"
)

// Options say what goes where.
type Options struct {
	Index  string        // name of the index in the store
	SHA256 string        // of the index
	Below  hostpath.Path // the directory on the host
	To     string        // a directory here
	// Temp holds the index meanwhile; "" is that of the system.
	Temp    string
	Workers int // 0 is 8
}

// Fetched is what came.
type Fetched struct {
	Index string `json:"index"` // SHA-256
	Path  string `json:"path"`  // on the host
	Dirs  int64  `json:"directories"`
	Files int64  `json:"files"`
	Links int64  `json:"links"` // symbolic
	Nodes int64  `json:"nodes"` // FIFOs and sockets
	Bytes int64  `json:"bytes"`
}

// maxLine bounds a line of the index.
const maxLine = 1 << 20

// Run brings everything. What is there already under the same names is replaced:
// a run that was stopped is done again. Content that is not what the index says is
// a [store.ErrMismatch].
func Run(ctx context.Context, st store.Store, o Options) (Fetched, error) {
	out := Fetched{Index: o.SHA256, Path: o.Below.String()}
	index, err := o.readIndex(ctx, st)
	if err != nil {
		return out, err
	}
	defer os.Remove(index.Name())
	defer index.Close()
	root, err := os.OpenRoot(o.To)
	if err != nil {
		return out, err
	}
	defer root.Close()
	f := &fetcher{store: st, root: root, below: o.Below}
	if err := f.all(ctx, index, max(o.Workers, 0), &out); err != nil {
		return out, err
	}
	// Directories last: what is made in them changes their times, and they may be
	// closed to writers.
	return out, f.each(index, func(e handoff.IndexEntry) error {
		if e.Type != string(tree.Directory) {
			return nil
		}
		return f.dress(e)
	})
}

// readIndex fetches the index whole before any line of it is believed.
func (o Options) readIndex(ctx context.Context, st store.Store) (_ *os.File, err error) {
	r, _, err := st.Open(ctx, o.Index)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	defer r.Close()
	f, err := os.CreateTemp(o.Temp, "index-")
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), r); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != o.SHA256 {
		return nil, fmt.Errorf("index %s of %s has the SHA-256 %s, not %s: another lift has written there: %w", o.Index, st, sum, o.SHA256, store.ErrMismatch)
	}
	return f, nil
}

type fetcher struct {
	store store.Store
	root  *os.Root
	below hostpath.Path
}

// each calls do for every entry of the directory, in the order of the index.
func (f *fetcher) each(index *os.File, do func(handoff.IndexEntry) error) error {
	if _, err := index.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	lines := bufio.NewScanner(index)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e handoff.IndexEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("index: %w", err)
		}
		if !e.Path.Within(f.below) {
			continue
		}
		if err := do(e); err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// all makes directories and links in turn, and files side by side.
func (f *fetcher) all(ctx context.Context, index *os.File, workers int, out *Fetched) error {
	const usual = 8
	if workers == 0 {
		workers = usual
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	err := f.each(index, func(e handoff.IndexEntry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if parent := e.Path.Dir(); e.Path != f.below {
			if err := f.root.MkdirAll(f.name(parent), 0o755); err != nil {
				return err
			}
		}
		switch e.Type {
		case string(tree.Directory):
			out.Dirs++
			return f.root.MkdirAll(f.name(e.Path), 0o755)
		case string(tree.Symlink):
			out.Links++
			return f.link(e)
		case string(tree.FIFO), string(tree.Socket):
			out.Nodes++
			return f.node(e)
		case string(tree.Regular):
			out.Files++
			out.Bytes += e.Size
			group.Go(func() error {
				if err := f.file(ctx, e); err != nil {
					return fmt.Errorf("%s: %w", e.Path, err)
				}
				return nil
			})
		default:
			return fmt.Errorf("%s has the type %q, which no object can have", e.Path, e.Type)
		}
		return nil
	})
	// The fault of a file is why others were not begun.
	if fault := group.Wait(); fault != nil {
		return fault
	}
	return err
}

// name is where a path of the host is below the root.
func (f *fetcher) name(p hostpath.Path) string {
	if p == f.below {
		return "."
	}
	return p.Below(f.below).Rel()
}

func (f *fetcher) file(ctx context.Context, e handoff.IndexEntry) error {
	r, _, err := f.store.Open(ctx, e.Object)
	if err != nil {
		return err
	}
	defer r.Close()
	name := f.name(e.Path)
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, e.Size+1))
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); n != e.Size || sum != e.SHA256 {
		return fmt.Errorf("object %s has %d bytes and the SHA-256 %s, not %d and %s: %w", e.Object, n, sum, e.Size, e.SHA256, store.ErrMismatch)
	}
	return f.dress(e)
}

// link makes a symbolic link as it was; it may lead anywhere.
func (f *fetcher) link(e handoff.IndexEntry) error {
	target, err := hostpath.Unquote(e.Target)
	if err != nil {
		return err
	}
	name := f.name(e.Path)
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.root.Symlink(target, name); err != nil {
		return err
	}
	if err := f.root.Lchown(name, int(e.UID), int(e.GID)); err != nil {
		return err
	}
	dir, err := f.root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	at := unix.NsecToTimespec(e.Mtime)
	return unix.UtimesNanoAt(int(dir.Fd()), filepath.Base(name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

// node makes a FIFO or a socket, for which mknod(2) asks no privilege.
func (f *fetcher) node(e handoff.IndexEntry) error {
	name := f.name(e.Path)
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, err := f.root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	kind := uint32(unix.S_IFIFO)
	if e.Type == string(tree.Socket) {
		kind = unix.S_IFSOCK
	}
	if err := unix.Mknodat(int(dir.Fd()), filepath.Base(name), kind|0o600, 0); err != nil {
		return fmt.Errorf("mknod: %w", err)
	}
	return f.dress(e)
}

// dress gives owner, then mode, since changing the owner takes bits of the mode
// away (chown(2)), then times.
func (f *fetcher) dress(e handoff.IndexEntry) error {
	name := f.name(e.Path)
	mode := fs.FileMode(e.Mode & 0o777)
	for bit, as := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if e.Mode&bit != 0 {
			mode |= as
		}
	}
	at := time.Unix(0, e.Mtime)
	return errors.Join(f.root.Lchown(name, int(e.UID), int(e.GID)), f.root.Chmod(name, mode), f.root.Chtimes(name, at, at))
}
