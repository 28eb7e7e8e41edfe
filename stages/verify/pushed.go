package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/registry"
)

// pushed reads all images back from the registry, when they were pushed.
func (r *run) pushed(ctx context.Context) error {
	if r.made.Images.Registry == "" {
		return nil
	}
	reg, err := registry.Open(r.made.Images.Registry, r.options.Talk)
	if err != nil {
		return err
	}
	p := pushed{run: r, registry: reg, faults: map[string]error{}}
	if err := p.blobs(ctx); err != nil {
		return err
	}
	for _, i := range r.made.Images.Images {
		err := p.image(ctx, i)
		if err == nil {
			err = p.tagged(ctx, i)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.check(anImage, i.Ref, err, "manifest, config and %d layers read back", len(i.Layers))
	}
	return nil
}

type pushed struct {
	*run
	registry *registry.Registry
	faults   map[string]error // by digest of a layer
}

// blobs reads every layer once, from the repository of the first image that has
// it.
func (p *pushed) blobs(ctx context.Context) error {
	type blob struct {
		handoff.ImageLayer
		image string
		fault error
	}
	var all []*blob
	var total int64
	seen := map[string]bool{}
	for _, i := range p.made.Images.Images {
		for _, l := range i.Layers {
			if !seen[l.Digest] {
				seen[l.Digest] = true
				all = append(all, &blob{ImageLayer: l, image: i.Name})
				total += l.Size
			}
		}
	}
	p.Progress.Begin("verify registry", "bytes", total)
	defer p.Progress.End()
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * p.workers)
	for _, b := range all {
		group.Go(func() error {
			b.fault = p.blob(gctx, b.image, b.Digest, b.Size)
			p.Progress.Add(b.Size)
			return gctx.Err()
		})
	}
	err := group.Wait()
	for _, b := range all {
		p.faults[b.Digest] = b.fault
	}
	return err
}

// blob reads one blob and compares digest and size.
func (p *pushed) blob(ctx context.Context, image, digest string, size int64) error {
	rc, err := p.registry.Blob(ctx, image, digest)
	if err != nil {
		return err
	}
	defer rc.Close()
	h := sha256.New()
	n, err := io.Copy(h, rc)
	if err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest || n != size {
		return fmt.Errorf("blob %s with %d bytes is %s with %d", digest, size, got, n)
	}
	return nil
}

// tagged asks whether the user's tag names the image.
func (p *pushed) tagged(ctx context.Context, i handoff.Image) error {
	has, err := p.registry.Has(ctx, registry.Image{Name: i.Name, Digest: i.Digest, Tag: p.made.Images.Tag})
	if err == nil && !has {
		err = fmt.Errorf("the tag %s names another image", p.made.Images.Tag)
	}
	return err
}

func (p *pushed) image(ctx context.Context, i handoff.Image) error {
	raw, err := p.registry.Manifest(ctx, registry.Image{Name: i.Name, Digest: i.Digest})
	if err != nil {
		return err
	}
	manifest, err := parseManifest(raw, i)
	if err != nil {
		return err
	}
	faults := []error{p.blob(ctx, i.Name, manifest.Config.Digest.String(), manifest.Config.Size)}
	for _, l := range i.Layers {
		faults = append(faults, p.faults[l.Digest])
	}
	return errors.Join(faults...)
}
