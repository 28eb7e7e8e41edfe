package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
)

// ErrFormat is wrapped when a delta is not as the format wants.
var ErrFormat = errors.New("not a delta of this format")

// Delta is an open delta.
type Delta struct {
	Manifest oci.Descriptor // of its index
	Config   Config

	blobs    oci.Blobs
	own      []oci.Descriptor // index, manifest, config
	layers   []oci.Descriptor // changes, parts of patches
	contents []*seed.Seed     // whole files
}

// Open reads the manifests of a delta. Nothing that they say is trusted: sizes
// are bounds, not promises.
func Open(ctx context.Context, blobs oci.Blobs, index oci.Descriptor) (*Delta, error) {
	d := &Delta{Manifest: index, blobs: blobs}
	if err := d.open(ctx); err != nil {
		return nil, fmt.Errorf("delta %s: %w", index.Digest, err)
	}
	return d, nil
}

func (d *Delta) open(ctx context.Context) error {
	var index oci.Index
	if err := d.read(ctx, d.Manifest, &index); err != nil {
		return err
	}
	if index.MediaType != oci.MediaIndex || len(index.Manifests) == 0 || len(index.Manifests) > 1+attempts {
		return fmt.Errorf("an index of %d manifests: %w", len(index.Manifests), ErrFormat)
	}
	var m oci.Manifest
	if err := d.read(ctx, index.Manifests[0], &m); err != nil {
		return err
	}
	if m.ArtifactType != ArtifactType {
		return fmt.Errorf("manifest of type %q: %w", m.ArtifactType, ErrFormat)
	}
	if err := d.read(ctx, m.Config, &d.Config); err != nil {
		return err
	}
	if d.Config.Version != Version {
		return fmt.Errorf("version %d: %w", d.Config.Version, ErrFormat)
	}
	if len(m.Layers) == 0 || m.Layers[0].Digest != d.Config.Changes.Digest || d.Config.Changes.Raw < 0 {
		return fmt.Errorf("the first layer is not the changes: %w", ErrFormat)
	}
	d.own = []oci.Descriptor{d.Manifest, index.Manifests[0], m.Config}
	d.layers = m.Layers
	for _, c := range index.Manifests[1:] {
		s, err := seed.Open(ctx, d.blobs, c)
		if err != nil {
			return err
		}
		d.contents = append(d.contents, s)
	}
	return nil
}

func (d *Delta) read(ctx context.Context, desc oci.Descriptor, v any) error {
	data, err := oci.ReadAll(ctx, d.blobs, desc, oci.MaxManifest)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	return nil
}

// Blobs are all blobs of the delta: each manifest before those that it names,
// then everything else. One may be among them twice.
func (d *Delta) Blobs() []oci.Descriptor {
	all := append([]oci.Descriptor{}, d.own...)
	for _, s := range d.contents {
		all = append(all, s.Blobs()...)
	}
	return append(all, d.layers...)
}
