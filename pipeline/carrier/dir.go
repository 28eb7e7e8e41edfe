package carrier

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline/oci"
)

// inDir is a layout on this machine.
type inDir struct {
	layout *oci.Layout
}

func openDir(dir string) (*inDir, error) {
	l, err := oci.Open(dir)
	if err != nil {
		return nil, err
	}
	return &inDir{layout: l}, nil
}

func (c *inDir) String() string { return Place{KindDir, c.layout.String()}.String() }

func (c *inDir) Close() error { return nil }

// BlobFile is the file of a blob in the layout directory.
func BlobFile(layout string, d oci.Digest) (string, error) {
	digits, err := d.Hex()
	return filepath.Join(layout, "blobs", "sha256", digits), err
}

// SizeOf implements Reader.
func (c *inDir) SizeOf(_ context.Context, d oci.Digest) (int64, error) {
	name, err := BlobFile(c.layout.String(), d)
	if err != nil {
		return 0, err
	}
	fi, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// Has implements oci.Blobs.
func (c *inDir) Has(ctx context.Context, d oci.Digest, size int64) (bool, error) {
	return c.layout.Has(ctx, d, size)
}

// Open implements oci.Blobs.
func (c *inDir) Open(ctx context.Context, d oci.Digest, size int64) (io.ReadCloser, error) {
	return c.layout.Open(ctx, d, size)
}
