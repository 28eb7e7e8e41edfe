package upload

import (
	"context"
	"errors"
	"fmt"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/selfimage"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage. Its effects are those of its options.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "upload",
		Summary: "brings seeds and statelift itself to where a cluster finds them",
		Effects: pipeline.Local,
		Resumes: "a blob that is there is not sent again",
		Version: 1,
	}
}

// Stage is the upload stage.
type Stage struct{ options Options }

// New makes the stage.
func New(o Options) *Stage { return &Stage{options: o} }

// Run uploads. Without a far side, in a rehearsal, it does nothing.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, seeds handoff.Seeds) (handoff.Upload, error) {
	place, ok, err := s.options.place()
	if err != nil || !ok {
		return handoff.Upload{}, err
	}
	out := handoff.Upload{Carrier: place.Kind, Seeds: place.String()}
	if err := s.mayPush(ctx, place); err != nil {
		return handoff.Upload{}, err
	}
	if err := s.image(ctx, env, &out); err != nil {
		return handoff.Upload{}, err
	}
	to, err := carrier.OpenCarrier(ctx, place, s.options.Talk)
	if err != nil {
		return handoff.Upload{}, err
	}
	defer to.Close()
	what, err := contents(ctx, env, seeds)
	if err != nil {
		return handoff.Upload{}, err
	}
	out.Blobs, out.Bytes = what.Totals()
	env.Progress.Begin("seeds", "bytes", out.Bytes)
	defer env.Progress.End()
	if err := what.Send(ctx, to, carrier.Sending{Ledger: env.Ledger, Log: env.Log, Sent: env.Progress.Add}); err != nil {
		return handoff.Upload{}, err
	}
	return out, nil
}

// mayPush asks the registry before any work is done for it. (A bucket is tried
// when it is opened.)
func (s *Stage) mayPush(ctx context.Context, place carrier.Place) error {
	if s.options.Registry == "" {
		return nil
	}
	r, err := s.registry()
	if err != nil {
		return err
	}
	if place.Kind == carrier.KindRegistry {
		if err := r.MayPush(ctx, carrier.Seeds); err != nil {
			return err
		}
	}
	return r.MayPush(ctx, imageName)
}

func (s *Stage) registry() (*registry.Registry, error) {
	r, err := registry.Open(s.options.Registry, registry.Options{
		Stall: s.options.Talk.Stall, Attempts: s.options.Talk.Attempts, Backoff: s.options.Talk.Backoff, Environment: s.options.Talk.Environment,
	})
	if err != nil {
		return nil, &pipeline.InputError{What: "--registry", Err: err}
	}
	return r, nil
}

// imageName is the repository of statelift itself, below the registry's prefix.
const imageName = "statelift"

// image makes the image of this program, and pushes it when there is a registry.
func (s *Stage) image(ctx context.Context, env *pipeline.Env, out *handoff.Upload) error {
	if s.options.Registry == "" {
		return nil
	}
	dir := env.Workspace.Path(workspace.Run, "copier")
	made, err := selfimage.Make(ctx, dir, selfimage.Options{Program: s.options.Program})
	if errors.Is(err, selfimage.ErrDynamic) && !s.options.Needed {
		env.Log.Warn("no image of statelift: the manifests' copy Jobs have to be given one", "because", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoImage, err)
	}
	r, err := s.registry()
	if err != nil {
		return err
	}
	env.Progress.Begin("image of statelift", "bytes", made.Size)
	defer env.Progress.End()
	if err := r.Push(ctx, dir, []registry.Image{{Name: imageName, Digest: made.Digest}}, env.Progress.Add); err != nil {
		return err
	}
	out.Copier, out.Arch = r.Ref(imageName, made.Digest), made.Arch
	return nil
}
