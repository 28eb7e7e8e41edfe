package seed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/hotbackup"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "seed",
		Summary: "packs what every volume starts with, by digest",
		Effects: pipeline.Local,
		Resumes: "a blob that was made is not made again",
		Version: 2,
	}
}

// Options decide about the result.
type Options struct {
	Limits seed.Limits `json:"limits,omitzero"`
	// Hold says that no workload starts with these seeds before a sync round: what
	// changed since the scan is no fault then, the next round brings it.
	Hold bool `json:"hold,omitempty"`
	// Backup says that databases that run are copied by their own means, which the
	// user granted ([pipeline.Source]).
	Backup bool `json:"backup,omitempty"`
}

// Stage is the seed stage.
type Stage struct {
	options Options
	taker   func(*pipeline.Env) (Taker, error)
}

// New makes the stage.
func New(o Options) *Stage { return &Stage{options: o} }

// WithBackups gives the stage what copies databases, for Options.Backup.
func (s *Stage) WithBackups(taker func(*pipeline.Env) (Taker, error)) *Stage {
	s.taker = taker
	return s
}

// Run makes the seeds of all volumes that have one. Files that are not as the
// scan saw them are in no seed, and named in the [*pipeline.Incomplete] that it
// then returns beside the hand-off.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, plan handoff.Plan, source handoff.Source) (_ handoff.Seeds, err error) {
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return handoff.Seeds{}, err
	}
	defer cat.Close()
	root, err := rootfs.Open(source.Root)
	if err != nil {
		return handoff.Seeds{}, err
	}
	defer root.Close()
	layout, err := oci.Create(env.Workspace.Path(workspace.Seeds))
	if err != nil {
		return handoff.Seeds{}, err
	}
	r := &run{Env: env, options: s.options, cat: cat, root: root, layout: layout, volumes: plan.Volumes}
	r.out = handoff.Seeds{Layout: workspace.Seeds, Seeds: []handoff.Seed{}}
	if s.options.Backup {
		if r.taker, err = s.taker(env); err != nil {
			return handoff.Seeds{}, err
		}
		defer func() {
			if r.backups != nil {
				err = errors.Join(err, r.taker.Remove(context.WithoutCancel(ctx)))
			}
		}()
		if err := r.takeBackups(ctx, plan); err != nil {
			return handoff.Seeds{}, err
		}
	}
	env.Progress.Begin("seeds", "bytes", total(plan.Volumes))
	defer env.Progress.End()
	for _, v := range plan.Volumes {
		if !v.Seed {
			continue
		}
		if err := r.volume(ctx, v); err != nil {
			return handoff.Seeds{}, err
		}
	}
	if err := r.finish(ctx); err != nil {
		return handoff.Seeds{}, err
	}
	r.account()
	if r.later > 0 {
		env.Log.Info("the source goes on: what changed since the scan comes with the next sync", "paths", r.later)
	}
	if len(r.changed) > 0 {
		return r.out, &pipeline.Incomplete{Because: r.changed}
	}
	return r.out, nil
}

func total(volumes []handoff.Volume) (n int64) {
	for _, v := range volumes {
		if v.Seed {
			n += v.Bytes
		}
	}
	return n
}

// run is one run of the stage.
type run struct {
	*pipeline.Env
	options Options
	cat     *catalog.Catalog
	root    *rootfs.Root
	layout  *oci.Layout
	volumes []handoff.Volume

	out       handoff.Seeds
	manifests []oci.Descriptor
	changed   []string
	later     int64 // paths that the next round brings

	taker   Taker
	backups *hotbackup.Overlay // nil when no database was copied
}

func (r *run) volume(ctx context.Context, v handoff.Volume) error {
	from := seed.Source(r.root)
	if r.backups != nil {
		from = r.backups
	}
	kept, err := delta.Record(ctx, r.Workspace.Path(workspace.Rounds, v.Name), from, v.Path)
	if err != nil {
		return err
	}
	defer kept.Close()
	list := entries(ctx, r.cat, v, r.volumes, &kept.Scope)
	if r.backups != nil {
		list = r.backups.Entries(ctx, list, func(p hostpath.Path) bool { return kept.Scope.Has(p.Below(v.Path)) })
	}
	built, err := seed.Build(ctx, r.layout, from, list, seed.Options{
		How: r.how(v), Volume: v.Name, Root: v.Path, Workers: runtime.GOMAXPROCS(0), Limits: r.options.Limits,
		Ledger: r.Ledger, Progress: r.Progress.Add, Taken: kept.Taken,
	})
	if err != nil {
		return err
	}
	lost, err := delta.Lost(ctx, r.layout, r.Workspace.Path(workspace.Rounds, v.Name))
	if err != nil {
		return err
	}
	if lost != "" {
		r.Log.Warn("the sync rounds since the seed are dropped, the next one begins with the seed", "volume", v.Name, "because", lost)
		if err := kept.Forget(); err != nil {
			return err
		}
	}
	if err := kept.Commit(built); err != nil {
		return err
	}
	for _, p := range built.Problems {
		if r.options.Hold && (errors.Is(p.Err, seed.ErrChanged) || errors.Is(p.Err, fs.ErrNotExist)) {
			r.later++
			continue
		}
		r.changed = append(r.changed, p.Error())
	}
	if more := built.ProblemCount - int64(len(built.Problems)); more > 0 {
		r.changed = append(r.changed, fmt.Sprintf("%d more files of volume %s could not be taken", more, v.Name))
	}
	r.manifests = append(r.manifests, built.Manifest)
	r.out.Seeds = append(r.out.Seeds, handoff.Seed{
		Volume: v.Name, Digest: string(built.Manifest.Digest), Tree: built.Config.Tree,
		Entries: built.Config.Entries, Files: built.Config.Files, Bytes: built.Config.Bytes,
		Stored: built.Stored, Blobs: built.Blobs,
	})
	r.Log.Info("seed", "volume", v.Name, "entries", built.Config.Entries, "bytes", built.Config.Bytes, "stored", built.Stored)
	return nil
}

// finish names the seeds in the layout, and the deltas since, and drops the blobs
// that none of them uses. Nothing is flushed here: the disk has begun to write, deploy flushes
// before anything is called proved, and what a power cut takes in between is
// found by Missing and by the digests, and made again.
func (r *run) finish(ctx context.Context) error {
	slices.SortFunc(r.manifests, func(a, b oci.Descriptor) int {
		return strings.Compare(a.Annotations[oci.RefName], b.Annotations[oci.RefName])
	})
	used := map[oci.Digest]bool{}
	deltas, err := r.deltas(ctx, used)
	if err != nil {
		return err
	}
	if err := r.layout.SetIndex(slices.Concat(r.manifests, deltas)); err != nil {
		return err
	}
	for _, m := range r.manifests {
		s, err := seed.Open(ctx, r.layout, m)
		if err != nil {
			return err
		}
		for _, d := range s.Blobs() {
			used[d.Digest] = true
		}
	}
	return r.layout.Prune(func(d oci.Digest) bool { return used[d] })
}

// deltas are those of the sync rounds that are based on these very seeds; what
// they use is noted.
func (r *run) deltas(ctx context.Context, used map[oci.Digest]bool) ([]oci.Descriptor, error) {
	var out []oci.Descriptor
	for _, s := range r.out.Seeds {
		base, err := delta.ReadBase(r.Workspace.Path(workspace.Rounds, s.Volume))
		if err != nil {
			return nil, err
		}
		for _, d := range base.Deltas {
			open, err := delta.Open(ctx, r.layout, d)
			if err != nil {
				return nil, err
			}
			for _, b := range open.Blobs() {
				used[b.Digest] = true
			}
			out = append(out, d)
		}
	}
	return out, nil
}

// Missing says which blob of the seeds is not in the layout any more, or has
// another length; "" when all are there. It does not read them.
func Missing(ctx context.Context, env *pipeline.Env, seeds handoff.Seeds) (string, error) {
	layout, err := oci.Open(env.Workspace.Path(seeds.Layout))
	if err != nil {
		return err.Error(), nil //nolint:nilerr // the answer, not a failure
	}
	for _, want := range seeds.Seeds {
		d, err := seed.Find(layout, want.Volume)
		if err != nil {
			return err.Error(), nil //nolint:nilerr // the answer, not a failure
		}
		if string(d.Digest) != want.Digest {
			return fmt.Sprintf("the layout has another seed of volume %s", want.Volume), nil
		}
		s, err := seed.Open(ctx, layout, d)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			return err.Error(), nil //nolint:nilerr // the answer, not a failure
		}
		for _, b := range s.Blobs() {
			if ok, err := layout.Has(ctx, b.Digest, b.Size); err != nil || !ok {
				return fmt.Sprintf("blob %s of volume %s is not there as a whole", b.Digest, want.Volume), err
			}
		}
	}
	return "", nil
}
