package carrier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/store"
)

// inBucket is a bucket with the seeds.
type inBucket struct {
	store store.Store
}

func openBucket(ctx context.Context, spec string, o Options) (*inBucket, error) {
	s, err := store.Open(ctx, spec, o.store())
	if err != nil {
		return nil, err
	}
	return &inBucket{store: s}, nil
}

func (c *inBucket) String() string { return c.store.String() }

func (c *inBucket) Close() error { return c.store.Close() }

// object is the name of a blob's object.
func object(d oci.Digest) (name, digits string, err error) {
	digits, err = d.Hex()
	return Seeds + "/blobs/sha256/" + digits, digits, err
}

// SizeOf implements Reader. The store compares the checksum that it keeps.
func (c *inBucket) SizeOf(ctx context.Context, d oci.Digest) (int64, error) {
	name, digits, err := object(d)
	if err != nil {
		return 0, err
	}
	o, err := c.store.Stat(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	case err != nil:
		return 0, err
	case o.SHA256 != digits:
		return 0, fmt.Errorf("store %s: %s: it has the SHA-256 %q: %w", c.store, name, o.SHA256, store.ErrMismatch)
	}
	return o.Size, nil
}

// Has implements oci.Blobs.
func (c *inBucket) Has(ctx context.Context, d oci.Digest, size int64) (bool, error) {
	ok, err := has(ctx, c, d, size)
	if errors.Is(err, store.ErrMismatch) {
		return false, nil // it is replaced when it is put again
	}
	return ok, err
}

// Open implements oci.Blobs.
func (c *inBucket) Open(ctx context.Context, d oci.Digest, size int64) (io.ReadCloser, error) {
	name, _, err := object(d)
	if err != nil {
		return nil, err
	}
	in, _, err := c.store.Open(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	case errors.Is(err, store.ErrMismatch):
		return nil, &oci.Damaged{Digest: d, How: err.Error()}
	case err != nil:
		return nil, err
	}
	return verify(ctx, in, c.String(), d, size), nil
}

// Put implements Carrier.
func (c *inBucket) Put(ctx context.Context, d oci.Descriptor, content io.ReaderAt, sent func(int64)) error {
	name, digits, err := object(d.Digest)
	if err != nil {
		return err
	}
	if _, err := c.store.Put(ctx, name, content, store.Object{Size: d.Size, SHA256: digits}); err != nil {
		if errors.Is(err, store.ErrMismatch) {
			return fmt.Errorf("%w: %w", err, &oci.Damaged{Digest: d.Digest, How: "its content is another one"})
		}
		return err
	}
	sent(d.Size)
	return nil
}

// Name implements Carrier: it completes the layout.
func (c *inBucket) Name(ctx context.Context, manifests []oci.Descriptor) error {
	index, err := oci.Marshal(oci.Index{SchemaVersion: 2, MediaType: oci.MediaIndex, Manifests: append([]oci.Descriptor{}, manifests...)})
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
	} {
		o := store.Object{Size: int64(len(f.data)), SHA256: oci.Sum(f.data)}
		if _, err := c.store.Put(ctx, Seeds+"/"+f.name, bytes.NewReader(f.data), o); err != nil {
			return err
		}
	}
	return nil
}
