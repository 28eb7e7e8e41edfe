package install

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/cluster/copyjob"
)

// behind are the volumes that hold the seed, or an earlier round, and not the
// newest one: they were filled anew since. What an application has written to is
// not brought back.
func (r *run) behind(ctx context.Context, list []*volume) ([]*volume, error) {
	var out []*volume
	for _, v := range list {
		if v.job == nil || v.state.Served || !v.state.Proved() {
			continue
		}
		l, err := r.open(ctx, v)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(v.state.Receipt.Deltas, l.Digests()) {
			out = append(out, v)
		}
	}
	return out, nil
}

// update brings volumes up to the newest round, several at once.
func (r *run) update(ctx context.Context, list []*volume) error {
	list, err := r.behind(ctx, list)
	if err != nil || len(list) == 0 {
		return err
	}
	if err := r.Workspace.Overwrites(); err != nil {
		return err
	}
	if err := r.jobs.GiveCredentials(ctx, r.plan, r.upload.Seeds, r.options.Environment); err != nil {
		return err
	}
	var bytes int64
	for _, v := range list {
		bytes += v.seed.Bytes
	}
	r.Progress.Begin("rounds", "bytes", bytes)
	defer r.Progress.End()
	errs := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(r.options.Parallel)
	for i, v := range list {
		group.Go(func() error {
			if errs[i] = r.updateOne(ctx, v); errs[i] != nil {
				errs[i] = fmt.Errorf("volume %s: %w", v.Name, errs[i])
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return join(errs)
}

func (r *run) updateOne(ctx context.Context, v *volume) error {
	job, err := r.jobs.Update(copyjob.Update{
		Plan: r.plan, Workspace: r.Workspace, Manifests: r.manifests, Volume: v.Name, Seed: v.seed.Digest, Deltas: v.lineage.Digests(), Last: *v.state.Receipt,
		Accept: v.lineage.Accept,
	})
	if err != nil {
		return err
	}
	job.Known = v.state.Round
	job.Started = func(ctx context.Context, uid types.UID) error {
		v.state.Round = uid
		return r.keep(ctx, v)
	}
	receipt, took, err := r.jobs.Receipt(ctx, job)
	if err != nil {
		return err
	}
	v.state.Receipt = &receipt
	r.Progress.Add(v.seed.Bytes)
	r.Log.Info("volume is as after the last round", "volume", v.Name, "proved", receipt.Proved, "took", took)
	return r.keep(ctx, v)
}
