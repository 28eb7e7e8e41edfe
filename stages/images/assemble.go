package images

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/layer/imageset"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/workspace"
)

// assemble writes configs, manifests and the index over finished layers.
func (s *Stage) assemble(set *imageset.Set, plan handoff.Plan, lay layout, blobs []layer.Blob) (handoff.Images, error) {
	out := handoff.Images{Layout: workspace.Images, Images: []handoff.Image{}}
	index := []v1.Descriptor{}
	keep := map[string]bool{}
	for _, img := range set.Images {
		made, desc, err := s.image(set, img, plan, lay, blobs)
		if err != nil {
			return out, fmt.Errorf("image %s: %w", img.Name, err)
		}
		out.Images = append(out.Images, made)
		index = append(index, desc.manifest)
		keep[desc.manifest.Digest.String()] = true
		keep[desc.config.Digest.String()] = true
		for _, l := range made.Layers {
			keep[l.Digest] = true
		}
	}
	return out, lay.publish(index, keep)
}

type described struct{ manifest, config v1.Descriptor }

func (s *Stage) image(set *imageset.Set, img imageset.Image, plan handoff.Plan, lay layout, blobs []layer.Blob) (handoff.Image, described, error) {
	made := handoff.Image{Name: img.Name}
	var d described
	cfg := s.config(set, img, plan)
	created := cfg.Created
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	for _, n := range img.Layers {
		l, b := set.Layers[n], blobs[n]
		diffID, err := v1.NewHash(b.DiffID)
		if err != nil {
			return made, d, err
		}
		digest, err := v1.NewHash(b.Digest)
		if err != nil {
			return made, d, err
		}
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, diffID)
		cfg.History = append(cfg.History, v1.History{Created: created, CreatedBy: "statelift", Comment: l.What})
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: types.MediaType(b.MediaType), Size: b.Size, Digest: digest})
		made.Size += b.Size
		made.Layers = append(made.Layers, handoff.ImageLayer{
			Digest: b.Digest, DiffID: b.DiffID, Size: b.Size, MediaType: b.MediaType,
			Entries: l.Plan.Entries, Bytes: l.Plan.Bytes, What: l.What,
		})
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		return made, d, err
	}
	if d.config, err = lay.put(raw, types.OCIConfigJSON); err != nil {
		return made, d, err
	}
	manifest.Config = d.config
	if raw, err = json.Marshal(manifest); err != nil {
		return made, d, err
	}
	if d.manifest, err = lay.put(raw, types.OCIManifestSchema1); err != nil {
		return made, d, err
	}
	d.manifest.Annotations = map[string]string{oci.RefName: img.Name}
	d.manifest.Platform = &v1.Platform{Architecture: cfg.Architecture, OS: cfg.OS}
	made.Digest = d.manifest.Digest.String()
	return made, d, nil
}

// searchPath is what a login shell of root has.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// config is the image's configuration (OCI image-spec config.md) without its
// layers. All of it comes from the plan and from paths of class image: data
// that the host writes meanwhile changes no image.
func (s *Stage) config(set *imageset.Set, img imageset.Image, plan handoff.Plan) *v1.ConfigFile {
	c := img.Containers[0]
	user := fmt.Sprintf("%d:%d", c.UID, c.GID)
	if c.StartsAsRoot {
		user = "0:0"
	}
	var entries, bytes, newest int64
	for _, n := range img.Layers {
		entries += set.Layers[n].Plan.Taken
		bytes += set.Layers[n].Plan.Bytes
		newest = max(newest, set.Layers[n].Plan.Newest)
	}
	arch := plan.Host.Architecture
	if arch == "" {
		arch = "amd64"
	}
	return &v1.ConfigFile{
		Architecture: arch,
		OS:           "linux",
		Created:      v1.Time{Time: time.Unix(newest/int64(time.Second), 0).UTC()},
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{
			User:         user,
			Entrypoint:   imageset.Entrypoint(c.Container),
			Env:          environment(c.Env),
			WorkingDir:   string(c.WorkDir),
			ExposedPorts: ports(img),
			StopSignal:   c.StopSignal,
			Labels:       s.labels(img, plan, entries, bytes),
		},
	}
}

func (s *Stage) labels(img imageset.Image, plan handoff.Plan, entries, bytes int64) map[string]string {
	units, profiles := map[string]bool{}, map[string]bool{}
	for _, c := range img.Containers {
		units[c.Unit] = true
		profiles[c.Profile] = true
	}
	labels := map[string]string{
		"org.opencontainers.image.title":       img.Name,
		"org.opencontainers.image.description": fmt.Sprintf("%s of the host %s", list(units), plan.Name),
		"io.statelift.host":                    plan.Name,
		"io.statelift.os":                      plan.Host.PrettyName,
		"io.statelift.units":                   list(units),
		"io.statelift.profiles":                list(profiles),
		"io.statelift.version":                 s.options.Tool,
		"io.statelift.class.image.entries":     fmt.Sprint(entries),
		"io.statelift.class.image.bytes":       fmt.Sprint(bytes),
	}
	maps.DeleteFunc(labels, func(_, v string) bool { return v == "" })
	maps.Copy(labels, s.options.Labels)
	return labels
}

func list(set map[string]bool) string {
	delete(set, "")
	return strings.Join(slices.Sorted(maps.Keys(set)), " ")
}

// environment leaves out what comes from a ConfigMap or a Secret.
func environment(env []handoff.Env) []string {
	var out []string
	path := false
	for _, e := range env {
		if e.From != "" || e.Secret {
			continue
		}
		path = path || e.Name == "PATH"
		out = append(out, e.Name+"="+e.Value)
	}
	if !path {
		out = append([]string{searchPath}, out...)
	}
	return out
}

func ports(img imageset.Image) map[string]struct{} {
	out := map[string]struct{}{}
	for _, c := range img.Containers {
		for _, p := range c.Ports {
			out[fmt.Sprintf("%d/%s", p.Number, strings.ToLower(p.Protocol))] = struct{}{}
		}
	}
	return out
}
