package seed

import (
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"
)

// frames writes a zstd stream of several frames (RFC 8878 section 3.1): what
// does not compress goes into frames of raw blocks, at the speed of a copy.
// Decoders take the frames one after the other, as zstd(1) does.
type frames struct {
	w    io.Writer
	enc  *zstd.Encoder
	open bool // a frame of enc is
	raw  bool // what is written now is not to be compressed
	any  bool
}

func (f *frames) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	f.any = true
	if f.raw {
		if err := f.close(); err != nil {
			return 0, err
		}
		return len(p), writeRaw(f.w, p)
	}
	if !f.open {
		f.enc.Reset(f.w)
		f.open = true
	}
	return f.enc.Write(p)
}

func (f *frames) close() error {
	if !f.open {
		return nil
	}
	f.open = false
	return f.enc.Close()
}

// Close ends the last frame. A stream of nothing is an empty frame.
func (f *frames) Close() error {
	if !f.any {
		f.enc.Reset(f.w)
		f.open = true
	}
	return f.close()
}

// rawBlock is the largest block (RFC 8878 section 3.1.1.2.4).
const rawBlock = 128 << 10

// writeRaw writes a frame of raw blocks: magic number, a header with nothing but
// a window of 128 KiB (exponent 7), and blocks of a 3-byte header each, of which
// the lowest bit marks the last.
func writeRaw(w io.Writer, p []byte) error {
	if _, err := w.Write([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3}); err != nil {
		return err
	}
	for {
		n := min(len(p), rawBlock)
		head := uint32(n) << 3
		if n == len(p) {
			head |= 1
		}
		if _, err := w.Write(binary.LittleEndian.AppendUint32(nil, head)[:3]); err != nil {
			return err
		}
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
}

// compresses tries a little of p, and says whether compression at least halves
// it, see [cut.pays].
func (w *worker) compresses(p []byte) bool {
	const sample, worth = 4 << 10, 16 << 10
	if len(p) < worth {
		return true
	}
	in := append(w.sample[:0], p[len(p)/3:][:sample]...)
	in = append(in, p[len(p)*2/3:][:sample]...)
	w.sample = in
	w.tried = w.zstd.EncodeAll(in, w.tried[:0])
	return len(w.tried) < len(in)/2
}
