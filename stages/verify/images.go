package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/layer/imageset"
	"github.com/statelift/statelift/pipeline/oci"
)

// images recomputes every image of the layout, and compares the paths of every
// layer with what the inventory and the plan say.
func (r *run) images(ctx context.Context) error {
	set, err := imageset.Draw(ctx, imageset.Input{
		Catalog: r.cat, Plan: r.made.Plan, Dir: filepath.Join(r.temp, "plans"),
	})
	if err != nil {
		return err
	}
	if err := r.everyPath(ctx, set); err != nil {
		return err
	}
	faults, err := r.layers(ctx, set)
	if err != nil {
		return err
	}
	made := map[string]handoff.Image{}
	for _, i := range r.made.Images.Images {
		made[i.Name] = i
	}
	r.check(anImage, "index", r.layoutIndex(), "%d images", len(r.made.Images.Images))
	for _, i := range set.Images {
		have, ok := made[i.Name]
		delete(made, i.Name)
		if !ok {
			r.check(anImage, i.Name, errors.New("it was not made"), "")
			continue
		}
		all := []error{r.document(have, i, set)}
		for _, n := range i.Layers {
			all = append(all, faults[n])
		}
		var entries int64
		for _, l := range have.Layers {
			entries += l.Entries
		}
		r.check(anImage, i.Name, errors.Join(all...), "%s: %d layers with %d paths, %d bytes", have.Digest, len(have.Layers), entries, have.Size)
	}
	for name := range made {
		r.check(anImage, name, errors.New("the plan has no such image"), "")
	}
	return nil
}

// everyPath makes sure that the layers hold what the split gave to images.
func (r *run) everyPath(ctx context.Context, set *imageset.Set) error {
	tallies, err := r.cat.Tallies(ctx)
	if err != nil {
		return err
	}
	var entries, size int64
	for _, t := range tallies {
		if t.Class == claim.Image {
			entries, size = t.Entries, t.Bytes
		}
	}
	var fault error
	if entries != set.Entries || size != set.Bytes {
		fault = fmt.Errorf("layers hold %d paths with %d bytes, the split gave them %d with %d", set.Entries, set.Bytes, entries, size)
	}
	r.check(anImage, "paths", fault, "%d paths of class image with %d bytes, each in one layer, %d missing and named", entries, size, len(r.made.Images.Missing))
	return nil
}

// layers proves each layer of the set once. The result has a fault for each
// that is not right.
func (r *run) layers(ctx context.Context, set *imageset.Set) ([]error, error) {
	missing := map[hostpath.Path]bool{}
	for _, m := range r.made.Images.Missing {
		missing[m.Path] = true
	}
	// Which blob is which layer: the images list them in the set's order.
	blobs := make([]*handoff.ImageLayer, len(set.Layers))
	var total int64
	for _, i := range set.Images {
		for _, have := range r.made.Images.Images {
			if have.Name != i.Name || len(have.Layers) != len(i.Layers) {
				continue
			}
			for n, l := range i.Layers {
				blobs[l] = &have.Layers[n]
			}
		}
	}
	for _, b := range blobs {
		if b != nil {
			total += b.Size
		}
	}
	r.Progress.Begin("verify images", "bytes", total)
	defer r.Progress.End()
	faults := make([]error, len(set.Layers))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.workers)
	for n, l := range set.Layers {
		if blobs[n] == nil {
			continue // the image says so
		}
		group.Go(func() error {
			plan := l.Plan
			if len(missing) > 0 {
				var err error
				if plan, _, err = plan.Without(plan.File+"-rest", missing); err != nil {
					return err
				}
			}
			faults[n] = r.layer(gctx, *blobs[n], plan)
			r.Progress.Add(blobs[n].Size)
			return gctx.Err()
		})
	}
	return faults, group.Wait()
}

func (r *run) layer(ctx context.Context, l handoff.ImageLayer, plan layer.Plan) error {
	f, err := os.Open(r.blob(l.Digest))
	if err != nil {
		return fmt.Errorf("layer %s (%s): %w", l.Digest, l.What, err)
	}
	defer f.Close()
	want := layer.Blob{Digest: l.Digest, DiffID: l.DiffID, Size: l.Size, MediaType: l.MediaType}
	if err := layer.Check(ctx, f, want, plan, locked); err != nil {
		return fmt.Errorf("layer %s (%s): %w", l.Digest, l.What, err)
	}
	return nil
}

// maxAccounts is how large passwd and group of an image may be, as where they
// are made.
const maxAccounts = 32 << 20

// locked looks into the files of accounts.
func locked(i layer.Item, content io.Reader) error {
	if !imageset.IsAccounts(i.Path) {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(content, maxAccounts))
	if err != nil {
		return err
	}
	return imageset.Locked(i.Path, data)
}

func (r *run) blob(digest string) string {
	return r.Workspace.Path(r.made.Images.Layout, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

// layoutIndex makes sure that the index names exactly the images.
func (r *run) layoutIndex() error {
	layout, err := oci.Open(r.Workspace.Path(r.made.Images.Layout))
	if err != nil {
		return err
	}
	index, err := layout.Index()
	if err != nil {
		return err
	}
	var got, want []string
	for _, d := range index.Manifests {
		got = append(got, d.Annotations[oci.RefName]+"@"+string(d.Digest))
	}
	for _, i := range r.made.Images.Images {
		want = append(want, i.Name+"@"+i.Digest)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("index.json names %v, the images are %v", got, want)
	}
	return nil
}

// document recomputes manifest and config of an image and compares what they
// say with its layers.
func (r *run) document(have handoff.Image, want imageset.Image, set *imageset.Set) error {
	if len(have.Layers) != len(want.Layers) {
		return fmt.Errorf("it has %d layers, the plan %d", len(have.Layers), len(want.Layers))
	}
	raw, err := r.small(have.Digest)
	if err != nil {
		return err
	}
	manifest, err := parseManifest(raw, have)
	if err != nil {
		return err
	}
	raw, err = r.small(manifest.Config.Digest.String())
	if err != nil {
		return err
	}
	var config v1.ConfigFile
	if err := json.Unmarshal(raw, &config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if len(config.RootFS.DiffIDs) != len(have.Layers) {
		return fmt.Errorf("config has %d layers, the image %d", len(config.RootFS.DiffIDs), len(have.Layers))
	}
	for n, l := range have.Layers {
		if d := config.RootFS.DiffIDs[n].String(); d != l.DiffID {
			return fmt.Errorf("config has diffID %s where %s should be", d, l.DiffID)
		}
	}
	if command := imageset.Entrypoint(want.Containers[0].Container); !slices.Equal(config.Config.Entrypoint, command) {
		return fmt.Errorf("config runs %q, the plan %q", config.Config.Entrypoint, command)
	}
	return nil
}

// parseManifest compares a manifest with the hand-off.
func parseManifest(raw []byte, have handoff.Image) (*v1.Manifest, error) {
	if got := digestOf(raw); got != have.Digest {
		return nil, fmt.Errorf("manifest is %s, not %s", got, have.Digest)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if len(manifest.Layers) != len(have.Layers) {
		return nil, fmt.Errorf("manifest has %d layers, the image %d", len(manifest.Layers), len(have.Layers))
	}
	for n, l := range have.Layers {
		m := manifest.Layers[n]
		if m.Digest.String() != l.Digest || m.Size != l.Size || string(m.MediaType) != l.MediaType {
			return nil, fmt.Errorf("manifest has layer %s with %d bytes where %s with %d should be", m.Digest, m.Size, l.Digest, l.Size)
		}
	}
	return manifest, nil
}

// maxDocument bounds manifests and configs.
const maxDocument = 8 << 20

// small reads a document of the layout and makes sure of its digest.
func (r *run) small(digest string) ([]byte, error) {
	f, err := os.Open(r.blob(digest))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument))
	if err != nil {
		return nil, err
	}
	if got := digestOf(data); got != digest {
		return nil, fmt.Errorf("blob %s is %s", digest, got)
	}
	return data, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
