package images

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/imageset"
	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Recheck looks whether what an earlier run made still fits, and is there: the
// inventory and the plan give the same layers, the layout has files of the right
// size, the registry the manifests. It says what is not so.
func (s *Stage) Recheck(ctx context.Context, env *pipeline.Env, plan handoff.Plan, out handoff.Images) (stale string, err error) {
	shape, err := shapeOf(ctx, env, plan)
	if err != nil {
		return "", err
	}
	if shape != out.Shape {
		return "what the images are made of changed", nil
	}
	lay := layout{env.Workspace.Path(out.Layout)}
	if why := lay.names(ctx, out.Images); why != nil {
		return why.Error(), nil
	}
	for _, i := range out.Images {
		for _, l := range i.Layers {
			fi, err := os.Stat(lay.blob(l.Digest))
			if errors.Is(err, os.ErrNotExist) || err == nil && fi.Size() != l.Size {
				return fmt.Sprintf("layer %s of image %s is not in %s", l.Digest, i.Name, out.Layout), nil
			}
			if err != nil {
				return "", err
			}
		}
	}
	if out.Registry == "" {
		return "", nil
	}
	r, err := registry.Open(out.Registry, s.options.Talk)
	if err != nil {
		return "", err
	}
	for _, i := range out.Images {
		has, err := r.Has(ctx, registry.Image{Name: i.Name, Digest: i.Digest, Tag: out.Tag})
		if err != nil {
			return "", err
		}
		if !has {
			return fmt.Sprintf("registry %s has no image %s any more", out.Registry, i.Name), nil
		}
	}
	return "", nil
}

// shapeOf draws the images again, without the source. What is not of class image
// counts too: directories that lead to files, and those that something is
// mounted at.
func shapeOf(ctx context.Context, env *pipeline.Env, plan handoff.Plan) (string, error) {
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return "", err
	}
	defer cat.Close()
	temp := env.Workspace.Path(workspace.Run, "images")
	defer os.RemoveAll(temp)
	set, err := imageset.Draw(ctx, imageset.Input{Catalog: cat, Plan: plan, Dir: temp})
	if err != nil {
		return "", err
	}
	return set.Shape(), nil
}
