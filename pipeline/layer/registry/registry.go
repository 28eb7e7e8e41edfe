// Package registry takes images from an OCI image layout to a registry and
// reads them there (OCI distribution-spec). Credentials are those of the usual
// configuration file of docker, podman and skopeo; they are never in an error.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

// Options are how a registry is talked to; the zero value is good for most.
type Options struct {
	Stall    time.Duration // without a byte in either direction, after which a request has failed; 2 min
	Attempts int           // of one request or blob before its fault is final; 6
	Backoff  time.Duration // before the second attempt, doubled for each more; 500 ms
	Parallel int           // blobs sent at once; 4
	// Environment says what DOCKER_AUTH_CONFIG is; os.Getenv.
	Environment func(string) string `json:"-"`
}

// Registry is a place for images: a registry, or a part of one. It is safe for
// concurrent use.
type Registry struct {
	base     string
	names    []name.Option // with which references are made
	plain    bool          // http, as the user asked
	keychain authn.Keychain
	parallel int
	rules    http.RoundTripper // without retries
	backoff  remote.Backoff
	options  []remote.Option
}

// plainScheme before a host asks for plain http there.
const plainScheme = "http://"

// Open makes a Registry of what the user gave: HOST[:PORT][/PREFIX]. It asks
// nothing of it yet. Plain http is spoken to this machine only, and to a host
// that is given as http://HOST[:PORT][/PREFIX].
//
// Credentials are those of the document in the environment variable
// DOCKER_AUTH_CONFIG, else of the usual configuration files.
func Open(base string, o Options) (*Registry, error) {
	base, plain := strings.CutPrefix(strings.TrimSuffix(base, "/"), plainScheme)
	names := []name.Option{name.StrictValidation}
	if plain {
		names = append(names, name.Insecure)
	}
	host, _, _ := strings.Cut(base, "/")
	repo, err := name.NewRepository(base+"/x", names...)
	if err != nil || repo.RegistryStr() != host || strings.HasSuffix(host, ":") {
		if strings.ContainsAny(base, "@?") {
			// It may hold a password.
			return nil, errors.New("a registry is given as HOST[:PORT][/PREFIX]: credentials come from docker login or podman login")
		}
		return nil, fmt.Errorf("registry %q is not HOST[:PORT][/PREFIX]", base)
	}
	if o.Stall <= 0 {
		o.Stall = 2 * time.Minute
	}
	if o.Attempts <= 0 {
		o.Attempts = 6
	}
	if o.Backoff <= 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	if o.Environment == nil {
		o.Environment = os.Getenv
	}
	keychain, err := keychainOf(o.Environment)
	if err != nil {
		return nil, err
	}
	rules := &ruled{next: remote.DefaultTransport, stall: o.Stall}
	if plain {
		rules.plain = host
	}
	backoff := remote.Backoff{Duration: o.Backoff, Factor: 2, Jitter: 0.1, Steps: o.Attempts}
	return &Registry{base: base, names: names, plain: plain, keychain: keychain, parallel: o.Parallel, rules: rules, backoff: backoff, options: []remote.Option{
		remote.WithAuthFromKeychain(keychain),
		remote.WithTransport(rules),
		remote.WithJobs(o.Parallel),
		remote.WithUserAgent("statelift"),
		remote.WithRetryBackoff(backoff),
	}}, nil
}

// String is what Open was given.
func (r *Registry) String() string {
	if r.plain {
		return plainScheme + r.base
	}
	return r.base
}

// Ref is the reference of an image of the given name and manifest digest.
func (r *Registry) Ref(image, digest string) string { return r.base + "/" + image + "@" + digest }

func (r *Registry) ref(image, digest string) (name.Digest, error) {
	return name.NewDigest(r.Ref(image, digest), r.names...)
}

// MayPush fails when images of the name could not be pushed: the registry is
// not there, or refuses.
func (r *Registry) MayPush(ctx context.Context, image string) error {
	repo, err := name.NewRepository(r.base+"/"+image, r.names...)
	if err != nil {
		return fmt.Errorf("registry %s: %w", r.base, err)
	}
	return r.explain(remote.CheckPushPermission(repo.Tag("x"), r.keychain, r.patient(bound{ctx: ctx, next: r.rules})))
}

// Image is an image of a layout.
type Image struct {
	Name   string
	Digest string // of its manifest
	Tag    string // that it has beside the one of its digest; "" for none
}

// Push brings images of the layout directory to the registry. Blobs that are
// there already are not sent again, and a blob of several images is sent once.
// sent is told of bytes that the registry got or has, each once. It returns
// when the registry has confirmed every manifest by its digest.
func (r *Registry) Push(ctx context.Context, dir string, images []Image, sent func(int64)) error {
	return r.explain(r.push(ctx, dir, images, sent))
}

func (r *Registry) push(ctx context.Context, dir string, images []Image, sent func(int64)) error {
	pusher, err := remote.NewPusher(r.options...)
	if err != nil {
		return err
	}
	puller, err := remote.NewPuller(r.options...)
	if err != nil {
		return err
	}
	blobs, err := r.blobs(dir, images)
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.parallel)
	for _, b := range blobs {
		group.Go(func() error { return b.push(gctx, pusher, sent) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, i := range images {
		if err := r.manifest(ctx, dir, i, pusher, puller); err != nil {
			return fmt.Errorf("image %s: %w", i.Name, err)
		}
	}
	return nil
}

// manifest pushes config and manifest, and asks for what is there then.
func (r *Registry) manifest(ctx context.Context, dir string, i Image, pusher *remote.Pusher, puller *remote.Puller) error {
	hash, err := v1.NewHash(i.Digest)
	if err != nil {
		return err
	}
	img, err := layout.Path(dir).Image(hash)
	if err != nil {
		return err
	}
	ref, err := r.ref(i.Name, i.Digest)
	if err != nil {
		return err
	}
	// A manifest without a tag is garbage to many registries.
	for _, tag := range i.tags() {
		if err := pusher.Push(ctx, ref.Context().Tag(tag), img); err != nil {
			return err
		}
	}
	have, err := puller.Head(ctx, ref)
	if err != nil {
		return err
	}
	if have.Digest != hash {
		return fmt.Errorf("the registry has %s where %s was pushed", have.Digest, hash)
	}
	return nil
}

// Tag is the tag that every image gets: the first twelve digits of its digest.
func Tag(digest string) string { return strings.TrimPrefix(digest, "sha256:")[:12] }

func (i Image) tags() []string {
	if i.Tag == "" {
		return []string{Tag(i.Digest)}
	}
	return []string{Tag(i.Digest), i.Tag}
}

// blob is one layer and the repositories that are to have it.
type blob struct {
	layer v1.Layer
	size  int64
	repos []name.Repository
}

// blobs lists the layers of images, each once.
func (r *Registry) blobs(dir string, images []Image) ([]*blob, error) {
	var out []*blob
	seen := map[v1.Hash]*blob{}
	for _, i := range images {
		ref, err := r.ref(i.Name, i.Digest)
		if err != nil {
			return nil, err
		}
		hash, err := v1.NewHash(i.Digest)
		if err != nil {
			return nil, err
		}
		img, err := layout.Path(dir).Image(hash)
		if err != nil {
			return nil, err
		}
		layers, err := img.Layers()
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			digest, err := l.Digest()
			if err != nil {
				return nil, err
			}
			b := seen[digest]
			if b == nil {
				size, err := l.Size()
				if err != nil {
					return nil, err
				}
				b = &blob{layer: l, size: size}
				seen[digest] = b
				out = append(out, b)
			}
			b.repos = append(b.repos, ref.Context())
		}
	}
	return out, nil
}

// push sends the blob to the first repository, and has the registry link it
// into the others.
func (b *blob) push(ctx context.Context, pusher *remote.Pusher, sent func(int64)) error {
	told := &toldLayer{Layer: b.layer, left: b.size, tell: sent}
	if err := pusher.Upload(ctx, b.repos[0], told); err != nil {
		return err
	}
	told.rest()
	digest, err := b.layer.Digest()
	if err != nil {
		return err
	}
	for _, repo := range b.repos[1:] {
		linked := &remote.MountableLayer{Layer: b.layer, Reference: b.repos[0].Digest(digest.String())}
		if err := pusher.Upload(ctx, repo, linked); err != nil {
			return err
		}
	}
	return nil
}

// toldLayer tells what is read of a layer, once, whatever is sent twice.
type toldLayer struct {
	v1.Layer
	mu   sync.Mutex
	left int64
	tell func(int64)
}

func (l *toldLayer) Compressed() (io.ReadCloser, error) {
	rc, err := l.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(rc, l), rc}, nil
}

// Write counts what was read.
func (l *toldLayer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(int64(len(p)), l.left)
	l.left -= n
	l.tell(n)
	return len(p), nil
}

func (l *toldLayer) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(l.left)
	l.left = 0
}

// Has reports whether the registry has the image's manifest, and under its tag.
func (r *Registry) Has(ctx context.Context, i Image) (bool, error) {
	ref, err := r.ref(i.Name, i.Digest)
	if err != nil {
		return false, err
	}
	has, err := r.has(ctx, ref, i.Digest)
	if err == nil && has && i.Tag != "" {
		has, err = r.has(ctx, ref.Context().Tag(i.Tag), i.Digest)
	}
	return has, r.explain(err)
}

func (r *Registry) has(ctx context.Context, ref name.Reference, digest string) (bool, error) {
	have, err := remote.Head(ref, r.with(ctx)...)
	var te *transport.Error
	if errors.As(err, &te) && te.StatusCode == http.StatusNotFound {
		return false, nil
	}
	return err == nil && have.Digest.String() == digest, err
}

func (r *Registry) with(ctx context.Context) []remote.Option {
	return append(slices.Clone(r.options), remote.WithContext(ctx))
}

// Manifest reads the manifest of an image. Its digest is verified.
func (r *Registry) Manifest(ctx context.Context, i Image) ([]byte, error) {
	ref, err := r.ref(i.Name, i.Digest)
	if err != nil {
		return nil, err
	}
	d, err := remote.Get(ref, r.with(ctx)...)
	if err != nil {
		return nil, r.explain(err)
	}
	return d.Manifest, nil
}

// Blob streams a blob of an image's repository. The caller closes it, and
// verifies its digest.
func (r *Registry) Blob(ctx context.Context, image, digest string) (io.ReadCloser, error) {
	ref, err := r.ref(image, digest)
	if err != nil {
		return nil, err
	}
	l, err := remote.Layer(ref, r.with(ctx)...)
	if err != nil {
		return nil, r.explain(err)
	}
	rc, err := l.Compressed()
	return rc, r.explain(err)
}

// explain names the registry, and says what can be done.
func (r *Registry) explain(err error) error {
	var te *transport.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &te) && (te.StatusCode == http.StatusUnauthorized || te.StatusCode == http.StatusForbidden):
		host, _, _ := strings.Cut(r.base, "/")
		return fmt.Errorf("registry %s refuses access (%d): log in with `skopeo login %s`, or see who may push there: %w", r.base, te.StatusCode, host, err)
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return fmt.Errorf("registry %s speaks plain http; if nobody can listen on the way there, ask for that with %s%s: %w", r.base, plainScheme, r.base, err)
	}
	return fmt.Errorf("registry %s: %w", r.base, err)
}
