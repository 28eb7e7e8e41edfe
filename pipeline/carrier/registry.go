package carrier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/oci"
)

// inRegistry is a repository with the seeds.
type inRegistry struct {
	repo *registry.Repository
}

func openRegistry(at string, o Options) (*inRegistry, error) {
	base, name, err := splitRepository(at)
	if err != nil {
		return nil, err
	}
	r, err := registry.Open(base, o.registry())
	if err != nil {
		return nil, err
	}
	repo, err := r.Repository(name)
	if err != nil {
		return nil, err
	}
	return &inRegistry{repo: repo}, nil
}

func (c *inRegistry) String() string { return Place{KindRegistry, c.repo.String()}.String() }

func (c *inRegistry) Close() error { return nil }

// SizeOf looks among the blobs, then among the manifests: a registry keeps them
// apart, and a digest does not tell which it is of.
func (c *inRegistry) SizeOf(ctx context.Context, d oci.Digest) (int64, error) {
	if _, err := d.Hex(); err != nil {
		return 0, err
	}
	size, err := c.repo.SizeOf(ctx, string(d))
	if errors.Is(err, fs.ErrNotExist) {
		size, err = c.repo.ManifestSize(ctx, string(d))
	}
	return size, err
}

// Has implements oci.Blobs.
func (c *inRegistry) Has(ctx context.Context, d oci.Digest, size int64) (bool, error) {
	return has(ctx, c, d, size)
}

func has(ctx context.Context, r Reader, d oci.Digest, size int64) (bool, error) {
	got, err := r.SizeOf(ctx, d)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && got == size, err
}

// Open implements oci.Blobs.
func (c *inRegistry) Open(ctx context.Context, d oci.Digest, size int64) (io.ReadCloser, error) {
	if _, err := d.Hex(); err != nil {
		return nil, err
	}
	in, err := c.repo.Open(ctx, string(d))
	if errors.Is(err, fs.ErrNotExist) && size <= oci.MaxManifest {
		data, merr := c.repo.Manifest(ctx, string(d))
		if merr == nil {
			in, err = io.NopCloser(bytes.NewReader(data)), nil
		} else if !errors.Is(merr, fs.ErrNotExist) {
			err = merr
		}
	}
	if err != nil {
		return nil, err
	}
	return verify(ctx, in, c.String(), d, size), nil
}

// Put implements Carrier.
func (c *inRegistry) Put(ctx context.Context, d oci.Descriptor, content io.ReaderAt, sent func(int64)) error {
	if _, err := d.Digest.Hex(); err != nil {
		return err
	}
	if !isManifest(d.MediaType) {
		return c.repo.Upload(ctx, registry.Source{Digest: string(d.Digest), Size: d.Size, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(content, 0, d.Size)), nil
		}}, sent)
	}
	data, err := manifest(d, content)
	if err != nil {
		return err
	}
	// A manifest without a tag is garbage to many registries. (Pages of an index
	// would be kept by it; their tags do no harm.)
	if err := c.repo.PutManifest(ctx, string(d.Digest), d.MediaType, data, registry.Tag(string(d.Digest))); err != nil {
		return err
	}
	sent(d.Size)
	return nil
}

// manifest reads a manifest whole, and makes sure that it is the one.
func manifest(d oci.Descriptor, content io.ReaderAt) ([]byte, error) {
	if d.Size < 0 || d.Size > oci.MaxManifest {
		return nil, fmt.Errorf("manifest %s of %d bytes: registries take %d at most", d.Digest, d.Size, oci.MaxManifest)
	}
	data, err := io.ReadAll(io.NewSectionReader(content, 0, d.Size))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if got := oci.Digest("sha256:" + oci.Sum(data)); got != d.Digest {
		return nil, &oci.Damaged{Digest: d.Digest, How: "its content has " + string(got)}
	}
	return data, nil
}

// Name implements Carrier.
func (c *inRegistry) Name(ctx context.Context, manifests []oci.Descriptor) error {
	for _, m := range manifests {
		data, err := c.repo.Manifest(ctx, string(m.Digest))
		if err != nil {
			return err
		}
		if err := c.repo.PutManifest(ctx, string(m.Digest), m.MediaType, data, m.Annotations[oci.RefName]); err != nil {
			return fmt.Errorf("seed of volume %s: %w", m.Annotations[oci.RefName], err)
		}
	}
	return nil
}
