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

// large makes a file in parts and returns the jobs that write those that are
// this copy's. The last one that ends finishes the file, unless shards share it.
func (w *worker) large(ctx context.Context, u *seed.Filled, l *seed.Large) ([]func(*worker) error, error) {
	r := &u.Records[l.At]
	file := &largeFile{r: r, parts: l.Parts, sparse: isSparse(u, l.At), journaled: len(l.Parts) > 1, progress: w.progress}
	mine, shared := w.share.parts(l, file.sparse)
	if mine == nil {
		return nil, nil
	}
	file.shared = shared
	if w.finished(r) {
		for k, p := range l.Parts {
			if mine[k] {
				w.past(file, p)
			}
		}
		return nil, nil
	}
	fresh, err := w.openLarge(file)
	if err != nil {
		return nil, err
	}
	w.keep(file)
	if err := unix.Ftruncate(file.fd, r.Size); err != nil {
		return nil, pathError("truncate", r.Path, err)
	}
	if w.share.whole() {
		file.follow = newFollower(rawSizes(l))
	}
	var jobs []func(*worker) error
	var at int64
	for k, p := range l.Parts {
		from := at
		at += p.Raw
		switch {
		case !mine[k]:
		case file.hole(p), !fresh && w.journal.has(r.Path, k):
			w.past(file, p)
			if file.follow != nil {
				file.follow.there[k] = true
			}
		default:
			jobs = append(jobs, func(w *worker) error { return w.part(ctx, file, k, p, from) })
		}
	}
	return w.lastOneEnds(ctx, file, jobs), nil
}

func rawSizes(l *seed.Large) []int64 {
	sizes := make([]int64, len(l.Parts))
	for k, p := range l.Parts {
		sizes[k] = p.Raw
	}
	return sizes
}

// lastOneEnds has the last of the jobs that ends finish the file.
func (w *worker) lastOneEnds(ctx context.Context, file *largeFile, jobs []func(*worker) error) []func(*worker) error {
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
			if file.shared {
				return nil // the copy that finishes does
			}
			return w.finishLarge(ctx, file)
		}
	}
	return jobs
}

// finishLarge dresses a file whose parts are written. One that was read back and
// is not what it should be is written anew before.
func (w *worker) finishLarge(ctx context.Context, file *largeFile) error {
	var sum [32]byte
	read := false
	if file.follow != nil {
		sum, read = file.follow.whole()
	}
	if read && sum != file.r.SHA256 {
		read = false
		if err := w.mend(ctx, file); err != nil {
			return err
		}
	}
	if err := dress(file.fd, file.r); err != nil || !read {
		return err
	}
	return w.known.add(file.fd, file.r.Path, sum)
}

// mend writes all parts of a file once more, and now compares the digest of each
// blob, which tells a damaged one from a copy that went wrong. The proof reads
// the file.
func (w *worker) mend(ctx context.Context, file *largeFile) error {
	file.follow, file.progress = nil, func(int64) {}
	for _, size := range []int64{0, file.r.Size} { // holes are made by not writing
		if err := unix.Ftruncate(file.fd, size); err != nil {
			return pathError("truncate", file.r.Path, err)
		}
	}
	var at int64
	for k, p := range file.parts {
		if !file.hole(p) {
			if err := w.part(ctx, file, k, p, at); err != nil {
				return err
			}
		}
		at += p.Raw
	}
	return nil
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
	parts     []seed.Part
	sparse    bool
	journaled bool
	shared    bool // other shards write it too
	left      atomic.Int32
	follow    *follower // nil in a shard, which proves nothing
	progress  func(int64)
}

// hole reports whether a part is no work.
func (f *largeFile) hole(p seed.Part) bool { return f.sparse && p.Digest == "" }

// past tells of a part that needs no writing. (Holes are not dealt to shards
// evenly, so shards tell of data only.)
func (w *worker) past(file *largeFile, p seed.Part) {
	if w.share.whole() || !file.hole(p) {
		w.progress(p.Raw)
	}
}

// openLarge makes the file, or opens what an interrupted run began when the
// marker has parts of it, or what another shard made.
func (w *worker) openLarge(file *largeFile) (fresh bool, err error) {
	if !file.shared && len(w.journal.done[file.r.Path]) == 0 {
		file.fd, err = w.create(file.r)
		return true, err
	}
	dir, name, err := w.at.parent(file.r.Path)
	if err != nil {
		return false, err
	}
	flags := unix.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	if file.shared {
		flags |= unix.O_CREAT
	}
	fd, err := openat(dir, name, flags, 0o600)
	if err == nil {
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 && (st.Size == file.r.Size || file.shared && st.Size == 0) {
			file.fd = fd
			return st.Size == 0, nil
		}
		unix.Close(fd)
	}
	if file.shared {
		return false, pathError("open", file.r.Path, errors.Join(err, ErrOccupied))
	}
	file.fd, err = w.create(file.r)
	return true, err
}

// part writes one part of a large file at its place. The digest of its blob is
// compared only when nothing follows that reads the file back: [worker.mend]
// names the damage then.
func (w *worker) part(ctx context.Context, file *largeFile, k int, p seed.Part, at int64) error {
	out := output{fd: file.fd, path: file.r.Path, sparse: file.sparse, at: at}
	var content io.Reader = io.LimitReader(zeros{}, p.Raw)
	if p.Digest != "" {
		blob, err := w.seed.OpenPart(ctx, p)
		if err != nil {
			return pathError("copy", file.r.Path, err)
		}
		defer blob.Close()
		if s, ok := blob.(oci.SizeOnly); ok && file.follow != nil {
			s.SizeOnly() // what is read back is hashed
		}
		content = blob
	}
	if err := out.copy(content, p.Raw, w.buf, file.progress); err != nil {
		return w.spoilt(file, err)
	}
	// To the end, where the digest is compared.
	if _, err := io.CopyBuffer(io.Discard, content, w.buf[:1024]); err != nil {
		return w.spoilt(file, pathError("copy", file.r.Path, err))
	}
	out.begin(at)
	if file.journaled {
		if err := w.journal.wrote(file.r.Path, k); err != nil {
			return err
		}
	}
	if file.follow == nil {
		return nil
	}
	return file.follow.wrote(ctx, file, k, w.buf)
}

// spoilt removes a file of which a part turned out to have the wrong digest. (A
// file of several shards stays: that part is in no journal.)
func (w *worker) spoilt(file *largeFile, err error) error {
	if file.shared {
		return err
	}
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
