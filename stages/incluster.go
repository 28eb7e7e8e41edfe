package stages

import (
	"cmp"
	"context"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/stages/deploy/install"
	"github.com/statelift/statelift/stages/upload"
)

func uploadStage(d Deps) pipeline.Stage {
	o := upload.Options{
		Registry: d.Registry, Store: d.Store, Carrier: d.Carrier, Needed: d.Context != "", Program: d.Copier,
		Talk: carrier.Options{Stall: d.Stall, Attempts: d.Attempts},
	}
	u := upload.New(o)
	s := pipeline.Step1(upload.Info(), o, handoff.SeedsKey, handoff.UploadKey, u.Run)
	s.Effects |= o.Effects()
	return pipeline.Recheck(s, handoff.UploadKey, func(ctx context.Context, env *pipeline.Env, out handoff.Upload) (string, error) {
		seeds, err := pipeline.Read(env.Workspace, handoff.SeedsKey)
		if err != nil {
			return "", err
		}
		return u.Recheck(ctx, env, seeds, out)
	})
}

// installStage is deploy in a cluster.
func installStage(d Deps) pipeline.Stage {
	o := install.Options{Context: d.Context, Namespace: cmp.Or(d.Namespace, d.Decisions.Namespace), Registry: d.Registry, Hold: d.Hold, Patience: d.Patience}
	i := install.New(o)
	s := pipeline.Step4(install.Info(), o, handoff.PlanKey, handoff.SeedsKey, handoff.UploadKey, handoff.ManifestsKey, handoff.CopiesKey, i.Run)
	s = pipeline.Recheck(s, handoff.CopiesKey, func(ctx context.Context, env *pipeline.Env, out handoff.Copies) (string, error) {
		plan, err := pipeline.Read(env.Workspace, handoff.PlanKey)
		if err != nil {
			return "", err
		}
		seeds, err := pipeline.Read(env.Workspace, handoff.SeedsKey)
		if err != nil {
			return "", err
		}
		manifests, err := pipeline.Read(env.Workspace, handoff.ManifestsKey)
		if err != nil {
			return "", err
		}
		return i.Recheck(ctx, env, plan, seeds, manifests, out)
	})
	// What the plan says of the cluster is in the manifests, but for the volumes.
	s = pipeline.Part(s, handoff.PlanKey, func(p handoff.Plan) any { return []any{p.Name, p.Volumes} })
	return pipeline.After(s, handoff.AdmitKey)
}
