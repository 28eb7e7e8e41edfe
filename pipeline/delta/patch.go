package delta

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// patchBlobSize bounds the content of a blob.
const patchBlobSize = 32 << 20

// patchSteady makes the patch of a file, again when the file changes meanwhile.
// The entry becomes what was read.
func (d *decider) patchSteady(ctx context.Context, e *tree.Entry, k *before) (sum [32]byte, blocks []byte, err error) {
	for range attempts {
		var p *Patch
		sum, blocks, p, err = d.patch(ctx, e, k)
		if err == nil {
			if sum != k.sum {
				d.patches[e.Path] = p
			}
			return sum, blocks, nil
		}
		if !errors.Is(err, errUnsteady) || d.at.dir == nil {
			return sum, nil, err
		}
		now, lerr := tree.Lstat(d.at.dir, e.Path.Base(), e.Path)
		if lerr != nil || now.Type != tree.Regular {
			return sum, nil, errors.Join(err, lerr)
		}
		*e = now
	}
	return sum, nil, err
}

// patch reads a large file, and stores the blocks that are not as before.
func (d *decider) patch(ctx context.Context, e *tree.Entry, k *before) (sum [32]byte, blocks []byte, p *Patch, err error) {
	f, err := d.at.open(d.below(e.Path), e)
	if err != nil {
		return sum, nil, nil, err
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
	sink := patchSink{layout: d.Layout}
	defer sink.abort()
	whole := sha256.New()
	beside := newBeside(whole)
	defer beside.stop()
	bufs := [2][]byte{make([]byte, BlockSize), make([]byte, BlockSize)}
	blocks = make([]byte, 0, seed.DigestsLen(e.Size))
	for at, n := int64(0), 0; at < e.Size; n++ {
		if err := ctx.Err(); err != nil {
			return sum, nil, nil, err
		}
		// The buffer of two rounds ago is free: hashing takes one at a time.
		buf := bufs[n%2][:min(BlockSize, e.Size-at)]
		if err := readBlock(f, buf, at); err != nil {
			return sum, nil, nil, err
		}
		beside.add(buf)
		block := sha256.Sum256(buf)
		if !bytes.Equal(block[:], k.block(n)) {
			if err := sink.add(buf, at, at >= k.size); err != nil {
				return sum, nil, nil, err
			}
			d.round.ChangedBytes += int64(len(buf))
		}
		blocks = append(blocks, block[:]...)
		at += int64(len(buf))
		d.progress(int64(len(buf)))
	}
	beside.stop()
	whole.Sum(sum[:0])
	if err := steady(f, e); err != nil {
		return sum, nil, nil, err
	}
	p = &Patch{Base: hex.EncodeToString(k.sum[:]), Size: k.size}
	p.Blobs, err = sink.finish()
	return sum, blocks, p, err
}

// block is the digest of block n, nil beyond the end.
func (b *before) block(n int) []byte {
	from := n * sha256.Size
	return b.blocks[min(from, len(b.blocks)):min(from+sha256.Size, len(b.blocks))]
}

func readBlock(f *os.File, buf []byte, at int64) error {
	n, err := f.ReadAt(buf, at)
	switch {
	case n == len(buf):
		return nil
	case errors.Is(err, io.EOF):
		return errUnsteady // it became shorter
	}
	return fmt.Errorf("%w: %w", errUnsteady, err)
}

// beside is a hash that runs beside the work on the same buffers.
type beside struct {
	in   chan []byte
	done chan struct{}
	over bool
}

func newBeside(sum io.Writer) *beside {
	b := &beside{in: make(chan []byte), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		for buf := range b.in {
			_, _ = sum.Write(buf) // hashes do not fail
		}
	}()
	return b
}

// add hands over a buffer. When it returns, the one before is free.
func (b *beside) add(buf []byte) { b.in <- buf }

// stop waits for the last buffer. It may be called again.
func (b *beside) stop() {
	if !b.over {
		b.over = true
		close(b.in)
	}
	<-b.done
}

// patchSink stores changed blocks, as many in one blob as there is room.
type patchSink struct {
	layout *oci.Layout
	zstd   *zstd.Encoder
	blobs  []PatchBlob
	zeros  PatchBlob

	current PatchBlob
	blob    *oci.Writer
	out     io.Writer
}

// add takes a block. One of zeros beyond the end of the base needs nothing.
func (s *patchSink) add(block []byte, at int64, beyond bool) error {
	if allZero(block) {
		if !beyond {
			s.zeros.add(at, len(block))
		}
		return nil
	}
	if s.blob == nil {
		if err := s.begin(block); err != nil {
			return err
		}
	}
	if _, err := s.out.Write(block); err != nil {
		return err
	}
	if s.current.add(at, len(block)); s.current.Raw >= patchBlobSize {
		return s.commit()
	}
	return nil
}

// add extends the last run or begins one.
func (b *PatchBlob) add(at int64, n int) {
	b.Raw += int64(n)
	if k := len(b.Runs); k > 0 && b.Runs[k-1].At+b.Runs[k-1].Raw == at {
		b.Runs[k-1].Raw += int64(n)
		return
	}
	b.Runs = append(b.Runs, Run{At: at, Raw: int64(n)})
}

func (s *patchSink) begin(first []byte) (err error) {
	if s.zstd == nil {
		if s.zstd, err = seed.NewEncoder(); err != nil {
			return err
		}
	}
	if s.blob, err = s.layout.Begin(); err != nil {
		return err
	}
	s.current = PatchBlob{}
	s.out = s.blob
	// As in seeds: what compression does not halve is not compressed.
	const sample = 32 << 10
	in := first[len(first)/3:]
	in = in[:min(len(in), sample)]
	if len(s.zstd.EncodeAll(in, nil)) < len(in)/2 {
		s.zstd.Reset(s.blob)
		s.out, s.current.Zstd = s.zstd, true
	}
	return nil
}

func (s *patchSink) commit() error {
	if s.current.Zstd {
		if err := s.zstd.Close(); err != nil {
			return err
		}
	}
	var err error
	if s.current.Digest, s.current.Size, err = s.blob.Commit(); err != nil {
		return err
	}
	s.blobs = append(s.blobs, s.current)
	s.blob = nil
	return nil
}

func (s *patchSink) finish() ([]PatchBlob, error) {
	if s.blob != nil {
		if err := s.commit(); err != nil {
			return nil, err
		}
	}
	if len(s.zeros.Runs) > 0 {
		s.blobs = append(s.blobs, s.zeros)
	}
	return s.blobs, nil
}

func (s *patchSink) abort() {
	if s.blob != nil {
		s.blob.Abort()
	}
}

func allZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}
