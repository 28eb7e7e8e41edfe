package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Repository is one repository of a registry: blobs and manifests by digest. It
// is safe for concurrent use.
type Repository struct {
	registry *Registry
	name     name.Repository
	pusher   *remote.Pusher

	mu     sync.Mutex
	client *http.Client // for reading blobs; nil until the first use
}

// Repository is the repository of that name below the registry's prefix. It asks
// nothing yet.
func (r *Registry) Repository(of string) (*Repository, error) {
	repo, err := name.NewRepository(r.base+"/"+of, r.names...)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", r.base, err)
	}
	pusher, err := remote.NewPusher(r.options...)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", r.base, err)
	}
	return &Repository{registry: r, name: repo, pusher: pusher}, nil
}

// String is HOST[:PORT]/NAME, after http:// when the registry was given so.
func (p *Repository) String() string {
	if p.registry.plain {
		return plainScheme + p.name.String()
	}
	return p.name.String()
}

// SizeOf asks for the size of a blob (HEAD, distribution-spec "Checking if
// content exists in the registry"). The error is fs.ErrNotExist when there is
// none.
func (p *Repository) SizeOf(ctx context.Context, digest string) (int64, error) {
	size, err := p.sizeOf(ctx, digest)
	return size, p.registry.explain(err)
}

func (p *Repository) sizeOf(ctx context.Context, digest string) (int64, error) {
	resp, err := p.blob(ctx, http.MethodHead, digest, 0)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	if says := resp.Header.Get("Docker-Content-Digest"); says != "" && says != digest {
		return 0, fmt.Errorf("blob %s: the registry answers for %s", digest, says)
	}
	if resp.ContentLength < 0 {
		return 0, fmt.Errorf("blob %s: the registry does not tell its size", digest)
	}
	return resp.ContentLength, nil
}

// ManifestSize is SizeOf for a manifest.
func (p *Repository) ManifestSize(ctx context.Context, digest string) (int64, error) {
	d, err := remote.Head(p.name.Digest(digest), p.registry.with(ctx)...)
	if err != nil {
		return 0, p.registry.explain(missing("manifest "+digest, err))
	}
	return d.Size, nil
}

// Manifest reads a manifest, whose digest is verified. The error is
// fs.ErrNotExist when there is none.
func (p *Repository) Manifest(ctx context.Context, digest string) ([]byte, error) {
	var d *remote.Descriptor
	var err error
	for round := 1; ; round++ {
		// The library repeats a request, and not one whose answer ends early.
		d, err = remote.Get(p.name.Digest(digest), p.registry.with(ctx)...)
		if err == nil || round == rounds || ctx.Err() != nil || !passes(err) {
			break
		}
	}
	if err != nil {
		return nil, p.registry.explain(missing("manifest "+digest, err))
	}
	return d.Manifest, nil
}

// missing turns the registry's "not found" into fs.ErrNotExist.
func missing(what string, err error) error {
	var te *transport.Error
	if errors.As(err, &te) && te.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s: %w", what, fs.ErrNotExist)
	}
	return err
}

// blob makes a request about a blob from the offset on. The caller closes the
// body.
func (p *Repository) blob(ctx context.Context, method, digest string, from int64) (*http.Response, error) {
	client, err := p.reader(ctx)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: p.name.Scheme(), Host: p.name.RegistryStr(), Path: "/v2/" + p.name.RepositoryStr() + "/blobs/" + digest}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := client.Do(req)
	if err != nil {
		// The URL may be a signed one that the registry redirected to.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("blob %s: %w", digest, err)
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		return nil, missing("blob "+digest, err)
	}
	return resp, nil
}

// reader is the client for blobs, after the handshake about authentication.
func (p *Repository) reader(ctx context.Context) (*http.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		return p.client, nil
	}
	auth, err := authn.Resolve(ctx, p.registry.keychain, p.name)
	if err != nil {
		return nil, err
	}
	t, err := transport.NewWithContext(ctx, p.name.Registry, auth, p.registry.patient(p.registry.rules), []string{p.name.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	p.client = &http.Client{Transport: t}
	return p.client, nil
}

// Source is the content of a blob to send. Open may be called several times.
type Source struct {
	Digest string
	Size   int64
	Open   func() (io.ReadCloser, error)
}

// rounds is how often a blob's upload, or the reading of a manifest, is begun
// again after the attempts of its requests: an upload takes four, each of which
// may be lost.
const rounds = 3

// Upload sends a blob unless it is there. sent is told of the bytes that the
// registry got or has, each once. It returns when the registry has confirmed
// digest and size; one that was there before is read back, since a registry
// confirms a digest without looking at what it keeps under it. (It may also keep,
// for another repository, damaged content of the same digest and size, and then
// takes what is sent without storing it: only who reads the blob sees that.)
func (p *Repository) Upload(ctx context.Context, s Source, sent func(int64)) error {
	return p.registry.explain(p.upload(ctx, s, sent))
}

func (p *Repository) upload(ctx context.Context, s Source, sent func(int64)) error {
	hash, err := v1.NewHash(s.Digest)
	if err != nil {
		return err
	}
	told := &toldLayer{Layer: sourceLayer{hash: hash, source: s}, left: s.Size, fresh: true, tell: sent}
	for round := 1; ; round++ {
		err = p.pusher.Upload(ctx, p.name, told)
		if err == nil || round == rounds || ctx.Err() != nil || !passes(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", s.Digest, err)
	}
	size, err := p.sizeOf(ctx, s.Digest)
	if err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	if size != s.Size {
		return p.damaged(s.Digest, fmt.Sprintf("%d bytes of it, not %d", size, s.Size))
	}
	if told.none() {
		if err := p.readBack(ctx, s.Digest); err != nil {
			return err
		}
	}
	told.rest()
	return nil
}

// readBack compares the content that the registry keeps with its digest.
func (p *Repository) readBack(ctx context.Context, digest string) error {
	in, err := p.Open(ctx, digest)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil {
		return fmt.Errorf("blob %s: read back: %w", digest, err)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != digest {
		return p.damaged(digest, "content with "+got+" under that name")
	}
	return nil
}

// damaged says what to do about a blob that sending again does not mend: a
// registry of the reference implementation keeps what it has, whatever
// repository it is sent to (distribution, registry/storage/blobwriter.go,
// moveBlob).
func (p *Repository) damaged(digest, has string) error {
	return fmt.Errorf("blob %s in %s: the registry has %s: it is damaged there, and the registry keeps it when it is sent again. "+
		"Have it deleted in the registry's storage (blobs/sha256/%s/%s/data), or use another registry or a bucket (--registry, --store), and run again",
		digest, p, has, digest[len("sha256:"):][:2], digest[len("sha256:"):])
}

// sourceLayer is a blob as the library wants one.
type sourceLayer struct {
	hash   v1.Hash
	source Source
}

func (l sourceLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l sourceLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l sourceLayer) Compressed() (io.ReadCloser, error)   { return l.source.Open() }
func (l sourceLayer) Uncompressed() (io.ReadCloser, error) { return l.source.Open() }
func (l sourceLayer) Size() (int64, error)                 { return l.source.Size, nil }
func (l sourceLayer) MediaType() (types.MediaType, error)  { return "application/octet-stream", nil }

// PutManifest stores a manifest by its digest and under the tags. It returns
// when the registry has confirmed the digest under each.
func (p *Repository) PutManifest(ctx context.Context, digest, mediaType string, data []byte, tags ...string) error {
	refs := []name.Reference{p.name.Digest(digest)}
	for _, tag := range tags {
		ref, err := name.NewTag(p.name.String()+":"+tag, p.registry.names...)
		if err != nil {
			return fmt.Errorf("tag %q: %w", tag, err)
		}
		refs = append(refs, ref)
	}
	for _, ref := range refs {
		has, err := p.registry.has(ctx, ref, digest)
		if err == nil && !has {
			err = p.pusher.Put(ctx, ref, document{data: data, mediaType: types.MediaType(mediaType)})
			if err == nil {
				has, err = p.registry.has(ctx, ref, digest)
			}
		}
		if err == nil && !has {
			err = fmt.Errorf("the registry does not show %s after it took it", ref.Identifier())
		}
		if err != nil {
			return p.registry.explain(err)
		}
	}
	return nil
}

// document is a manifest as it is.
type document struct {
	data      []byte
	mediaType types.MediaType
}

func (d document) RawManifest() ([]byte, error)        { return d.data, nil }
func (d document) MediaType() (types.MediaType, error) { return d.mediaType, nil }
