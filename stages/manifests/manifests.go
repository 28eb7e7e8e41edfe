package manifests

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "manifests",
		Summary: "writes the Kubernetes objects, one file each, with a kustomization",
		Effects: pipeline.Local,
		Resumes: "writes all files anew, the same byte for byte",
		Version: 1,
	}
}

// Options is what changes the result.
type Options struct {
	// Shards is how many Pods fill one large volume side by side; 0 and 1 are one.
	Shards int `json:"shards,omitempty"`
	// Hold has every Pod wait for the fence, see package fence.
	Hold bool `json:"hold,omitempty"`
	// Store is the bucket with the objects; Cluster says that there is a cluster
	// whose Pods reach it.
	Store   string `json:"store,omitempty"`
	Cluster bool   `json:"cluster,omitempty"`
}

// largeVolume is from how many bytes on a volume is worth several Pods: below,
// starting them takes longer than they save.
const largeVolume = 1 << 30

// What the manifests name before there is a far side; an overlay replaces it.
const (
	defaultCopier = "statelift:dev" // the image with statelift itself
	defaultSeeds  = "seeds"         // a part of the plan's names
)

// Stage writes the manifests.
type Stage struct {
	options Options
}

// New makes the stage.
func New(o Options) *Stage { return &Stage{options: o} }

// writer is one run of the stage.
type writer struct {
	options Options
	plan    handoff.Plan
	images  map[string]handoff.Image
	seeds   map[string]handoff.Seed
	upload  handoff.Upload
	stored  handoff.Objects
	sets    map[string]handoff.FileSet // by origin and name, see setKey
	changed []string                   // what could not be taken along
	digests map[string]string          // of the ConfigMaps' content, by name
	objects []object
}

// Run reads configuration from the source and writes manifests/. A file that
// changed since the scan is left out and makes the run incomplete.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, src handoff.Source, plan handoff.Plan, images handoff.Images, seeds handoff.Seeds, upload handoff.Upload) (handoff.Manifests, error) {
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return handoff.Manifests{}, err
	}
	defer cat.Close()
	root, err := rootfs.Open(src.Root)
	if err != nil {
		return handoff.Manifests{}, fmt.Errorf("source: %w", err)
	}
	defer root.Close()
	files := content.NewReader(root)
	defer files.Close()

	w := newWriter(s.options, plan, images, seeds)
	w.upload = upload
	if err := w.findObjects(env); err != nil {
		return handoff.Manifests{}, err
	}
	if err := w.makeSets(ctx, reader{cat: cat, files: files}); err != nil {
		return handoff.Manifests{}, err
	}
	w.makeNamespace()
	w.makeVolumes()
	w.makeShares()
	for _, wl := range plan.Workloads {
		w.makeWorkload(wl)
	}
	w.makeCopies()
	out, err := w.write(env.Workspace.Path(workspace.Manifests))
	if err != nil {
		return handoff.Manifests{}, err
	}
	if len(w.changed) > 0 {
		return out, &pipeline.Incomplete{Because: w.changed}
	}
	return out, nil
}

func newWriter(o Options, plan handoff.Plan, images handoff.Images, seeds handoff.Seeds) *writer {
	w := &writer{
		options: o, plan: plan, images: map[string]handoff.Image{}, seeds: map[string]handoff.Seed{},
		sets: map[string]handoff.FileSet{}, digests: map[string]string{},
	}
	for _, i := range images.Images {
		w.images[i.Name] = i
	}
	for _, s := range seeds.Seeds {
		w.seeds[s.Volume] = s
	}
	for _, f := range plan.Configs {
		w.sets[setKey(handoff.FromConfig, f.Name)] = f
	}
	for _, f := range plan.Secrets {
		w.sets[setKey(handoff.FromSecret, f.Name)] = f
	}
	return w
}

func setKey(o handoff.Origin, name string) string { return string(o) + "/" + name }

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
