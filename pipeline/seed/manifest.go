package seed

import (
	"fmt"

	"github.com/statelift/statelift/pipeline/oci"
)

// finish stores listing, map, config and manifests.
func (b *builder) finish(volume string, taken []string) (Built, error) {
	totals, err := b.lines.Close()
	if err != nil {
		return Built{}, err
	}
	if totals.Entries == 0 {
		return Built{}, fmt.Errorf("no entry at all: not even %s itself", b.root)
	}
	c := Config{
		Version: Version, Volume: volume, Tree: totals.Digest, Taken: taken,
		Entries: totals.Entries, Files: totals.Files, Bytes: totals.Bytes, Data: b.data, Units: b.units,
	}
	if c.Listing, err = b.listing.commit(); err != nil {
		return Built{}, err
	}
	if c.Map, err = b.index.commit(); err != nil {
		return Built{}, err
	}
	out := Built{Config: c, Blobs: 2 + len(b.blobs), Problems: b.problems, ProblemCount: b.problemCount}
	out.Stored = c.Listing.Size + c.Map.Size
	for _, d := range b.blobs {
		out.Stored += d.Size
	}
	if out.Manifest, err = b.manifests(c); err != nil {
		return Built{}, err
	}
	out.Manifest.Annotations = map[string]string{oci.RefName: volume}
	return out, nil
}

// manifests stores the config and the manifest, or several and an index of them.
func (b *builder) manifests(c Config) (oci.Descriptor, error) {
	config, err := b.put(MediaConfig, c)
	if err != nil {
		return oci.Descriptor{}, err
	}
	layers := append([]oci.Descriptor{
		{MediaType: MediaListing, Digest: c.Listing.Digest, Size: c.Listing.Size},
		{MediaType: MediaMap, Digest: c.Map.Digest, Size: c.Map.Size},
	}, b.blobs...)
	var pages []oci.Descriptor
	for artifact := ArtifactType; len(pages) == 0 || len(layers) > 0; artifact = PageType {
		n := min(len(layers), b.limits.PageBlobs)
		page, err := b.put(oci.MediaManifest, oci.Manifest{
			SchemaVersion: 2, MediaType: oci.MediaManifest, ArtifactType: artifact, Config: config, Layers: layers[:n],
		})
		if err != nil {
			return oci.Descriptor{}, err
		}
		pages = append(pages, page)
		layers = layers[n:]
	}
	if len(pages) == 1 {
		return pages[0], nil
	}
	return b.put(oci.MediaIndex, oci.Index{SchemaVersion: 2, MediaType: oci.MediaIndex, Manifests: pages})
}

// put stores a document. Its descriptor has no artifactType, which tools of
// before OCI 1.1 lose when they copy an index.
func (b *builder) put(media string, v any) (oci.Descriptor, error) {
	data, err := oci.Marshal(v)
	if err != nil {
		return oci.Descriptor{}, err
	}
	d, err := b.layout.Put(data)
	return oci.Descriptor{MediaType: media, Digest: d, Size: int64(len(data))}, err
}
