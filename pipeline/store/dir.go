package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"syscall"
)

// Dir is a store in a directory: an object is a file of its own name, and what
// else is known of it is in .statelift/meta under the same name. Files have mode
// 0600, directories 0700.
//
// An object is there when its metadata is. Put removes the metadata of an older
// object, moves the complete and flushed content to its place, then the
// metadata; each step is flushed before the next. So a kill or a power failure
// between any two leaves a whole object or none, and the next Put goes on.
type Dir struct {
	path string
	root *os.Root
}

// Where a directory store keeps its own files.
const (
	metaFolder      = reserved + "/meta"
	temporaryFolder = reserved + "/tmp"
)

// OpenDir opens the store in a directory, which is made when it is missing. A
// directory that holds something else is refused.
func OpenDir(dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	d := &Dir{path: dir, root: root}
	if err := d.prepare(); err != nil {
		root.Close()
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	return d, nil
}

func (d *Dir) prepare() error {
	if _, err := d.root.Stat(reserved); err == nil {
		return nil
	}
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	switch _, err := f.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return d.mkdirs(temporaryFolder)
	case err != nil:
		return err
	default:
		return errors.New("the directory holds something that is no store; give an empty or a new one")
	}
}

// Put implements [Store].
func (d *Dir) Put(ctx context.Context, name string, r io.ReaderAt, o Object) (reused bool, err error) {
	defer func() { err = d.fail("put", name, err) }()
	if err := o.valid(name); err != nil {
		return false, err
	}
	switch have, err := d.stat(name); {
	case err == nil && have.same(o):
		return true, nil
	case err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMismatch):
		return false, err
	}
	return false, d.write(ctx, name, r, o)
}

// Open implements [Store].
func (d *Dir) Open(_ context.Context, name string) (_ io.ReadCloser, o Object, err error) {
	defer func() { err = d.fail("open", name, err) }()
	o, err = d.stat(name)
	if err != nil {
		return nil, Object{}, err
	}
	// A FIFO in the place of the object must not block us.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, Object{}, notFound(err)
	}
	return f, o, nil
}

// Stat implements [Store].
func (d *Dir) Stat(_ context.Context, name string) (o Object, err error) {
	defer func() { err = d.fail("stat", name, err) }()
	return d.stat(name)
}

func (d *Dir) stat(name string) (Object, error) {
	if err := ValidName(name); err != nil {
		return Object{}, err
	}
	b, err := d.root.ReadFile(path.Join(metaFolder, name))
	if err != nil {
		return Object{}, notFound(err)
	}
	var o Object
	if err := json.Unmarshal(b, &o); err != nil {
		return Object{}, fmt.Errorf("its metadata is damaged: %w: %w", err, ErrMismatch)
	}
	if o.Name != name || o.valid(name) != nil {
		return Object{}, fmt.Errorf("its metadata is damaged: %w", ErrMismatch)
	}
	fi, err := d.root.Lstat(name)
	switch {
	case err != nil:
		return Object{}, notFound(err)
	case !fi.Mode().IsRegular():
		return Object{}, fmt.Errorf("a %s stands in its place: %w", fi.Mode().Type(), ErrMismatch)
	case fi.Size() != o.Size:
		return Object{}, fmt.Errorf("%d bytes, not %d: %w", fi.Size(), o.Size, ErrMismatch)
	}
	return o, nil
}

// List implements [Store].
func (d *Dir) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		top := "."
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			top = prefix[:i]
			if ValidName(top) != nil {
				return
			}
		}
		if err := d.walk(ctx, top, prefix, yield); err != nil && !errors.Is(err, fs.SkipAll) {
			yield(Object{}, d.fail("list", top, err))
		}
	}
}

// walk visits a folder some hundred names at a time: none is held whole.
func (d *Dir) walk(ctx context.Context, dir, prefix string, yield func(Object, error) bool) error {
	f, err := d.root.Open(dir)
	if err != nil {
		if errors.Is(notFound(err), ErrNotFound) {
			return nil
		}
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(512)
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if err := d.visit(ctx, e, name, prefix, yield); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(notFound(err), ErrNotFound):
			return nil // the end, or dir is no folder but an object
		case err != nil:
			return err
		}
	}
}

func (d *Dir) visit(ctx context.Context, e fs.DirEntry, name, prefix string, yield func(Object, error) bool) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	switch {
	case name == reserved:
		return nil
	case e.IsDir() && (strings.HasPrefix(name, prefix) || strings.HasPrefix(prefix, name+"/")):
		return d.walk(ctx, name, prefix, yield)
	case e.IsDir() || !strings.HasPrefix(name, prefix):
		return nil
	}
	o, err := d.stat(name)
	if errors.Is(err, ErrNotFound) {
		return nil // a Put that was stopped
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !yield(o, nil) {
		return fs.SkipAll
	}
	return nil
}

// String implements [Store].
func (d *Dir) String() string { return d.path }

// Close implements [Store].
func (d *Dir) Close() error { return d.root.Close() }

func (d *Dir) fail(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %s: %s %s: %w", d.path, verb, name, err)
}

// notFound turns what a missing file gives into [ErrNotFound]. ENOTDIR comes
// when an element in the middle of the name is another object, EISDIR when there
// are objects below the name.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) {
		return ErrNotFound
	}
	return err
}

// temporary is where the content of name grows. The place depends on the name
// only, so that the next Put finds what a killed one left.
func temporary(name string) string {
	sum := sha256.Sum256([]byte(name))
	return path.Join(temporaryFolder, hex.EncodeToString(sum[:16]))
}
