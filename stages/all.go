// Package stages is the pipeline: the one ordered list of its stages. Read it
// first; each stage is the folder of its name.
package stages

import (
	"cmp"
	"context"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/quiesce"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/admit"
	"github.com/statelift/statelift/stages/deploy"
	"github.com/statelift/statelift/stages/images"
	"github.com/statelift/statelift/stages/manifests"
	"github.com/statelift/statelift/stages/objects"
	"github.com/statelift/statelift/stages/plan"
	"github.com/statelift/statelift/stages/report"
	"github.com/statelift/statelift/stages/scan"
	"github.com/statelift/statelift/stages/seed"
	"github.com/statelift/statelift/stages/source"
	"github.com/statelift/statelift/stages/split"
	"github.com/statelift/statelift/stages/target"
	"github.com/statelift/statelift/stages/verify"
	"github.com/statelift/statelift/templates"
)

// Deps are what the stages are made with: what the user asked for, and what
// statelift knows.
type Deps struct {
	Source    string // what the user gave
	Checksum  string // of an archive: sha256:HEX; "" checks nothing
	Registry  string // takes the images; "" keeps them in the workspace
	Store     string // takes the objects; "" is store/ in the workspace
	Context   string // of the kubeconfig, the cluster to lift into; "" is a rehearsal
	Namespace string // in the cluster; "" is that of statelift.yaml, then that of the context
	Carrier   string // of the seeds to the cluster: registry or bucket; "" is the bucket when there is one
	Copier    string // a program of statelift for the cluster's nodes; "" is the one that runs
	Hold      bool   // the workloads stay at zero, behind the fence
	Shards    int    // Pods that fill one large volume side by side; 0 is one
	// Quiesce says that databases that run are copied by their own means: commands
	// behind OnSource, which Show is told before they run.
	Quiesce   bool
	OnSource  string
	Show      func(quiesce.Command)
	LookAgain bool   // at the source, whether it still is as it was scanned
	Version   string // of the program
	// CopierArch is what the program for the nodes is for, as GOARCH.
	CopierArch string
	// ProveVolumes has verify prove the volumes of a cluster again.
	ProveVolumes bool
	// How far sides are talked to; it decides about no result.
	Stall     time.Duration // without a byte, after which a request has failed; 0 is the default of each
	Attempts  int           // of one request before its fault is final; 0 is the default of each
	Patience  time.Duration // with a fault in the cluster that may pass by itself; 0 is the default
	Decisions decisions.Decisions
	Profiles  []profile.Profile
	Rules     profile.Rules
}

func (d Deps) talk() registry.Options {
	return registry.Options{Stall: d.Stall, Attempts: d.Attempts}
}

func (d Deps) openStore(ctx context.Context, spec string) (store.Store, error) {
	return store.Open(ctx, spec, store.Options{Stall: d.Stall, Attempts: d.Attempts})
}

// All is the pipeline in its order. Making it does nothing else.
func All(d Deps) []pipeline.Stage {
	return []pipeline.Stage{
		// What is lifted: a root, a directory, or an archive that is unpacked.
		sourceStage(d),
		// One row per path, and the facts, into inventory.db.
		scanStage(d),
		// One class per path, with the reason.
		splitStage(d),
		// What the cluster offers, when there is one.
		targetStage(d),
		// Workloads, volumes, configuration, verdicts, questions, and what of it
		// the target cannot serve.
		planStage(d),
		// The same for people.
		pipeline.Step4(report.Info(), nil, handoff.InventoryKey, handoff.SplitKey, handoff.PlanKey, handoff.TargetKey, handoff.ReportKey,
			report.New(templates.Report).Run),
		// Nothing is begun that the target cannot serve.
		admitStage(d),
		// What the host's programs are.
		imagesStage(d),
		// What no program needs by path.
		objectsStage(d),
		// What the volumes start with.
		seedStage(d),
		// The seeds, to where a cluster finds them.
		uploadStage(d),
		// What the cluster is told.
		manifestsStage(d),
		// What fills the volumes, and proves it; in a cluster, what is told it.
		deployStage(d),
		// All of it read back once more, wherever it is.
		verifyStage(d),
	}
}

func sourceStage(d Deps) pipeline.Stage {
	o := source.Options{Spec: d.Source, Checksum: d.Checksum}
	s := pipeline.Step0(source.Info(), o, handoff.SourceKey, source.New(o).Run)
	return pipeline.Recheck(s, handoff.SourceKey, func(ctx context.Context, _ *pipeline.Env, src handoff.Source) (string, error) {
		changed, err := source.Changed(ctx, src)
		if err != nil || !changed {
			return "", err
		}
		return "the source is another one", nil
	})
}

func scanStage(d Deps) pipeline.Stage {
	o := scan.Options{}
	s := pipeline.Step1(scan.Info(), o, handoff.SourceKey, handoff.InventoryKey, scan.New(o, packages(), collectors(d)).Run)
	return pipeline.Recheck(s, handoff.InventoryKey, func(ctx context.Context, env *pipeline.Env, inv handoff.Inventory) (string, error) {
		return scanned(ctx, env, inv, d.LookAgain)
	})
}

// scanned looks at the inventory, and at the source when it was named again.
func scanned(ctx context.Context, env *pipeline.Env, inv handoff.Inventory, lookAgain bool) (stale string, err error) {
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return err.Error(), nil
	}
	defer cat.Close()
	if digest, err := cat.Meta(ctx, catalog.MetaDigest); err != nil || digest != inv.Digest {
		return "inventory.db is another one", nil
	}
	if !lookAgain {
		return "", nil
	}
	src, err := pipeline.Read(env.Workspace, handoff.SourceKey)
	if err != nil {
		return "", err
	}
	changed, err := scan.Changed(ctx, src.Root, env.Workspace, cat)
	if err != nil || !changed {
		return "", err
	}
	return "the source changed", nil
}

func splitStage(d Deps) pipeline.Stage {
	o := split.Options{Decisions: d.Decisions.ForSplit()}
	s := pipeline.Step2(split.Info(), o, handoff.SourceKey, handoff.InventoryKey, handoff.SplitKey, split.New(o, d.Profiles, d.Rules).Run)
	return pipeline.Recheck(s, handoff.SplitKey, func(ctx context.Context, env *pipeline.Env, done handoff.Split) (string, error) {
		cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
		if err != nil {
			return "", err
		}
		defer cat.Close()
		if digest, err := cat.Meta(ctx, catalog.MetaPlacements); err != nil || digest != done.Digest {
			return "the classes in inventory.db are others", err
		}
		return "", nil
	})
}

func targetStage(d Deps) pipeline.Stage {
	o := target.Options{Context: d.Context}
	if o.Context != "" {
		o.Namespace = cmp.Or(d.Namespace, d.Decisions.Namespace)
	}
	t := target.New(o, templates.Drivers())
	s := pipeline.Step0(target.Info(), o, handoff.TargetKey, t.Run)
	if o.Context == "" {
		return s
	}
	s.Effects |= pipeline.Cluster
	return pipeline.Recheck(s, handoff.TargetKey, t.Recheck)
}

func planStage(d Deps) pipeline.Stage {
	o := plan.Options{Decisions: d.Decisions.ForPlan()}
	if d.Context != "" {
		o.CopierArch = d.CopierArch
	}
	return pipeline.Step4(plan.Info(), o, handoff.SourceKey, handoff.InventoryKey, handoff.SplitKey, handoff.TargetKey, handoff.PlanKey, plan.New(o, d.Profiles, d.Rules).Run)
}

func admitStage(d Deps) pipeline.Stage {
	o := admit.Options{Hold: d.Hold, Backup: d.Quiesce}
	s := pipeline.Step3(admit.Info(), o, handoff.PlanKey, handoff.TargetKey, handoff.SourceKey, handoff.AdmitKey, admit.New(o).WithBackups(askBackup(d)).Run)
	s = pipeline.Part(s, handoff.PlanKey, func(p handoff.Plan) any { return []any{p.Blocks, p.Databases} })
	return pipeline.Part(s, handoff.TargetKey, func(t handoff.Target) any { return []string{t.Context, t.Namespace} })
}

func imagesStage(d Deps) pipeline.Stage {
	o := images.Options{
		Registry: d.Registry, Tool: d.Version, Talk: d.talk(),
		Tag: d.Decisions.Images.Tag, Labels: d.Decisions.Images.Labels,
	}
	s := pipeline.Step3(images.Info(), o, handoff.SourceKey, handoff.SplitKey, handoff.PlanKey, handoff.ImagesKey, images.New(o).Run)
	s = pipeline.Recheck(s, handoff.ImagesKey, func(ctx context.Context, env *pipeline.Env, out handoff.Images) (string, error) {
		plan, err := pipeline.Read(env.Workspace, handoff.PlanKey)
		if err != nil {
			return "", err
		}
		return images.New(o).Recheck(ctx, env, plan, out)
	})
	if d.Registry != "" {
		s.Effects |= pipeline.Registry
	}
	// Sizes of volumes, questions and the like change no image.
	s = pipeline.Part(s, handoff.PlanKey, func(p handoff.Plan) any { return []any{p.Name, p.Host, p.Workloads} })
	return pipeline.Part(s, handoff.SplitKey, func(s handoff.Split) any { return s.Classes[claim.Image] })
}

func objectsStage(d Deps) pipeline.Stage {
	o := objects.Options{Store: d.Store, Hold: d.Hold}
	s := pipeline.Step2(objects.Info(), o, handoff.SourceKey, handoff.PlanKey, handoff.ObjectsKey, objects.New(o, d.openStore).Run)
	s = pipeline.Recheck(s, handoff.ObjectsKey, objects.New(o, d.openStore).Recheck)
	if d.Store != "" {
		s.Effects |= pipeline.Bucket
	}
	s = pipeline.Part(s, handoff.PlanKey, func(handoff.Plan) any { return nil })
	return pipeline.Part(pipeline.After(s, handoff.SplitKey), handoff.SplitKey, func(s handoff.Split) any { return s.Classes[claim.Object] })
}

func seedStage(d Deps) pipeline.Stage {
	o := seed.Options{Hold: d.Hold, Backup: d.Quiesce}
	s := pipeline.Step2(seed.Info(), o, handoff.PlanKey, handoff.SourceKey, handoff.SeedsKey, seed.New(o).WithBackups(backupTaker(d)).Run)
	if o.Backup {
		s.Effects |= pipeline.Source
	}
	s = pipeline.Recheck(s, handoff.SeedsKey, seed.Missing)
	s = pipeline.Part(s, handoff.PlanKey, volumesOf)
	return pipeline.Part(pipeline.After(s, handoff.SplitKey), handoff.SplitKey, func(s handoff.Split) any { return s.Classes[claim.Volume] })
}

func manifestsStage(d Deps) pipeline.Stage {
	o := manifests.Options{Shards: d.Shards, Hold: d.Hold, Store: d.Store, Cluster: d.Context != ""}
	s := pipeline.Step5(manifests.Info(), o, handoff.SourceKey, handoff.PlanKey, handoff.ImagesKey, handoff.SeedsKey, handoff.UploadKey, handoff.ManifestsKey, manifests.New(o).Run)
	s = pipeline.Recheck(s, handoff.ManifestsKey, manifests.New(o).Recheck)
	s = pipeline.After(s, handoff.ObjectsKey)
	// The content of configuration is read at the source: it counts, too.
	return pipeline.Part(pipeline.After(s, handoff.SplitKey), handoff.SplitKey, func(s handoff.Split) any {
		return []string{s.Classes[claim.Config], s.Classes[claim.Secret]}
	})
}

func deployStage(d Deps) pipeline.Stage {
	if d.Context != "" {
		return installStage(d)
	}
	o := deploy.Options{}
	s := pipeline.Step2(deploy.Info(), o, handoff.PlanKey, handoff.SeedsKey, handoff.CopiesKey, deploy.New(o).Run)
	s = pipeline.Recheck(s, handoff.CopiesKey, func(ctx context.Context, env *pipeline.Env, out handoff.Copies) (string, error) {
		plan, err := pipeline.Read(env.Workspace, handoff.PlanKey)
		if err != nil {
			return "", err
		}
		return deploy.New(o).Recheck(ctx, env, plan, out)
	})
	return pipeline.Part(s, handoff.PlanKey, volumesOf)
}

func verifyStage(d Deps) pipeline.Stage {
	o := verify.Options{Store: d.Store, Talk: d.talk(), Volumes: d.ProveVolumes, Hold: d.Hold}
	v := verify.New(o, d.openStore)
	s := pipeline.Step0(verify.Info(), o, handoff.VerdictsKey, func(ctx context.Context, env *pipeline.Env) (handoff.Verdicts, error) {
		made, err := verify.ReadMade(env.Workspace)
		if err != nil {
			return handoff.Verdicts{}, err
		}
		return v.Run(ctx, env, made)
	})
	s = pipeline.After(s, handoff.SplitKey)
	s = pipeline.After(s, handoff.PlanKey)
	s = pipeline.After(s, handoff.ImagesKey)
	s = pipeline.After(s, handoff.ObjectsKey)
	s = pipeline.After(s, handoff.SeedsKey)
	s = pipeline.After(s, handoff.ManifestsKey)
	s = pipeline.After(s, handoff.CopiesKey)
	made := s.Reads
	return pipeline.Recheck(s, handoff.VerdictsKey, func(_ context.Context, env *pipeline.Env, out handoff.Verdicts) (string, error) {
		if !out.Proved {
			return "not everything was proved the last time", nil
		}
		return pipeline.MadeSince(env.Workspace, handoff.VerdictsKey, made...)
	})
}

func volumesOf(p handoff.Plan) any { return p.Volumes }
