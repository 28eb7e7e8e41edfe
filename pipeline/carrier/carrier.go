package carrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/store"
)

// Reader is where a seed is read from. It is safe for concurrent use.
type Reader interface {
	oci.Blobs

	// SizeOf asks the far side for the size of a blob or manifest. The error is
	// fs.ErrNotExist when it has none.
	SizeOf(ctx context.Context, d oci.Digest) (int64, error)

	// String is the place as ParseSpec reads it, without a digest.
	String() string

	// Close lets go of connections.
	Close() error
}

// Carrier is a Reader that takes blobs as well.
type Carrier interface {
	Reader

	// Put brings a blob there, unless it is there with this size. It reads the
	// content from start to end, some of it perhaps twice, and returns only
	// after the far side confirmed digest and size. A manifest (by its media
	// type) is put after everything that it names. sent is told of bytes that
	// are there, each once.
	Put(ctx context.Context, d oci.Descriptor, content io.ReaderAt, sent func(int64)) error

	// Name gives seeds that were put the names of their volumes
	// (the annotation [oci.RefName]), for public tools.
	Name(ctx context.Context, manifests []oci.Descriptor) error
}

// Options are how far sides are talked to; the zero value is good for most.
type Options struct {
	Stall       time.Duration       // without a byte, after which a request has failed; 0 is the default of each kind
	Attempts    int                 // of one request before its fault is final; 0 is the default of each kind
	Backoff     time.Duration       // before the second attempt; 0 is the default of each kind
	Environment func(string) string // where credentials are; nil is os.Getenv
}

func (o Options) registry() registry.Options {
	return registry.Options{Stall: o.Stall, Attempts: o.Attempts, Backoff: o.Backoff, Environment: o.Environment}
}

// wholeBlobs is above the size of the blobs of a seed: each is one object that
// was sent with one request, and the checksum that the store keeps is its digest.
const wholeBlobs = 64 << 20

func (o Options) store() store.Options {
	return store.Options{Stall: o.Stall, Attempts: o.Attempts, Backoff: o.Backoff, Environment: o.Environment, PartSize: wholeBlobs}
}

// Open opens a place to read from. The caller closes it.
func Open(ctx context.Context, p Place, o Options) (Reader, error) {
	switch p.Kind {
	case KindRegistry, KindBucket:
		return OpenCarrier(ctx, p, o)
	case KindDir:
		return openDir(p.At)
	}
	return nil, fmt.Errorf("%q is no kind of carrier", p.Kind)
}

// OpenCarrier opens a place to bring seeds to. The caller closes it.
func OpenCarrier(ctx context.Context, p Place, o Options) (Carrier, error) {
	switch p.Kind {
	case KindRegistry:
		return openRegistry(p.At, o)
	case KindBucket:
		return openBucket(ctx, p.At, o)
	}
	return nil, fmt.Errorf("%s: seeds are brought to a registry or a bucket only", p)
}

// OpenSeed opens the seed whose manifest has the digest.
func OpenSeed(ctx context.Context, r Reader, d oci.Digest) (*seed.Seed, error) {
	desc, err := Describe(ctx, r, d)
	if err != nil {
		return nil, fmt.Errorf("seed %s in %s: %w", d, r, err)
	}
	s, err := seed.Open(ctx, r, desc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	return s, nil
}

// Describe completes the digest of a manifest: an image manifest, or an index.
func Describe(ctx context.Context, r Reader, d oci.Digest) (oci.Descriptor, error) {
	if _, err := d.Hex(); err != nil {
		return oci.Descriptor{}, err
	}
	size, err := r.SizeOf(ctx, d)
	if err != nil {
		return oci.Descriptor{}, err
	}
	desc := oci.Descriptor{Digest: d, Size: size}
	data, err := oci.ReadAll(ctx, r, desc, oci.MaxManifest)
	if err != nil {
		return oci.Descriptor{}, err
	}
	var says struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(data, &says); err != nil || !isManifest(says.MediaType) {
		return oci.Descriptor{}, errors.Join(fmt.Errorf("it is no manifest, but %q: %w", says.MediaType, seed.ErrFormat), err)
	}
	desc.MediaType = says.MediaType
	return desc, nil
}

func isManifest(media string) bool { return media == oci.MediaManifest || media == oci.MediaIndex }
