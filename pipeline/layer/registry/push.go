package registry

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"
)

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
	mu    sync.Mutex
	left  int64
	fresh bool // not read yet
	tell  func(int64)
}

func (l *toldLayer) Compressed() (io.ReadCloser, error) {
	l.mu.Lock()
	l.fresh = false
	l.mu.Unlock()
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

// none reports whether nothing was read of the layer: the registry wanted
// nothing, since it has it.
func (l *toldLayer) none() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh
}

func (l *toldLayer) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(l.left)
	l.left = 0
}
