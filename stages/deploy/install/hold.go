package install

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/fence"
)

func (r *run) fence() *fence.Fence {
	return &fence.Fence{Owner: r.owner, Plan: r.plan, Log: r.Log, Waiter: r.jobs.Waiter}
}

// hold has the fence hold what runs, before anything is written to a volume. A
// fence that was released stays so: the truth is in the cluster.
func (r *run) hold(ctx context.Context) error {
	if !r.options.Hold {
		return nil
	}
	released, err := fence.Released(ctx, r.cluster, r.plan)
	if err != nil || released {
		return err
	}
	r.held = true
	return r.fence().Hold(ctx)
}

// applyWorkloads applies what runs. How many Pods there are is the fence's to say
// where it has said so.
func (r *run) applyWorkloads(ctx context.Context) error {
	for _, u := range r.objects.workloads {
		as, err := r.fenced(ctx, u)
		if err != nil {
			return err
		}
		if _, err := r.owner.Apply(ctx, as); err != nil {
			return err
		}
	}
	switch {
	case r.held:
		return r.fence().Hold(ctx)
	case !r.options.Hold:
		return r.fence().Unhold(ctx)
	}
	return nil
}

// fenced is a workload as it is to be applied: one that is new and held begins at
// zero, and what the fence has said of one that is there is left as it is.
func (r *run) fenced(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	field := fence.Field(u.GetKind())
	if field == "" {
		return u, nil
	}
	live, err := r.cluster.Live(ctx, cluster.RefOf(u))
	if err != nil {
		return nil, cluster.Explain(r.cluster.Context, err)
	}
	value, there := fence.At(u.GetKind(), true), false
	if live != nil {
		there = cluster.SeizedBy(live, fence.Manager)
		value, _, err = unstructured.NestedFieldCopy(live.Object, "spec", field)
	}
	if err != nil || live == nil && !r.held || live != nil && !there {
		return u, err
	}
	u = u.DeepCopy()
	return u, unstructured.SetNestedField(u.Object, value, "spec", field)
}

// serve waits until the workloads do, those of a held lift excepted.
func (r *run) serve(ctx context.Context) error {
	if r.held {
		r.Log.Info("the workloads are held at zero: the source still serves", "fence", "ConfigMap "+fence.ConfigMap(r.plan))
		return nil
	}
	var list []*unstructured.Unstructured
	for _, u := range r.objects.workloads {
		live, err := r.cluster.Live(ctx, cluster.RefOf(u))
		if err != nil {
			return cluster.Explain(r.cluster.Context, err)
		}
		if live != nil {
			list = append(list, live)
		}
	}
	return r.jobs.Workloads(ctx, list)
}

// scaled says which workload of a held lift is not at zero: somebody has scaled
// it up by hand.
func (r *run) scaled(ctx context.Context, u *unstructured.Unstructured) (string, error) {
	field := fence.Field(u.GetKind())
	if !r.held || field == "" {
		return "", nil
	}
	live, err := r.cluster.Live(ctx, cluster.RefOf(u))
	if err != nil || live == nil {
		return "", err
	}
	value, _, err := unstructured.NestedFieldNoCopy(live.Object, "spec", field)
	if err == nil && value != fence.At(u.GetKind(), true) {
		return fmt.Sprintf("%s is held, and somebody has set its %s to %v", cluster.RefOf(u), field, value), nil
	}
	return "", err
}
