package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
)

// download reads an object and goes on where it was when the connection breaks.
type download struct {
	ctx    context.Context
	s      *S3
	name   string
	info   minio.ObjectInfo
	body   io.ReadCloser
	off    int64
	faults int
	sound  int64 // bytes since the last fault
}

// forgiven is how much has to arrive before earlier faults are forgotten.
const forgiven = 8 << 20

// open asks for the object from off on. An object that is another one by now is
// not what the reader began with.
func (d *download) open() error {
	// Without Checksum: the library would verify some kinds of checksums itself
	// and fail at the end, where the caller has the better word.
	var opts minio.GetObjectOptions
	if d.off > 0 {
		if err := errors.Join(opts.SetRange(d.off, 0), opts.SetMatchETag(d.info.ETag)); err != nil {
			return err
		}
	}
	body, info, _, err := d.s.core.GetObject(d.ctx, d.s.spec.Bucket, d.s.key(d.name), opts)
	if err != nil {
		return err
	}
	if d.off == 0 {
		d.info = info
	}
	d.body = body
	return nil
}

// Read implements [io.Reader].
func (d *download) Read(p []byte) (int, error) {
	for {
		n, err := d.body.Read(p)
		d.off += int64(n)
		d.sound += int64(n)
		if d.sound > forgiven {
			d.faults = 0
		}
		if errors.Is(err, io.EOF) && d.off < d.info.Size {
			err = io.ErrUnexpectedEOF
		}
		switch {
		case n > 0:
			// The fault, if any, comes back with the next read.
			return n, nil
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			return 0, io.EOF
		}
		if err := d.again(err); err != nil {
			return 0, d.s.fail("read", d.name, fmt.Errorf("after %d bytes: %w", d.off, err))
		}
	}
}

func (d *download) again(err error) error {
	d.body.Close()
	d.sound = 0
	if d.faults++; d.faults >= d.s.o.Attempts || !transient(plain(err)) {
		return plain(err)
	}
	if err := d.s.pause(d.ctx, d.faults); err != nil {
		return err
	}
	return d.s.retry(d.ctx, d.open)
}

// Close implements [io.Closer].
func (d *download) Close() error { return d.body.Close() }
