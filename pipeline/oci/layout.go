package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Layout is an open layout. It is safe for concurrent use by one process; who
// writes must be the only writer of that directory.
type Layout struct {
	dir string
}

const (
	blobsDir = "blobs/sha256"
	partsDir = "unfinished"
	perm     = 0o600
)

// Create opens the layout at dir for writing, and makes it when there is none.
// What a killed writer left unfinished is removed.
func Create(dir string) (*Layout, error) {
	l := &Layout{dir: dir}
	if err := os.RemoveAll(l.path(partsDir)); err != nil {
		return nil, fmt.Errorf("layout: %w", err)
	}
	for _, d := range []string{blobsDir, partsDir} {
		if err := os.MkdirAll(l.path(d), 0o700); err != nil {
			return nil, fmt.Errorf("layout: %w", err)
		}
	}
	if err := l.replace("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return nil, fmt.Errorf("layout: %w", err)
	}
	return l, nil
}

// Open opens an existing layout for reading (OCI image-spec image-layout.md).
func Open(dir string) (*Layout, error) {
	l := &Layout{dir: dir}
	data, err := os.ReadFile(l.path("oci-layout"))
	if err != nil {
		return nil, fmt.Errorf("%s is no OCI layout: %w", dir, err)
	}
	var says struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(data, &says); err != nil || says.Version != "1.0.0" {
		return nil, fmt.Errorf("%s is no OCI layout: its file oci-layout is damaged or of another version", dir)
	}
	return l, nil
}

func (l *Layout) path(name string) string { return filepath.Join(l.dir, name) }

func (l *Layout) blob(d Digest) (string, error) {
	digits, err := d.Hex()
	if err != nil {
		return "", err
	}
	return l.path(blobsDir + "/" + digits), nil
}

// Has reports whether the blob is there with that size. It does not read it.
func (l *Layout) Has(_ context.Context, d Digest, size int64) (bool, error) {
	name, err := l.blob(d)
	if err != nil {
		return false, err
	}
	fi, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("blob: %w", err)
	}
	return fi.Mode().IsRegular() && fi.Size() == size, nil
}

// Open reads a blob of that size. The reader compares the digest: it returns an
// error that wraps ErrDamaged in the place of io.EOF when the content is not
// what the digest says. So nothing of it counts before io.EOF was seen. The
// caller closes it.
func (l *Layout) Open(ctx context.Context, d Digest, size int64) (io.ReadCloser, error) {
	name, err := l.blob(d)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return &verifier{ctx: ctx, f: f, sum: sha256.New(), want: d, size: size}, nil
}

type verifier struct {
	ctx  context.Context
	f    *os.File
	sum  hash.Hash
	want Digest
	size int64
	read int64
}

func (v *verifier) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.f.Read(p)
	if v.sum != nil {
		v.sum.Write(p[:n])
	}
	v.read += int64(n)
	if v.read > v.size || err == io.EOF && v.read < v.size {
		return 0, &Damaged{v.want, fmt.Sprintf("it is not of %d bytes", v.size)}
	}
	if err == io.EOF && v.sum != nil {
		if got := DigestOf([32]byte(v.sum.Sum(nil))); got != v.want {
			return 0, &Damaged{v.want, fmt.Sprintf("its content has %s", got)}
		}
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("blob %s: %w", v.want, err)
	}
	return n, err
}

func (v *verifier) Close() error { return v.f.Close() }

// SizeOnly implements [SizeOnly].
func (v *verifier) SizeOnly() { v.sum = nil }

// SizeOnly is implemented by the readers that [Blobs] open, for who hashes what
// he makes of the content anyway: called before the first Read, it has the
// reader compare the blob's size and not its digest.
type SizeOnly interface{ SizeOnly() }

// ReadAll reads a small blob, of at most limit bytes.
func ReadAll(ctx context.Context, b Blobs, desc Descriptor, limit int64) ([]byte, error) {
	if desc.Size < 0 || desc.Size > limit {
		return nil, fmt.Errorf("blob %s: %d bytes are more than the %d expected at most", desc.Digest, desc.Size, limit)
	}
	r, err := b.Open(ctx, desc.Digest, desc.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Blobs is where blobs are read from: a Layout, later a registry or a bucket.
// Open's reader compares the digest, see [Layout.Open].
type Blobs interface {
	Has(ctx context.Context, d Digest, size int64) (bool, error)
	Open(ctx context.Context, d Digest, size int64) (io.ReadCloser, error)
}

// Writer writes one blob whose digest is not known yet. The caller ends it with
// Commit or Abort. It is for one goroutine.
type Writer struct {
	l    *Layout
	f    *os.File
	sum  hash.Hash
	size int64
}

// Begin starts a blob.
func (l *Layout) Begin() (*Writer, error) {
	f, err := os.CreateTemp(l.path(partsDir), "blob-*")
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return &Writer{l: l, f: f, sum: sha256.New()}, nil
}

func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	if err != nil {
		err = fmt.Errorf("blob: %w", err)
	}
	return n, err
}

// Commit gives the blob its name, and returns its digest and size. A blob that
// was there already under that name is replaced: it may be damaged. The content
// is not yet flushed to the disk, see [Layout.Flush].
func (w *Writer) Commit() (Digest, int64, error) {
	d := DigestOf([32]byte(w.sum.Sum(nil)))
	name, err := w.l.blob(d)
	if err == nil {
		// Let the disk begin now what Flush will wait for. Whether it does makes
		// no difference but in time.
		_ = unix.SyncFileRange(int(w.f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
		err = w.f.Close()
	}
	if err == nil {
		err = os.Rename(w.f.Name(), name)
	}
	if err != nil {
		os.Remove(w.f.Name())
		return "", 0, fmt.Errorf("blob: %w", err)
	}
	return d, w.size, nil
}

// Abort throws the blob away. It does nothing after Commit.
func (w *Writer) Abort() {
	if w.f.Close() == nil {
		os.Remove(w.f.Name())
	}
}

// Flush makes everything that was written to the layout durable (syncfs(2)).
func (l *Layout) Flush() error {
	dir, err := os.Open(l.path(blobsDir))
	if err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("flush the layout %s: %w", l.dir, err)
	}
	return nil
}

// Put stores a small blob. It is not yet flushed to the disk.
func (l *Layout) Put(data []byte) (Digest, error) {
	w, err := l.Begin()
	if err != nil {
		return "", err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return "", err
	}
	d, _, err := w.Commit()
	return d, err
}

// replace writes a file that is whole or not there after a kill; Flush makes it
// durable. (Flushing each file by itself would wait for all blobs each time: a
// journaling file system orders them.)
func (l *Layout) replace(name string, data []byte) error {
	temp := l.path(partsDir + "/" + name)
	if err := os.WriteFile(temp, data, perm); err != nil {
		return err
	}
	return os.Rename(temp, l.path(name))
}

// Remove takes a blob away, if it is there: a damaged one, so that it is made
// again.
func (l *Layout) Remove(d Digest) error {
	name, err := l.blob(d)
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("layout: %w", err)
	}
	return nil
}

// Index reads index.json; a layout without one is empty.
func (l *Layout) Index() (Index, error) {
	ix := Index{SchemaVersion: 2, MediaType: MediaIndex, Manifests: []Descriptor{}}
	data, err := os.ReadFile(l.path("index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return ix, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &ix)
	}
	if err != nil {
		return ix, fmt.Errorf("layout %s: index.json: %w", l.dir, err)
	}
	return ix, nil
}

// SetIndex replaces the entries of index.json.
func (l *Layout) SetIndex(manifests []Descriptor) error {
	data, err := Marshal(Index{SchemaVersion: 2, MediaType: MediaIndex, Manifests: manifests})
	if err != nil {
		return fmt.Errorf("layout: index.json: %w", err)
	}
	if err := l.replace("index.json", data); err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	return nil
}

// Prune removes the blobs that keep does not want, and what is unfinished.
func (l *Layout) Prune(keep func(Digest) bool) error {
	dir, err := os.Open(l.path(blobsDir))
	if err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	defer dir.Close()
	var drop []string
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if !keep(Digest("sha256:" + name)) {
				drop = append(drop, name)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("layout: %w", err)
		}
	}
	for _, name := range drop {
		if err := os.Remove(l.path(blobsDir + "/" + name)); err != nil {
			return fmt.Errorf("layout: %w", err)
		}
	}
	if err := os.RemoveAll(l.path(partsDir)); err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	return nil
}

// String is the directory.
func (l *Layout) String() string { return strings.TrimSuffix(l.dir, "/") }

// Sum is the SHA-256 of data in hexadecimal.
func Sum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
