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
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
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
	repo, err := r.Repository(i.Name)
	if err != nil {
		return nil, err
	}
	return repo.Manifest(ctx, i.Digest)
}

// Blob streams a blob of an image's repository, as [Repository.Open] does. The
// caller closes it, and verifies its digest.
func (r *Registry) Blob(ctx context.Context, image, digest string) (io.ReadCloser, error) {
	repo, err := r.Repository(image)
	if err != nil {
		return nil, err
	}
	return repo.Open(ctx, digest)
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
