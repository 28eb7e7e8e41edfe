package install

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/cluster"
)

// carrierSecret is the part of the plan's names for the credentials with which
// the copies read their seeds.
const carrierSecret = "carrier"

// carrierVariables are what `statelift copy` reads, see there.
func carrierVariables() []string {
	return []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "DOCKER_AUTH_CONFIG"}
}

// giveCredentials makes the Secret of this run, when there is anything for it.
func (r *run) giveCredentials(ctx context.Context) error {
	values := map[string]any{}
	for _, name := range carrierVariables() {
		if v := r.options.Environment(name); v != "" {
			values[name] = v
		}
	}
	if len(values) == 0 {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": values,
		"metadata": map[string]any{
			"name": r.plan.ObjectName(carrierSecret), "namespace": r.cluster.Namespace,
			"labels": map[string]any{"app.kubernetes.io/managed-by": "statelift", "app.kubernetes.io/instance": r.plan.Name, "app.kubernetes.io/part-of": r.plan.Name},
		},
	}}
	t := r.thing(u)
	t.Brief = true
	_, err := r.applyThing(ctx, u, t)
	return err
}

// removeBrief removes what is there for a run only, also what an earlier one
// left.
func (r *run) removeBrief(ctx context.Context) error {
	for _, t := range r.made.All() {
		if !t.Brief || t.Context != r.cluster.Context {
			continue
		}
		live, err := r.cluster.Live(ctx, t.Ref)
		if err != nil {
			return fmt.Errorf("credentials of the run are still there: %w", err)
		}
		if live != nil && live.GetLabels()[cluster.WorkspaceLabel] == r.identity {
			if err := r.cluster.Remove(ctx, t.Ref, live.GetUID()); err != nil {
				return fmt.Errorf("credentials of the run are still there: %w", err)
			}
		}
		if err := r.made.Forget(ctx, t); err != nil {
			return err
		}
	}
	return nil
}
