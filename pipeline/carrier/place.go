package carrier

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/store"
)

// The kinds of places.
const (
	KindRegistry = "registry"
	KindBucket   = "bucket"
	KindDir      = "dir"
)

// Place is where seeds are.
type Place struct {
	Kind string
	// At is, by kind, HOST[:PORT][/PREFIX]/seeds, after http:// for plain http;
	// s3://BUCKET[/PREFIX][?endpoint=URL&region=REGION]; a path.
	At string
}

// String is the place as ParsePlace reads it.
func (p Place) String() string {
	if p.Kind == KindBucket {
		return p.At
	}
	return p.Kind + ":" + p.At
}

// Seeds is the name of the repository and of the folder that seeds are in.
const Seeds = "seeds"

// InRegistry is the place for seeds in a registry that was given with --registry.
func InRegistry(base string) Place {
	return Place{Kind: KindRegistry, At: strings.TrimSuffix(base, "/") + "/" + Seeds}
}

// InBucket is the place for seeds in a bucket that was given with --store.
func InBucket(spec string) (Place, error) {
	s, err := store.ParseSpec(spec)
	if err != nil {
		return Place{}, err
	}
	if s.Dir != "" {
		return Place{}, fmt.Errorf("%s is no bucket: a cluster cannot read it", spec)
	}
	return Place{Kind: KindBucket, At: s.String()}, nil
}

// ParsePlace reads a place:
//
//	registry:[http://]HOST[:PORT][/PREFIX]/NAME
//	s3://BUCKET[/PREFIX][?endpoint=URL&region=REGION]
//	dir:PATH
//
// Credentials are never part of it, and its errors repeat none.
func ParsePlace(text string) (Place, error) {
	kind, at, ok := strings.Cut(text, ":")
	switch {
	case ok && kind == "s3":
		return InBucket(text)
	case ok && kind == KindDir && at != "" && !strings.ContainsRune(at, 0):
		return Place{Kind: KindDir, At: filepath.Clean(at)}, nil
	case ok && kind == KindRegistry:
		base, name, err := splitRepository(at)
		if err != nil {
			return Place{}, err
		}
		r, err := registry.Open(base, registry.Options{Environment: func(string) string { return "" }})
		if err != nil {
			return Place{}, err
		}
		repo, err := r.Repository(name)
		if err != nil {
			return Place{}, err
		}
		return Place{Kind: KindRegistry, At: repo.String()}, nil
	}
	return Place{}, errors.New("seeds are at registry:HOST/PREFIX/seeds, s3://BUCKET/PREFIX?endpoint=URL or dir:PATH")
}

// splitRepository takes the name off the end.
func splitRepository(at string) (base, name string, err error) {
	i := strings.LastIndexByte(at, '/')
	if i < 1 || at[i-1] == '/' {
		return "", "", errors.New("a registry's repository is HOST[:PORT]/PREFIX/NAME")
	}
	return at[:i], at[i+1:], nil
}

// ParseSeed reads a place and the digest of a seed there: PLACE@sha256:HEX.
func ParseSeed(text string) (Place, oci.Digest, error) {
	i := strings.LastIndexByte(text, '@')
	if i < 0 {
		return Place{}, "", errors.New("a seed is PLACE@sha256:HEX: the digest is missing")
	}
	d := oci.Digest(text[i+1:])
	if _, err := d.Hex(); err != nil {
		return Place{}, "", errors.New("a seed is PLACE@sha256:HEX: what follows the @ is no digest")
	}
	p, err := ParsePlace(text[:i])
	return p, d, err
}
