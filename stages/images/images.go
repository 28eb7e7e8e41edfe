package images

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/layer/imageset"
	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage. With a registry it has that effect too.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "images",
		Summary: "builds the container images from the host's own files, in layers that they share",
		Effects: pipeline.Local,
		Resumes: "a finished layer is not built again, a pushed one not sent again",
		Version: 1,
	}
}

// Options decide about the result.
type Options struct {
	// Compression of the layers; "" is zstd.
	Compression layer.Compression `json:"compression,omitempty"`
	// Registry takes the images: HOST[:PORT][/PREFIX]. "" pushes nothing.
	Registry string `json:"registry,omitempty"`
	// Talk is how the registry is talked to. It decides about no result.
	Talk registry.Options `json:"-"`
	// Tool is the version of this program, for the labels.
	Tool string `json:"tool,omitempty"`
	// Tag is what the images are called in the registry beside their digests.
	Tag string `json:"tag,omitempty"`
	// Labels are added to those of every image.
	Labels map[string]string `json:"labels,omitempty"`
}

// Stage is the images stage.
type Stage struct {
	options Options
	workers int
}

// New makes the stage.
func New(o Options) *Stage {
	o.Compression = cmp.Or(o.Compression, layer.Zstd)
	return &Stage{options: o, workers: runtime.GOMAXPROCS(0)}
}

// Run makes the images. Files that are not as the scan saw them are left out,
// and named in the [*pipeline.Incomplete] that it then returns beside the
// images.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, source handoff.Source, _ handoff.Split, plan handoff.Plan) (handoff.Images, error) {
	out, err := s.run(ctx, env, source, plan)
	if err != nil {
		return handoff.Images{}, err
	}
	if len(out.Missing) == 0 {
		return out, nil
	}
	var why pipeline.Incomplete
	for _, m := range out.Missing {
		why.Because = append(why.Because, m.Why)
	}
	return out, &why
}

func (s *Stage) run(ctx context.Context, env *pipeline.Env, source handoff.Source, plan handoff.Plan) (out handoff.Images, err error) {
	if err := s.reachable(ctx, plan); err != nil {
		return out, err
	}
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return out, err
	}
	defer cat.Close()
	root, err := rootfs.Open(source.Root)
	if err != nil {
		return out, err
	}
	defer root.Close()
	temp := env.Workspace.Path(workspace.Run, "images")
	if err := os.RemoveAll(temp); err != nil {
		return out, err
	}
	defer os.RemoveAll(temp)
	set, err := s.draw(ctx, cat, root, plan, temp)
	if err != nil {
		return out, err
	}
	for _, note := range set.Notes {
		env.Log.Info("image", "note", note)
	}
	lay, err := openLayout(env.Workspace.Path(workspace.Images))
	if err != nil {
		return out, err
	}
	shape := set.Shape()
	blobs, missing, err := s.layers(ctx, env, root, set, lay, temp)
	if err != nil {
		return out, err
	}
	out, err = s.assemble(set, plan, lay, blobs)
	if err != nil {
		return out, err
	}
	out.Shape, out.Notes, out.Missing = shape, set.Notes, missing
	if err := s.push(ctx, env, &out); err != nil {
		return out, err
	}
	return out, nil
}

// draw plans the layers, and makes sure that every path of class image is in
// one.
func (s *Stage) draw(ctx context.Context, cat *catalog.Catalog, root *rootfs.Root, plan handoff.Plan, temp string) (*imageset.Set, error) {
	accounts, err := imageset.ReadAccounts(ctx, cat, root)
	if err != nil {
		return nil, err
	}
	set, err := imageset.Draw(ctx, imageset.Input{
		Catalog: cat, Plan: plan, Accounts: accounts, Dir: filepath.Join(temp, "plans"),
	})
	if err != nil {
		return nil, err
	}
	tallies, err := cat.Tallies(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tallies {
		if t.Class == claim.Image && (t.Entries != set.Entries || t.Bytes != set.Bytes) {
			return nil, fmt.Errorf("images hold %d paths with %d bytes, the split has %d with %d", set.Entries, set.Bytes, t.Entries, t.Bytes)
		}
	}
	return set, nil
}

// layers builds what is not there yet, the largest first so that the workers
// end together, and proves every layer. It tells which files are not in them
// since they changed.
func (s *Stage) layers(ctx context.Context, env *pipeline.Env, root *rootfs.Root, set *imageset.Set, lay layout, temp string) (blobs []layer.Blob, missing []handoff.Missing, err error) {
	order := make([]int, len(set.Layers))
	var total int64
	for i, l := range set.Layers {
		order[i] = i
		total += l.Plan.Bytes
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(set.Layers[b].Plan.Bytes, set.Layers[a].Plan.Bytes) })
	env.Progress.Begin("layers", "bytes", total)
	defer env.Progress.End()
	done := make([]work, len(set.Layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.workers)
	for _, i := range order {
		group.Go(func() error {
			w := work{
				Env: env, root: root, lay: lay, plan: set.Layers[i].Plan, compression: s.options.Compression,
				temp: filepath.Join(temp, fmt.Sprintf("layer-%d", i)),
			}
			if err := w.do(ctx); err != nil {
				return fmt.Errorf("layer %s: %w", set.Layers[i].What, err)
			}
			done[i] = w
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i, w := range done {
		set.Layers[i].Plan = w.plan
		blobs = append(blobs, w.blob)
		missing = append(missing, w.missing...)
	}
	return blobs, missing, nil
}
