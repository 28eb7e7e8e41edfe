package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
)

// layout is an OCI image layout directory (OCI image-spec image-layout.md) that
// this stage alone writes.
type layout struct{ dir string }

func openLayout(dir string) (layout, error) {
	l := layout{dir}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return l, fmt.Errorf("image layout: %w", err)
	}
	return l, atomicfile.Write(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

// blob is the file of a digest.
func (l layout) blob(digest string) string {
	return filepath.Join(l.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

// adopt moves a finished file, flushed to disk, in under its digest.
func (l layout) adopt(name, digest string) error {
	to := l.blob(digest)
	if err := os.Rename(name, to); err != nil {
		return fmt.Errorf("image layout: %w", err)
	}
	return atomicfile.SyncDir(filepath.Dir(to))
}

// put stores a document and returns its descriptor.
func (l layout) put(data []byte, mediaType types.MediaType) (v1.Descriptor, error) {
	sum := sha256.Sum256(data)
	d := v1.Descriptor{
		MediaType: mediaType,
		Size:      int64(len(data)),
		Digest:    v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])},
	}
	return d, atomicfile.Write(l.blob(d.Digest.String()), data, 0o644)
}

// names makes sure that the layout names exactly these images, and that their
// manifests and configs are whole. It does not look at layers.
func (l layout) names(ctx context.Context, images []handoff.Image) error {
	lay, err := oci.Open(l.dir)
	if err != nil {
		return err
	}
	index, err := lay.Index()
	if err != nil {
		return err
	}
	want := map[string]string{}
	for _, i := range images {
		want[i.Name] = i.Digest
	}
	for _, d := range index.Manifests {
		name := d.Annotations[oci.RefName]
		if want[name] != string(d.Digest) {
			return fmt.Errorf("%s names %s as image %q, which was not made", l.dir, d.Digest, name)
		}
		delete(want, name)
		data, err := oci.ReadAll(ctx, lay, d, oci.MaxManifest)
		if err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
		var manifest oci.Manifest
		if err := json.Unmarshal(data, &manifest); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
		if _, err := oci.ReadAll(ctx, lay, manifest.Config, oci.MaxManifest); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	for name := range want {
		return fmt.Errorf("image %s is not in %s any more", name, l.dir)
	}
	return nil
}

// publish makes the given images all that the layout has: the index is replaced
// as a whole, and then what it does not reach is removed.
func (l layout) publish(images []v1.Descriptor, keep map[string]bool) error {
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: images})
	if err != nil {
		return fmt.Errorf("image layout: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(l.dir, "index.json"), index, 0o644); err != nil {
		return err
	}
	dir := filepath.Join(l.dir, "blobs", "sha256")
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("image layout: %w", err)
	}
	var errs []error
	for _, f := range list {
		if !keep["sha256:"+f.Name()] {
			errs = append(errs, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}
