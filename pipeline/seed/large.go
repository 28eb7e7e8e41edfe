package seed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/oci"
)

// chunk is how much of a large file is in a worker's hands at once, twice.
const chunk = 256 << 10

// large cuts record i of u into parts, and hashes the whole. Parts that were
// made by a run before are not read again; the state of the whole's hash was
// kept with them.
func (w *worker) large(ctx context.Context, u *unit, i int) error {
	r := &u.records[i]
	key := fileKey(r, w.b.limits)
	var mark fileMark
	if ok, err := w.b.recall(ctx, key, &mark); err != nil {
		return own(err)
	} else if ok {
		have, err := w.b.hasParts(ctx, mark.Parts)
		if err != nil {
			return own(err)
		}
		if have && len(mark.SHA256) == 32 {
			u.parts[i], u.sparse[i], u.sums[i] = mark.Parts, mark.Sparse, [32]byte(mark.SHA256)
			if u.blocks[i], err = w.b.recallBlocks(ctx, key, &mark, r.Size); err != nil {
				return own(err)
			}
			w.b.progress(r.Size)
			return nil
		}
	}
	f, err := w.in.open(below(w.b.root, r.Path), &r.Entry)
	if err != nil {
		return err
	}
	defer f.Close()
	// Large files pass through the page cache once.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
	if u.sparse[i], err = hasHoles(f, &r.Entry); err != nil {
		return err
	}
	c := cut{w: w, f: f, key: key, size: r.Size, sparse: u.sparse[i], whole: sha256.New()}
	if w.b.taken != nil && w.b.limits.PartSize%DigestBlock == 0 {
		c.blocks = &Blocks{}
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	if err := same(f, &r.Entry); err != nil {
		return err
	}
	u.parts[i], u.sums[i] = c.parts, c.sum
	mark = fileMark{Parts: c.parts, Sparse: u.sparse[i], SHA256: c.sum[:]}
	if c.blocks != nil {
		u.blocks[i] = c.blocks.Digests(r.Size)
		if len(c.parts) == 1 {
			mark.Blocks = u.blocks[i]
		}
	}
	return own(w.b.remember(ctx, key, mark))
}

// cut is the work on one large file.
type cut struct {
	w      *worker
	f      *os.File
	key    string
	size   int64
	sparse bool
	whole  hash.Hash
	parts  []Part
	sum    [32]byte
	blocks *Blocks // nil when nobody wants them
	// hole is the last one that was found: from, to.
	from, to int64
}

func (c *cut) run(ctx context.Context) error {
	at, err := c.resume(ctx)
	if err != nil {
		return err
	}
	single := c.size <= c.w.b.limits.PartSize
	for ; at < c.size; at += c.w.b.limits.PartSize {
		p, err := c.part(ctx, at, min(c.w.b.limits.PartSize, c.size-at), single)
		if err != nil {
			return err
		}
		c.parts = append(c.parts, p)
		if !single {
			if err := c.rememberPart(ctx, p); err != nil {
				return err
			}
		}
	}
	if single && c.parts[0].Digest != "" && !c.parts[0].Zstd {
		// The part is the file: its digest is the file's.
		return sumOf(c.parts[0].Digest, &c.sum)
	}
	c.whole.Sum(c.sum[:0])
	return nil
}

// resume goes on after the parts that were made before.
func (c *cut) resume(ctx context.Context) (at int64, err error) {
	for {
		var mark partMark
		ok, err := c.w.b.recall(ctx, partKey(c.key, len(c.parts)), &mark)
		if err != nil {
			return 0, own(err)
		}
		if !ok {
			return at, nil
		}
		have, err := c.w.b.hasParts(ctx, []Part{mark.Part})
		if err != nil {
			return 0, own(err)
		}
		if !have || mark.Part.Raw != min(c.w.b.limits.PartSize, c.size-at) {
			return at, nil
		}
		if err := c.whole.(encoding.BinaryUnmarshaler).UnmarshalBinary(mark.State); err != nil {
			return at, nil //nolint:nilerr // a state of another Go version: the parts are made again
		}
		if c.blocks != nil && !c.blocks.resume(mark.Blocks, mark.Part.Raw) {
			c.blocks = nil // made before they were remembered: unknown
		}
		c.parts = append(c.parts, mark.Part)
		at += mark.Part.Raw
		c.w.b.progress(mark.Part.Raw)
	}
}

func (c *cut) rememberPart(ctx context.Context, p Part) error {
	state, err := c.whole.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return own(err)
	}
	mark := partMark{Part: p, State: state}
	if c.blocks != nil {
		mark.Blocks = c.blocks.last(p.Raw)
	}
	return own(c.w.b.remember(ctx, partKey(c.key, len(c.parts)-1), mark))
}

// part stores size bytes from at. The whole's hash runs beside it, unless the
// part is the whole file as it is.
func (c *cut) part(ctx context.Context, at, size int64, single bool) (Part, error) {
	pays, err := c.pays(at, size)
	if err != nil {
		return Part{}, err
	}
	blob, err := c.w.b.layout.Begin()
	if err != nil {
		return Part{}, own(err)
	}
	defer blob.Abort()
	var out io.WriteCloser = nopCloser{blob}
	if pays {
		c.w.zstd.Reset(blob)
		out = c.w.zstd
	}
	var beside *hashing
	switch whole := pays || !single; {
	case whole && c.blocks != nil:
		beside = hashBeside(io.MultiWriter(c.whole, c.blocks))
	case whole:
		beside = hashBeside(c.whole)
	case c.blocks != nil:
		beside = hashBeside(c.blocks)
	}
	if beside != nil {
		defer beside.stop()
	}
	zero, err := c.stream(ctx, at, size, out, beside)
	if err != nil {
		return Part{}, err
	}
	if beside != nil {
		beside.stop()
	}
	if zero {
		if !pays && single {
			c.whole.Reset()
			if err := hashZeros(ctx, c.whole, size); err != nil {
				return Part{}, err
			}
		}
		return Part{Raw: size}, nil
	}
	if err := out.Close(); err != nil {
		return Part{}, own(err)
	}
	digest, stored, err := blob.Commit()
	if err != nil {
		return Part{}, own(err)
	}
	return Part{Digest: digest, Size: stored, Raw: size, Zstd: pays}, nil
}

// stream reads size bytes from at, and writes them to out unless all are zero.
func (c *cut) stream(ctx context.Context, at, size int64, out io.Writer, beside *hashing) (zero bool, err error) {
	zero = true
	var held int64 // zeros that were not written yet
	bufs := [2][]byte{make([]byte, chunk), make([]byte, chunk)}
	for n := 0; size > 0; n++ {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		// The buffer of two rounds ago is free: hashing takes one at a time.
		buf := bufs[n%2][:min(chunk, size)]
		hole, err := c.read(buf, at)
		if err != nil {
			return false, err
		}
		if beside != nil {
			beside.add(buf)
		}
		if zero && (hole || allZero(buf)) {
			held += int64(len(buf))
		} else {
			if zero {
				zero = false
				if err := writeZeros(out, held); err != nil {
					return false, own(err)
				}
			}
			if _, err := out.Write(buf); err != nil {
				return false, own(err)
			}
		}
		at += int64(len(buf))
		size -= int64(len(buf))
		c.w.b.progress(int64(len(buf)))
	}
	return zero, nil
}

// read fills buf from at; holes are not read.
func (c *cut) read(buf []byte, at int64) (hole bool, err error) {
	if c.sparse {
		if at >= c.to {
			if err := c.nextHole(at); err != nil {
				return false, err
			}
		}
		if at >= c.from && at+int64(len(buf)) <= c.to {
			clear(buf)
			return true, nil
		}
	}
	n, err := c.f.ReadAt(buf, at)
	if n == len(buf) {
		return false, nil
	}
	if errors.Is(err, io.EOF) {
		return false, fmt.Errorf("%w: it became shorter", ErrChanged)
	}
	return false, err
}

// nextHole finds the first hole that ends after at.
func (c *cut) nextHole(at int64) error {
	fd := int(c.f.Fd())
	from, err := unix.Seek(fd, at, unix.SEEK_HOLE)
	if err != nil {
		return fmt.Errorf("seek to a hole: %w", err)
	}
	to, err := unix.Seek(fd, from, unix.SEEK_DATA)
	if err == unix.ENXIO { // to the end
		to, err = c.size, nil
	}
	if err != nil {
		return fmt.Errorf("seek to data: %w", err)
	}
	c.from, c.to = from, max(to, from+1)
	return nil
}

// pays tries a little of the part, and says whether compression at least halves
// it: below that, compressing takes longer than it saves (measured: programs, to
// 0.45 of their size, at 200 MB/s; database files at over 1,000 MB/s).
func (c *cut) pays(at, size int64) (bool, error) {
	const sample = 32 << 10
	var in []byte
	buf := make([]byte, sample)
	for _, from := range []int64{0, size / 3, size * 2 / 3, size - sample} {
		n, err := c.f.ReadAt(buf, at+max(from, 0))
		if err != nil && err != io.EOF {
			return false, err
		}
		in = append(in, buf[:n]...)
	}
	out := c.w.zstd.EncodeAll(in, nil)
	return len(out) < len(in)/2, nil
}

// hashing is a hash that runs beside the work on the same buffers.
type hashing struct {
	in   chan []byte
	done chan struct{}
	over bool
}

func hashBeside(sum io.Writer) *hashing {
	h := &hashing{in: make(chan []byte), done: make(chan struct{})}
	go func() {
		defer close(h.done)
		for buf := range h.in {
			_, _ = sum.Write(buf) // hashes do not fail
		}
	}()
	return h
}

// add hands over a buffer. When it returns, the one before is free.
func (h *hashing) add(buf []byte) { h.in <- buf }

// stop waits for the last buffer. It may be called again.
func (h *hashing) stop() {
	if !h.over {
		h.over = true
		close(h.in)
	}
	<-h.done
}

func hashZeros(ctx context.Context, sum hash.Hash, n int64) error {
	buf := make([]byte, min(n, chunk))
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		k := min(n, int64(len(buf)))
		sum.Write(buf[:k])
		n -= k
	}
	return nil
}

func writeZeros(w io.Writer, n int64) error {
	buf := make([]byte, min(n, chunk))
	for n > 0 {
		k := min(n, int64(len(buf)))
		if _, err := w.Write(buf[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// allZero compares b with itself, shifted by one: bytes.Equal is what the
// processor does fastest.
func allZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func sumOf(d oci.Digest, sum *[32]byte) error {
	digits, err := d.Hex()
	if err != nil {
		return err
	}
	_, err = hex.Decode(sum[:], []byte(digits))
	return err
}
