package seed

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/tree"
)

// Ledger remembers what is in the layout; pipeline.Ledger is one.
type Ledger interface {
	Lookup(ctx context.Context, item string) (mark string, ok bool, err error)
	Commit(ctx context.Context, item, mark string) error
}

// packMark is what the ledger keeps of a pack. The sums of the files are not
// kept: they are computed from the pack, which proves it at the same time.
type packMark struct {
	Pack   Packed `json:"pack"`
	Sparse []int  `json:"sparse,omitempty"`
}

// fileMark is what the ledger keeps of a large file that is complete, partMark
// of a part of one that is not yet: State is that of the SHA-256 of the file up
// to the end of the part.
type fileMark struct {
	Parts  []Part `json:"parts"`
	Sparse bool   `json:"sparse,omitempty"`
	SHA256 []byte `json:"sha256"`
	Blocks []byte `json:"blocks,omitempty"` // of a file of one part
}

type partMark struct {
	Part  Part   `json:"part"`
	State []byte `json:"state"`
	// Blocks are the digests of the part's blocks.
	Blocks []byte `json:"blocks,omitempty"`
}

// key is the plan of a pack: what is in it, as the scan saw it. Equal keys,
// equal content, for every change of a file shows in its ctime or inode.
func (u *unit) key(l Limits) string {
	h := sha256.New()
	fmt.Fprintf(h, "pack %d %d\n", Version, l.LargeFrom)
	var buf []byte
	for i := range u.records {
		buf = appendPlan(buf[:0], &u.records[i])
		h.Write(buf)
	}
	return "pack " + hex.EncodeToString(h.Sum(nil))
}

func fileKey(r *tree.Record, l Limits) string {
	sum := sha256.Sum256(appendPlan(fmt.Appendf(nil, "file %d %d\n", Version, l.PartSize), r))
	return "file " + hex.EncodeToString(sum[:])
}

func partKey(fileKey string, n int) string { return fmt.Sprintf("%s part %d", fileKey, n) }

func appendPlan(buf []byte, r *tree.Record) []byte {
	buf, _ = r.AppendText(buf) // its sum is not known yet
	buf = binary.LittleEndian.AppendUint64(buf, uint64(r.Ctime))
	return binary.LittleEndian.AppendUint64(buf, r.Ino)
}

func (b *builder) recall(ctx context.Context, key string, mark any) (bool, error) {
	if b.ledger == nil {
		return false, nil
	}
	text, ok, err := b.ledger.Lookup(ctx, key)
	if err != nil || !ok {
		return false, err
	}
	// A mark that cannot be read is none: the work is done again.
	return json.Unmarshal([]byte(text), mark) == nil, nil
}

func (b *builder) remember(ctx context.Context, key string, mark any) error {
	if b.ledger == nil {
		return nil
	}
	text, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	return b.ledger.Commit(ctx, key, string(text))
}

func (b *builder) hasParts(ctx context.Context, parts []Part) (bool, error) {
	for _, p := range parts {
		if p.Digest == "" {
			continue
		}
		if ok, err := b.layout.Has(ctx, p.Digest, p.Size); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// resumePack takes the pack of u from the layout, when a run before made it, and
// fills in the sums of its files. Nothing is read from the source.
func (b *builder) resumePack(ctx context.Context, key string, u *unit) (bool, error) {
	var mark packMark
	ok, err := b.recall(ctx, key, &mark)
	if err != nil || !ok {
		return false, own(err)
	}
	if ok, err := b.layout.Has(ctx, mark.Pack.Digest, mark.Pack.Size); err != nil || !ok {
		return false, own(err)
	}
	sums, err := b.sumsOf(ctx, mark.Pack)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return false, nil //nolint:nilerr // a damaged pack is made again
	}
	for i := range u.records {
		if !u.small(i, b.limits) {
			continue
		}
		if len(sums) == 0 {
			return false, nil
		}
		u.sums[i] = sums[0]
		sums = sums[1:]
	}
	if len(sums) != 0 {
		return false, nil
	}
	for _, i := range mark.Sparse {
		if i < 0 || i >= len(u.records) || !u.small(i, b.limits) {
			return false, nil
		}
		u.sparse[i] = true
	}
	u.pack = &mark.Pack
	b.progress(u.bytes)
	return true, nil
}

// sumsOf reads a pack to its end, so that its digest is compared, and hashes its
// files.
func (b *builder) sumsOf(ctx context.Context, p Packed) ([][32]byte, error) {
	var sums [][32]byte
	h := sha256.New()
	err := readPack(ctx, b.layout, p, func(hdr *tar.Header, content io.Reader) error {
		if hdr.Typeflag != tar.TypeReg {
			return nil
		}
		h.Reset()
		if _, err := io.Copy(h, content); err != nil {
			return err
		}
		sums = append(sums, [32]byte(h.Sum(nil)))
		return nil
	})
	return sums, err
}

// readPack reads a pack. When it returns nil, the digest was right.
func readPack(ctx context.Context, blobs oci.Blobs, p Packed, each func(*tar.Header, io.Reader) error) error {
	raw, err := unpack(ctx, blobs, p)
	if err != nil {
		return err
	}
	defer raw.Close()
	tr := tar.NewReader(raw)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, tar.ErrHeader) {
			err = fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if err != nil {
			return fmt.Errorf("pack %s: %w", p.Digest, err)
		}
		if err := each(h, tr); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, raw)
	return err
}

// unpack opens a zstd blob. Its reader ends with io.EOF only when the digest of
// the blob and the length of the content are right.
func unpack(ctx context.Context, blobs oci.Blobs, p Packed) (io.ReadCloser, error) {
	blob, err := blobs.Open(ctx, p.Digest, p.Size)
	if err != nil {
		return nil, err
	}
	faulty := &faultyReader{r: blob}
	dec, err := newDecoder(faulty)
	if err != nil {
		blob.Close()
		return nil, fmt.Errorf("blob %s: %w", p.Digest, err)
	}
	return &unpacked{blob: blob, dec: dec, faulty: faulty, want: p, left: p.Raw}, nil
}

// newDecoder bounds what a hostile frame can ask for: encoders here use windows
// of 4 MiB.
func newDecoder(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
}

type unpacked struct {
	blob   io.ReadCloser
	dec    *zstd.Decoder
	faulty *faultyReader
	want   Packed
	left   int64
}

// faultyReader remembers whether reading failed.
type faultyReader struct {
	r      io.Reader
	failed bool
}

func (f *faultyReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.failed = f.failed || err != nil && err != io.EOF
	return n, err
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.dec.Read(p)
	u.left -= int64(n)
	switch {
	case u.left < 0:
		return 0, &oci.Damaged{Digest: u.want.Digest, How: fmt.Sprintf("it holds more than the %d bytes it should", u.want.Raw)}
	case err == io.EOF && u.left > 0:
		return n, &oci.Damaged{Digest: u.want.Digest, How: fmt.Sprintf("it holds %d bytes less than it should", u.left)}
	case err == io.EOF:
		// The decoder stops at the end of the frame; the digest is compared at
		// the end of the blob.
		if k, err := io.Copy(io.Discard, u.blob); err != nil {
			return n, err
		} else if k > 0 {
			return n, &oci.Damaged{Digest: u.want.Digest, How: "more follows after its content"}
		}
	case err != nil && !u.faulty.failed:
		// The blob could be read, but not be decompressed.
		err = &oci.Damaged{Digest: u.want.Digest, How: err.Error()}
	}
	return n, err
}

func (u *unpacked) Close() error {
	u.dec.Close()
	return u.blob.Close()
}

// sparseInPack lists the files with holes that are in the pack.
func (u *unit) sparseInPack(l Limits) []int {
	var out []int
	for i := range u.records {
		if u.small(i, l) && u.sparse[i] {
			out = append(out, i)
		}
	}
	return out
}
