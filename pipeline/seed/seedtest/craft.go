package seedtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
)

// Craft stores seeds that say anything, for tests of what reads them.
type Craft struct {
	T      testing.TB
	Layout *oci.Layout
}

// NewCraft makes an empty layout at dir.
func NewCraft(t testing.TB, dir string) Craft {
	t.Helper()
	l, err := oci.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	return Craft{T: t, Layout: l}
}

// Put stores a blob.
func (c Craft) Put(data []byte) oci.Digest {
	c.T.Helper()
	d, err := c.Layout.Put(data)
	if err != nil {
		c.T.Fatal(err)
	}
	return d
}

// Pack stores data compressed.
func (c Craft) Pack(data []byte) seed.Packed {
	c.T.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		c.T.Fatal(err)
	}
	defer enc.Close()
	z := enc.EncodeAll(data, nil)
	return seed.Packed{Digest: c.Put(z), Size: int64(len(z)), Raw: int64(len(data))}
}

// Part stores data as a part that is not compressed.
func (c Craft) Part(data []byte) seed.Part {
	return seed.Part{Digest: c.Put(data), Size: int64(len(data)), Raw: int64(len(data))}
}

// Seed stores a seed with this listing and these units, names it "data" in the
// index, and returns its descriptor. edit may change the config; it may be nil.
func (c Craft) Seed(listing string, units []seed.Unit, edit func(*seed.Config)) oci.Descriptor {
	c.T.Helper()
	var lines bytes.Buffer
	for _, u := range units {
		text, err := json.Marshal(u)
		if err != nil {
			c.T.Fatal(err)
		}
		lines.Write(append(text, '\n'))
	}
	sum := sha256.Sum256([]byte(listing))
	config := seed.Config{
		Version: seed.Version, Volume: "data", Tree: hex.EncodeToString(sum[:]), Units: int64(len(units)),
		Listing: c.Pack([]byte(listing)), Map: c.Pack(lines.Bytes()),
	}
	if edit != nil {
		edit(&config)
	}
	cd := c.JSON(seed.MediaConfig, config)
	m := oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaManifest, ArtifactType: seed.ArtifactType, Config: cd, Layers: []oci.Descriptor{
		{MediaType: seed.MediaListing, Digest: config.Listing.Digest, Size: config.Listing.Size},
		{MediaType: seed.MediaMap, Digest: config.Map.Digest, Size: config.Map.Size},
	}}
	d := c.JSON(oci.MediaManifest, m)
	d.Annotations = map[string]string{oci.RefName: "data"}
	if err := c.Layout.SetIndex([]oci.Descriptor{d}); err != nil {
		c.T.Fatal(err)
	}
	return d
}

// JSON stores a document.
func (c Craft) JSON(media string, v any) oci.Descriptor {
	c.T.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		c.T.Fatal(err)
	}
	return oci.Descriptor{MediaType: media, Digest: c.Put(data), Size: int64(len(data))}
}
