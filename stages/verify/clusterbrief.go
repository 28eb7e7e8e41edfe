package verify

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/cluster"
)

// carrierSecret is the part of the plan's names for the credentials with which
// Jobs read the seeds (see the manifests of the copies).
const carrierSecret = "carrier"

// patience is how long the end of an object is waited for.
const patience = time.Minute

// giveCredentials makes the Secret that the Jobs read, when the seeds are where
// credentials are asked for.
func (p prover) giveCredentials(ctx context.Context) error {
	place, err := carrier.ParsePlace(p.run.made.Upload.Seeds)
	if err != nil {
		return fmt.Errorf("seeds: %w", err)
	}
	variables, err := carrier.Credentials(ctx, place, carrier.Options{})
	if err != nil {
		return fmt.Errorf("credentials for the checks: %w", err)
	}
	if len(variables) == 0 {
		return nil
	}
	values := map[string]any{}
	for name, value := range variables {
		values[name] = value
	}
	plan := p.run.made.Plan
	_, err = p.apply(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": values,
		"metadata": map[string]any{
			"name": plan.ObjectName(carrierSecret), "namespace": p.cluster.Namespace,
			"labels": map[string]any{"app.kubernetes.io/managed-by": "statelift", "app.kubernetes.io/instance": plan.Name, "app.kubernetes.io/part-of": plan.Name},
		},
	}})
	return err
}

// apply records an object, makes it and records what it became. It is there for
// this run only.
func (p prover) apply(ctx context.Context, u *unstructured.Unstructured) (cluster.Applied, error) {
	t := cluster.Thing{Ref: cluster.RefOf(u), Context: p.cluster.Context, Brief: true}
	if err := p.made.Begin(ctx, t); err != nil {
		return cluster.Applied{}, err
	}
	done, err := p.cluster.Apply(ctx, u, p.identity)
	if err != nil {
		return done, cluster.Explain(p.cluster.Context, err)
	}
	t.UID = done.UID
	return done, p.made.Confirm(ctx, t)
}

// remove takes an object away and waits for its end.
func (p prover) remove(ctx context.Context, t cluster.Thing) error {
	live, err := p.cluster.Live(ctx, t.Ref)
	if err != nil {
		return fmt.Errorf("%s is still there: %w", t, err)
	}
	if live != nil && live.GetLabels()[cluster.WorkspaceLabel] == p.identity {
		if err := p.cluster.Remove(ctx, t.Ref, live.GetUID()); err != nil {
			return fmt.Errorf("%s is still there: %w", t, err)
		}
		if err := p.cluster.Gone(ctx, t.Ref, live.GetUID(), patience); err != nil {
			return fmt.Errorf("%s is still there: %w", t, err)
		}
	}
	return p.made.Forget(ctx, t)
}

// tidy removes all that was made for a check, also by a run that was killed.
func (p prover) tidy(ctx context.Context) error {
	for _, t := range p.made.All() {
		if t.Context != p.cluster.Context {
			continue
		}
		if err := p.remove(ctx, t); err != nil {
			return err
		}
	}
	return nil
}
