package seed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/tree"
)

// Seed is an open seed.
type Seed struct {
	Manifest oci.Descriptor
	Config   Config

	blobs  oci.Blobs
	layers []oci.Descriptor // of all pages
	pages  []oci.Descriptor // manifests, and the index if there is one
}

// ErrFormat is wrapped when a seed is not as the format wants.
var ErrFormat = errors.New("not a seed of this format")

// Find looks up the seed of a volume in a layout's index.json.
func Find(l *oci.Layout, volume string) (oci.Descriptor, error) {
	ix, err := l.Index()
	if err != nil {
		return oci.Descriptor{}, err
	}
	for _, d := range ix.Manifests {
		if d.Annotations[oci.RefName] == volume {
			return d, nil
		}
	}
	return oci.Descriptor{}, fmt.Errorf("%s has no seed of volume %s", l, volume)
}

// Open reads the manifests and the config of a seed, and compares the digests of
// listing and map. Nothing that they say is trusted beyond that: sizes are
// bounds, not promises.
func Open(ctx context.Context, blobs oci.Blobs, manifest oci.Descriptor) (*Seed, error) {
	s := &Seed{Manifest: manifest, blobs: blobs}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("seed %s: %w", manifest.Digest, err)
	}
	return s, nil
}

func (s *Seed) open(ctx context.Context) error {
	s.pages = []oci.Descriptor{s.Manifest}
	manifests := s.pages
	if s.Manifest.MediaType == oci.MediaIndex {
		var ix oci.Index
		if err := s.read(ctx, s.Manifest, oci.MaxManifest, &ix); err != nil {
			return err
		}
		if len(ix.Manifests) == 0 {
			return fmt.Errorf("an empty index: %w", ErrFormat)
		}
		manifests = ix.Manifests
		s.pages = append(s.pages, manifests...)
	}
	var config oci.Descriptor
	for i, d := range manifests {
		var m oci.Manifest
		if err := s.read(ctx, d, oci.MaxManifest, &m); err != nil {
			return err
		}
		want := PageType
		if i == 0 {
			want, config = ArtifactType, m.Config
		}
		if m.ArtifactType != want || m.Config.Digest != config.Digest {
			return fmt.Errorf("manifest of type %q: %w", m.ArtifactType, ErrFormat)
		}
		s.layers = append(s.layers, m.Layers...)
	}
	s.pages = append(s.pages, config)
	if err := s.read(ctx, config, oci.MaxManifest, &s.Config); err != nil {
		return err
	}
	if s.Config.Version != Version {
		return fmt.Errorf("version %d: %w", s.Config.Version, ErrFormat)
	}
	if len(s.layers) < 2 || s.layers[0].Digest != s.Config.Listing.Digest || s.layers[1].Digest != s.Config.Map.Digest {
		return fmt.Errorf("the first layers are not listing and map: %w", ErrFormat)
	}
	// These two are read as streams and lead to all others: what a damaged one
	// says must not be followed.
	for _, p := range []Packed{s.Config.Listing, s.Config.Map} {
		if err := s.compare(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// compare reads a blob for its digest.
func (s *Seed) compare(ctx context.Context, p Packed) error {
	r, err := s.blobs.Open(ctx, p.Digest, p.Size)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.CopyBuffer(io.Discard, onlyReader{r}, make([]byte, 128<<10))
	return err
}

// onlyReader hides other methods, so that the buffer is used.
type onlyReader struct{ io.Reader }

func (s *Seed) read(ctx context.Context, d oci.Descriptor, limit int64, v any) error {
	data, err := oci.ReadAll(ctx, s.blobs, d, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return nil
}

// Blobs are all blobs of the seed: manifests, config, listing, map, packs and
// parts.
func (s *Seed) Blobs() []oci.Descriptor {
	return append(append([]oci.Descriptor{}, s.pages...), s.layers...)
}

// From is where the seed's blobs are read from.
func (s *Seed) From() oci.Blobs { return s.blobs }

// Listing opens the listing as text. Its reader ends with io.EOF only when the
// digest was right. The caller closes it.
func (s *Seed) Listing(ctx context.Context) (io.ReadCloser, error) {
	r, err := unpack(ctx, s.blobs, s.Config.Listing)
	if err != nil {
		return nil, fmt.Errorf("listing: %w", err)
	}
	return r, nil
}

// Filled is a unit with its records.
type Filled struct {
	Unit
	Records []tree.Record
}

// Small reports whether record i has its content in the pack.
func (f *Filled) Small(i int) bool {
	return f.ownContent(i) && f.LargeAt(i) == nil
}

// LargeAt is the large file at record i, or nil.
func (f *Filled) LargeAt(i int) *Large {
	k, ok := slices.BinarySearchFunc(f.Large, i, func(l Large, i int) int { return l.At - i })
	if !ok {
		return nil
	}
	return &f.Large[k]
}

// Units streams the units with their records in the order of the listing. What
// it yields was checked: the records are a listing (see [tree.Reader]), and
// every regular file has its content in exactly one place, of the right size.
// After the last one, listing and tree digest were right too.
func (s *Seed) Units(ctx context.Context) iter.Seq2[Filled, error] {
	return func(yield func(Filled, error) bool) {
		if err := s.units(ctx, yield); err != nil {
			yield(Filled{}, fmt.Errorf("seed %s: %w", s.Manifest.Digest, err))
		}
	}
}

func (s *Seed) units(ctx context.Context, yield func(Filled, error) bool) error {
	listing, err := s.Listing(ctx)
	if err != nil {
		return err
	}
	defer listing.Close()
	index, err := unpack(ctx, s.blobs, s.Config.Map)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	defer index.Close()
	records := tree.NewReader(listing)
	lines := bufio.NewScanner(index)
	lines.Buffer(make([]byte, 64<<10), maxUnit)
	var units int64
	for lines.Scan() {
		f, err := fill(lines.Bytes(), records)
		if err != nil {
			return fmt.Errorf("line %d of the map: %w", units+1, err)
		}
		units++
		if !yield(f, nil) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("map: %w", err)
	}
	if _, err := records.Next(); err != io.EOF {
		return errors.Join(err, fmt.Errorf("the map ends before the listing: %w", ErrFormat))
	}
	if units != s.Config.Units || records.Digest() != s.Config.Tree {
		return fmt.Errorf("the listing has the tree digest %s, the config says %s: %w", records.Digest(), s.Config.Tree, ErrFormat)
	}
	return nil
}

// fill reads the records of a unit and checks that they fit together.
func fill(line []byte, records *tree.Reader) (Filled, error) {
	var f Filled
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f.Unit); err != nil {
		return f, err
	}
	if f.Unit.Records < 1 || f.Unit.Records > maxRecords {
		return f, fmt.Errorf("%d records: %w", f.Unit.Records, ErrFormat)
	}
	if f.Pack != nil && (f.Pack.Raw < 0 || f.Pack.Raw > maxRawPack) {
		return f, fmt.Errorf("a pack of %d bytes: %w", f.Pack.Raw, ErrFormat)
	}
	f.Records = make([]tree.Record, 0, f.Unit.Records)
	for range f.Unit.Records {
		r, err := records.Next()
		if err == io.EOF {
			err = fmt.Errorf("the listing ends before the map: %w", ErrFormat)
		}
		if err != nil {
			return f, err
		}
		f.Records = append(f.Records, r)
	}
	if err := f.checkLarge(); err != nil {
		return f, err
	}
	last := -1
	for _, i := range f.Sparse {
		if !f.ownContent(i) || i <= last {
			return f, fmt.Errorf("sparse: index %d: %w", i, ErrFormat)
		}
		last = i
	}
	return f, nil
}

func (f *Filled) ownContent(i int) bool {
	return i >= 0 && i < len(f.Records) && f.Records[i].Type == tree.Regular && f.Records[i].Link == ""
}

func (f *Filled) checkLarge() error {
	last := -1
	for _, l := range f.Large {
		if !f.ownContent(l.At) || l.At <= last {
			return fmt.Errorf("large file: index %d: %w", l.At, ErrFormat)
		}
		last = l.At
		left := f.Records[l.At].Size
		for _, p := range l.Parts {
			if p.Raw <= 0 || p.Raw > left || p.Size < 0 || p.Digest != "" && !p.Zstd && p.Size != p.Raw {
				return fmt.Errorf("%s: a part of %d bytes: %w", f.Records[l.At].Path, p.Raw, ErrFormat)
			}
			left -= p.Raw
		}
		if left != 0 {
			return fmt.Errorf("%s: its parts lack %d bytes: %w", f.Records[l.At].Path, left, ErrFormat)
		}
	}
	return nil
}

// OpenPart opens the content of a part that has a digest. Its reader ends with
// io.EOF only when digest and length were right.
func (s *Seed) OpenPart(ctx context.Context, p Part) (io.ReadCloser, error) {
	return p.Open(ctx, s.blobs)
}

// Open is [Seed.OpenPart] for blobs that may be of no seed.
func (p Part) Open(ctx context.Context, blobs oci.Blobs) (io.ReadCloser, error) {
	if p.Zstd {
		return unpack(ctx, blobs, Packed{Digest: p.Digest, Size: p.Size, Raw: p.Raw})
	}
	return blobs.Open(ctx, p.Digest, p.Size)
}
