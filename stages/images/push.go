package images

import (
	"context"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/workspace"
)

// reachable asks the registry before any work is done for it.
func (s *Stage) reachable(ctx context.Context, plan handoff.Plan) error {
	if s.options.Registry == "" {
		return nil
	}
	r, err := registry.Open(s.options.Registry, s.options.Talk)
	if err != nil {
		return &pipeline.InputError{What: "--registry", Err: err}
	}
	for _, w := range plan.Workloads {
		for _, c := range w.Containers {
			return r.MayPush(ctx, c.Image)
		}
	}
	return nil
}

// push brings the images to the registry, when there is one.
func (s *Stage) push(ctx context.Context, env *pipeline.Env, out *handoff.Images) error {
	if s.options.Registry == "" {
		return nil
	}
	r, err := registry.Open(s.options.Registry, s.options.Talk)
	if err != nil {
		return &pipeline.InputError{What: "--registry", Err: err}
	}
	var images []registry.Image
	var total int64
	blobs := map[string]bool{}
	for _, i := range out.Images {
		images = append(images, registry.Image{Name: i.Name, Digest: i.Digest, Tag: s.options.Tag})
		for _, l := range i.Layers {
			if !blobs[l.Digest] {
				blobs[l.Digest] = true
				total += l.Size
			}
		}
	}
	env.Progress.Begin("push", "bytes", total)
	defer env.Progress.End()
	if err := r.Push(ctx, env.Workspace.Path(workspace.Images), images, env.Progress.Add); err != nil {
		return err
	}
	out.Registry, out.Tag = r.String(), s.options.Tag
	for n := range out.Images {
		out.Images[n].Ref = r.Ref(out.Images[n].Name, out.Images[n].Digest)
	}
	return nil
}
