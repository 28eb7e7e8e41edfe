package copyjob

import (
	"context"
	"encoding/base64"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/handoff"
)

// carrierSecret is the part of the plan's names for the Secret with which the
// copies read their seeds; it is no manifest.
const carrierSecret = "carrier"

// GiveCredentials makes the Secret of this run, when the place of the seeds wants
// credentials. RemoveBrief of its Owner takes it away.
func (r *Runner) GiveCredentials(ctx context.Context, plan handoff.Plan, seeds string, environment func(string) string) error {
	place, err := carrier.ParsePlace(seeds)
	if err != nil {
		return fmt.Errorf("seeds: %w", err)
	}
	values, err := carrier.Credentials(ctx, place, carrier.Options{Environment: environment})
	if err != nil {
		return fmt.Errorf("credentials for the copies: %w", err)
	}
	if len(values) == 0 {
		return nil
	}
	_, err = r.Owner.ApplyBriefly(ctx, Secret(plan, r.Cluster.Namespace, carrierSecret, "Opaque", values))
	return err
}

// Secret is one of the plan's own, of that type.
func Secret(plan handoff.Plan, namespace, part, kind string, values map[string]string) *unstructured.Unstructured {
	data := map[string]any{}
	for k, v := range values {
		data[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": kind, "data": data,
		"metadata": map[string]any{
			"name": plan.ObjectName(part), "namespace": namespace,
			"labels": map[string]any{
				"app.kubernetes.io/managed-by": "statelift", "app.kubernetes.io/instance": plan.Name, "app.kubernetes.io/part-of": plan.Name,
			},
		},
	}}
}
