package seed

import (
	"context"
	"io"

	"github.com/statelift/statelift/pipeline/oci"
)

// Stream is a new blob that is compressed while it is written, as the listing of
// a seed is.
type Stream struct{ z *zblob }

// NewStream begins a blob. The caller commits or aborts it.
func NewStream(l *oci.Layout) (*Stream, error) {
	z, err := newZBlob(l)
	if err != nil {
		return nil, err
	}
	return &Stream{z}, nil
}

// Write adds to the content.
func (s *Stream) Write(p []byte) (int, error) { return s.z.Write(p) }

// Commit ends the blob.
func (s *Stream) Commit() (Packed, error) { return s.z.commit() }

// Abort drops what was not committed.
func (s *Stream) Abort() { s.z.blob.Abort() }

// Open opens the content of a blob of zstd. Its reader ends with io.EOF only
// when digest and length were right; the caller closes it.
func (p Packed) Open(ctx context.Context, blobs oci.Blobs) (io.ReadCloser, error) {
	return unpack(ctx, blobs, p)
}
