package seed

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/tree"
)

// worker packs units and cuts files, one thing at a time.
type worker struct {
	b    *builder
	in   reading
	zstd *zstd.Encoder
	buf  []byte

	sample, tried []byte
}

func (b *builder) newWorker() (*worker, error) {
	enc, err := NewEncoder()
	if err != nil {
		return nil, err
	}
	return &worker{b: b, in: reading{source: b.source}, zstd: enc}, nil
}

// NewEncoder is the one encoder of all blobs: its settings make the digests. One
// goroutine, so that the output does not depend on timing; no checksum, since
// the digest is one.
func NewEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(4<<20))
}

// pack makes the pack of u, or finds it made by a run before.
func (w *worker) pack(ctx context.Context, u *unit) error {
	key := u.key(w.b.limits)
	if ok, err := w.b.resumePack(ctx, key, u); ok || err != nil {
		return err
	}
	blob, err := w.b.layout.Begin()
	if err != nil {
		return own(err)
	}
	defer blob.Abort()
	raw, n, err := w.writePack(ctx, u, blob)
	if err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	digest, size, err := blob.Commit()
	if err != nil {
		return own(err)
	}
	u.pack = &Packed{Digest: digest, Size: size, Raw: raw}
	for i := range u.records {
		if u.small(i, w.b.limits) && u.failed[i] != nil {
			return nil // not what was planned: packed again next time
		}
	}
	return own(w.b.remember(ctx, key, packMark{Pack: *u.pack, Sparse: u.sparseInPack(w.b.limits)}))
}

// writePack writes the archive and returns its length unpacked and the number of
// paths in it.
func (w *worker) writePack(ctx context.Context, u *unit, blob io.Writer) (raw int64, n int, err error) {
	out := &frames{w: blob, enc: w.zstd}
	count := &counter{w: out}
	tw := tar.NewWriter(count)
	for i := range u.records {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		r := &u.records[i]
		var content []byte
		switch {
		case u.small(i, w.b.limits):
			content, u.sparse[i], err = w.content(u.records[i])
			if err != nil {
				if fatal(ctx, err) {
					return 0, 0, err
				}
				u.failed[i] = reason(err)
				continue
			}
			u.sums[i] = sha256.Sum256(content)
			w.b.progress(r.Size)
		case r.Type == tree.Socket, r.Type == tree.Regular && r.Link == "":
			continue
		}
		if err := tw.WriteHeader(header(r)); err != nil {
			return 0, 0, own(fmt.Errorf("pack %s: %w", r.Path, err))
		}
		out.raw = !w.compresses(content)
		if _, err := tw.Write(content); err != nil {
			return 0, 0, own(fmt.Errorf("pack %s: %w", r.Path, err))
		}
		out.raw = false
		n++
	}
	if err := errors.Join(tw.Close(), out.Close()); err != nil {
		return 0, 0, own(fmt.Errorf("pack: %w", err))
	}
	return count.n, n, nil
}

// content reads a small file as a whole, and makes sure that it was the one of
// the scan before and after. The result is valid until the next call.
func (w *worker) content(r tree.Record) (data []byte, sparse bool, err error) {
	f, err := w.in.open(below(w.b.root, r.Path), &r.Entry)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if int64(len(w.buf)) < r.Size {
		w.buf = make([]byte, max(64<<10, r.Size*3/2))
	}
	data = w.buf[:r.Size]
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, false, err
	}
	if sparse, err = hasHoles(f, &r.Entry); err != nil {
		return nil, false, err
	}
	return data, sparse, same(f, &r.Entry)
}

// hasHoles reports whether the file has a hole before its end (lseek(2)).
func hasHoles(f *os.File, e *tree.Entry) (bool, error) {
	if e.Allocated >= e.Size {
		return false, nil
	}
	at, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	if err == unix.EINVAL { // a file system that does not tell
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("seek to a hole: %w", err)
	}
	return at < e.Size, nil
}

// paxXattrMax is how much of attributes goes into one archive header: readers
// refuse headers of more than 1 MiB.
const paxXattrMax = 256 << 10

// Header is the tar header of a record, in the PAX format with its attributes and
// ACLs as GNU tar and star write them.
func Header(r *tree.Record) *tar.Header { return header(r) }

func header(r *tree.Record) *tar.Header {
	h := &tar.Header{
		Format: tar.FormatPAX, Name: r.Path.Rel(), Mode: int64(r.Mode), Uid: int(r.UID), Gid: int(r.GID),
		ModTime: time.Unix(0, r.Mtime), PAXRecords: map[string]string{},
	}
	switch r.Type {
	case tree.Regular:
		h.Typeflag, h.Size = tar.TypeReg, r.Size
	case tree.Directory:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case tree.Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, r.Target
	case tree.FIFO:
		h.Typeflag = tar.TypeFifo
	case tree.Char, tree.Block:
		h.Typeflag = tar.TypeChar
		if r.Type == tree.Block {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(r.Rdev)), int64(unix.Minor(r.Rdev))
	}
	if r.Link != "" {
		h.Typeflag, h.Linkname, h.Size, h.Devmajor, h.Devminor = tar.TypeLink, r.Link.Rel(), 0, 0, 0
	}
	total := 0
	for _, x := range r.Xattrs {
		total += len(x.Name) + len(x.Value)
		if total > paxXattrMax {
			break
		}
		if kind, ok := strings.CutPrefix(x.Name, "system.posix_acl_"); ok {
			if text, ok := aclText(x.Value); ok {
				h.PAXRecords["SCHILY.acl."+kind] = text
				continue
			}
		}
		if !strings.Contains(x.Name, "=") {
			h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
		}
	}
	if !utf8.ValidString(h.Name) || !utf8.ValidString(h.Linkname) {
		h.PAXRecords["hdrcharset"] = "BINARY"
	}
	return h
}

// counter counts what passes.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
