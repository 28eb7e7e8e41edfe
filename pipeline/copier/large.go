package copier

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// large makes a file in parts and returns the jobs that write them. The last one
// that ends finishes the file.
func (w *worker) large(ctx context.Context, r *tree.Record, l *seed.Large, sparse bool) ([]func(*worker) error, error) {
	if w.finished(r) {
		w.progress(r.Size)
		return nil, nil
	}
	fd, fresh, err := w.openLarge(r)
	if err != nil {
		return nil, err
	}
	file := &largeFile{fd: fd, r: r, sparse: sparse, journaled: len(l.Parts) > 1}
	w.keep(file)
	if err := unix.Ftruncate(fd, r.Size); err != nil {
		return nil, pathError("truncate", r.Path, err)
	}
	var jobs []func(*worker) error
	var at int64
	for k, p := range l.Parts {
		from := at
		at += p.Raw
		if p.Digest == "" && sparse || !fresh && w.journal.has(r.Path, k) {
			w.progress(p.Raw)
			continue
		}
		jobs = append(jobs, func(w *worker) error { return w.part(ctx, file, k, p, from) })
	}
	if len(jobs) == 0 {
		jobs = append(jobs, func(*worker) error { return nil })
	}
	file.left.Store(int32(len(jobs)))
	for i, job := range jobs {
		jobs[i] = func(w *worker) error {
			if err := job(w); err != nil {
				return err
			}
			if file.left.Add(-1) > 0 {
				return nil
			}
			defer w.drop(file)
			return dress(file.fd, file.r)
		}
	}
	return jobs, nil
}

// keep remembers an open file until it is finished or the work ends.
func (f *filler) keep(file *largeFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[file] = true
}

func (f *filler) drop(file *largeFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, file)
	unix.Close(file.fd)
}

// largeFile is one that several workers write.
type largeFile struct {
	fd        int
	r         *tree.Record
	sparse    bool
	journaled bool
	left      atomic.Int32
}

// openLarge makes the file, or opens what an interrupted run began when the
// marker has parts of it.
func (w *worker) openLarge(r *tree.Record) (fd int, fresh bool, err error) {
	if len(w.journal.done[r.Path]) > 0 {
		dir, name, err := w.at.parent(r.Path)
		if err != nil {
			return -1, false, err
		}
		fd, err := openat(dir, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(fd, &st)
			if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 && st.Size == r.Size {
				return fd, false, nil
			}
			unix.Close(fd)
		}
	}
	fd, err = w.create(r)
	return fd, true, err
}

// part writes one part of a large file at its place.
func (w *worker) part(ctx context.Context, file *largeFile, k int, p seed.Part, at int64) error {
	out := output{fd: file.fd, path: file.r.Path, sparse: file.sparse, at: at}
	var content io.Reader = io.LimitReader(zeros{}, p.Raw)
	if p.Digest != "" {
		blob, err := w.seed.OpenPart(ctx, p)
		if err != nil {
			return pathError("copy", file.r.Path, err)
		}
		defer blob.Close()
		content = blob
	}
	if err := out.copy(content, p.Raw, w.buf, w.progress); err != nil {
		return w.spoilt(file, err)
	}
	// To the end, where the digest is compared.
	if _, err := io.CopyBuffer(io.Discard, content, w.buf[:1024]); err != nil {
		return w.spoilt(file, pathError("copy", file.r.Path, err))
	}
	out.begin(at)
	if file.journaled {
		return w.journal.wrote(file.r.Path, k)
	}
	return nil
}

// spoilt removes a file of which a part turned out to have the wrong digest.
func (w *worker) spoilt(file *largeFile, err error) error {
	if errors.Is(err, oci.ErrDamaged) || errors.Is(err, seed.ErrFormat) {
		return errors.Join(err, w.remove(file.r.Path))
	}
	return err
}

// zeros is an endless source of them.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
