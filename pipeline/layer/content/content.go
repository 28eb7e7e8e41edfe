// Package content reads the files of a source as the scan saw them, or not at
// all: what was changed since is an error that names the path, never other
// content under the old name.
package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/ctime"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
)

// Changed says that a path of the source is not as the scan saw it, or cannot
// be read any more. The run goes on without it and is incomplete.
type Changed struct {
	Path hostpath.Path
	What string // "size 10, was 12", "gone", …
}

func (c *Changed) Error() string { return fmt.Sprintf("%s changed since the scan: %s", c.Path, c.What) }

// Reader opens files of one source. It keeps the directory of the last file
// open, so it is quick when paths come depth first. It is for one goroutine.
type Reader struct {
	root *rootfs.Root
	dir  *os.File
	path hostpath.Path // of dir
}

// NewReader reads below root, which the caller keeps open and closes.
func NewReader(root *rootfs.Root) *Reader { return &Reader{root: root} }

// Close releases the directory.
func (r *Reader) Close() error {
	if r.dir == nil {
		return nil
	}
	err := r.dir.Close()
	r.dir = nil
	return err
}

// Open opens the content of e, a regular file. The caller closes it. A
// [*Changed] says that it is not what the scan saw.
func (r *Reader) Open(e tree.Entry) (*File, error) {
	f, err := r.open(e.Path)
	if err != nil {
		return nil, changed(e.Path, err)
	}
	file := &File{f: f, entry: e}
	if err := file.Unchanged(); err != nil {
		f.Close()
		return nil, err
	}
	return file, nil
}

func (r *Reader) open(p hostpath.Path) (*os.File, error) {
	if dir := p.Dir(); r.dir == nil || r.path != dir {
		d, err := r.root.OpenDir(dir)
		if err != nil {
			return nil, err
		}
		r.Close()
		r.dir, r.path = d, dir
	}
	return rootfs.OpenRegularAt(r.dir, p)
}

// changed turns what the source answered into words. An error of this machine
// (no more handles, no memory) says nothing about the source and stays one.
func changed(p hostpath.Path, err error) error {
	var no unix.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Changed{Path: p, What: "gone"}
	case errors.As(err, &no) && (no == unix.EMFILE || no == unix.ENFILE || no == unix.ENOMEM):
		return err
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &Changed{Path: p, What: "cannot be read: " + err.Error()}
}

// File is the content of one entry. It is not safe for concurrent use, but for
// ReadAt.
type File struct {
	f     *os.File
	entry tree.Entry
}

// Size is the number of bytes that the scan saw.
func (f *File) Size() int64 { return f.entry.Size }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = changed(f.entry.Path, err)
	}
	return n, err
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// Flush flushes the file system that the file is on, before it is read (see
// package ctime).
func (f *File) Flush(ctx context.Context, m *ctime.Mark) error {
	_, err := m.Flush(ctx, f.f)
	return err
}

// Unchanged compares size, times and inode with what the scan saw. What was
// read is the scanned content only if it succeeds afterwards.
func (f *File) Unchanged() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.f.Fd()), &st); err != nil {
		return changed(f.entry.Path, err)
	}
	var what []string
	differs := func(name string, now, then int64) {
		if now != then {
			what = append(what, fmt.Sprintf("%s %d, was %d", name, now, then))
		}
	}
	differs("size", st.Size, f.entry.Size)
	differs("mtime", st.Mtim.Nano(), f.entry.Mtime)
	differs("ctime", st.Ctim.Nano(), f.entry.Ctime)
	differs("inode", int64(st.Ino), int64(f.entry.Ino))
	if len(what) > 0 {
		return &Changed{Path: f.entry.Path, What: strings.Join(what, "; ")}
	}
	return nil
}

// Copy writes the whole content to w, and then makes sure that it was the
// scanned one: exactly as long, and unchanged meanwhile. An error of w comes
// back as it is.
func (f *File) Copy(ctx context.Context, w io.Writer) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	left := f.entry.Size
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.f.Read((*buf)[:min(left, int64(len(*buf)))])
		if n > 0 {
			left -= int64(n)
			if _, err := w.Write((*buf)[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && left > 0:
			return &Changed{Path: f.entry.Path, What: fmt.Sprintf("ends %d bytes early", left)}
		case err != nil && err != io.EOF:
			return changed(f.entry.Path, err)
		}
	}
	return f.Unchanged()
}

// buffers saves an allocation for every file.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}
