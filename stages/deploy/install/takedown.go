package install

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/cluster"
)

func join(errs []error) error { return errors.Join(errs...) }

// takeDown removes the workloads that mount a volume which is to be filled: they
// would write to it first. They are applied again when it is proved.
func (r *run) takeDown(ctx context.Context, fill []*volume) error {
	for _, v := range fill {
		if err := r.removeMatching(ctx, r.objects.workloads, v.claim.GetName()); err != nil {
			return err
		}
	}
	return nil
}

// removeUsers removes everything of this lift whose Pods mount the claim, Jobs
// included: a claim stays for as long as there is one.
func (r *run) removeUsers(ctx context.Context, claim string) error {
	if err := r.removeMatching(ctx, r.objects.workloads, claim); err != nil {
		return err
	}
	return r.removeMatching(ctx, r.earlierJobs(), claim)
}

// earlierJobs are the Jobs that this workspace made, also those of earlier plans.
func (r *run) earlierJobs() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, t := range r.made.All() {
		if t.Kind != "Job" || t.Context != r.cluster.Context || t.Namespace != r.cluster.Namespace {
			continue
		}
		u := &unstructured.Unstructured{}
		u.SetAPIVersion(t.APIVersion)
		u.SetKind(t.Kind)
		u.SetNamespace(t.Namespace)
		u.SetName(t.Name)
		out = append(out, u)
	}
	return out
}

func (r *run) removeMatching(ctx context.Context, list []*unstructured.Unstructured, claim string) error {
	for _, u := range list {
		ref := cluster.RefOf(u)
		live, err := r.cluster.Live(ctx, ref)
		if err != nil {
			return err
		}
		if !r.owner.Owns(live) || !slices.Contains(cluster.Claims(live), claim) {
			continue
		}
		r.Log.Info("taken down, since its volume is made anew", "object", ref.String(), "claim", claim)
		if err := r.jobs.Remove(ctx, live); err != nil {
			return err
		}
	}
	return nil
}
