package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// block is how much is read between two looks at the context.
const block = 1 << 20

// copyContext is io.Copy that stops when ctx ends.
func copyContext(ctx context.Context, w io.Writer, r io.Reader, buf []byte) (int64, error) {
	var n int64
	for {
		if err := context.Cause(ctx); err != nil {
			return n, err
		}
		m, err := r.Read(buf)
		if m > 0 {
			if _, werr := w.Write(buf[:m]); werr != nil {
				return n, werr
			}
			n += int64(m)
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// sumSection is the SHA-256 of size bytes of r from off on. Each block goes to
// the others as well. A source that ends before is [ErrMismatch].
func sumSection(ctx context.Context, r io.ReaderAt, off, size int64, others ...io.Writer) ([]byte, error) {
	h := sha256.New()
	w := io.MultiWriter(append([]io.Writer{h}, others...)...)
	n, err := copyContext(ctx, w, io.NewSectionReader(r, off, size), make([]byte, min(block, size+1)))
	if err != nil {
		return nil, err
	}
	if n != size {
		return nil, fmt.Errorf("the source ends after %d bytes: %w", off+n, ErrMismatch)
	}
	return h.Sum(nil), nil
}

// mismatch is [ErrMismatch] with both digests.
func mismatch(want string, got []byte) error {
	return fmt.Errorf("SHA-256 %s, not %s: %w", hex.EncodeToString(got), want, ErrMismatch)
}

func sumStream(ctx context.Context, r io.Reader) ([]byte, error) {
	h := sha256.New()
	_, err := copyContext(ctx, h, r, make([]byte, block))
	return h.Sum(nil), err
}
