package install

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/handoff"
)

// copy has one volume filled and proved by its Job, and keeps the receipt in the
// ledger.
func (r *run) copy(ctx context.Context, v *volume) error {
	if err := r.share(ctx, v); err != nil {
		return err
	}
	job := r.job(v, v.job, &v.state.Job)
	job.Accept = func(ctx context.Context, receipt handoff.Receipt) error {
		l, err := r.open(ctx, v)
		if err != nil {
			return err
		}
		return l.AcceptSeed(ctx, receipt)
	}
	receipt, took, err := r.jobs.Receipt(ctx, job)
	if err != nil {
		return err
	}
	v.state.Receipt = &receipt
	r.bar.Done(v.Name)
	r.Log.Info("volume is filled", "volume", v.Name, "proved", receipt.Proved, "files", receipt.Files, "bytes", receipt.Bytes, "took", took)
	return r.keep(ctx, v)
}

// share has a large volume filled by several Pods side by side, if that was asked
// for. The Job after it does what they left and proves all.
func (r *run) share(ctx context.Context, v *volume) error {
	if v.shards == nil || v.state.Shared {
		return nil
	}
	took, err := r.jobs.Complete(ctx, r.job(v, v.shards, &v.state.Shards))
	if err != nil {
		return err
	}
	r.Log.Info("shards have filled the volume", "volume", v.Name, "took", took)
	v.state.Shared = true
	return r.keep(ctx, v)
}

// job is one that fills the volume; known is where the ledger keeps which Job
// that has become.
func (r *run) job(v *volume, object *unstructured.Unstructured, known *types.UID) copyjob.Job {
	return copyjob.Job{
		Object: object, Volume: v.Name, Seed: v.seed.Digest, Known: *known,
		Started: func(ctx context.Context, uid types.UID) error {
			*known = uid
			return r.keep(ctx, v)
		},
		Progress: func(share string, at copyjob.Progress) { r.bar.At(v.Name, share, at) },
	}
}

func (r *run) fillings() copyjob.Fillings {
	return copyjob.Fillings{Ledger: r.Ledger, Cluster: r.cluster}
}

func (r *run) keep(ctx context.Context, v *volume) error {
	return r.fillings().Keep(ctx, v.Name, v.state)
}
