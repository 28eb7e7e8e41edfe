package install

import (
	"context"
	"encoding/base64"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/layer/registry"
)

// The parts of the plan's names for Secrets that are no manifests: with which
// the copies read their seeds, and with which nodes pull the images.
const (
	carrierSecret = "carrier"
	pullSecret    = "pull"
)

// registryLogin is the document for the registry of the images; "" when it is
// used without credentials.
func (r *run) registryLogin(ctx context.Context) (string, error) {
	if r.options.Registry == "" {
		return "", nil
	}
	reg, err := registry.Open(r.options.Registry, registry.Options{Environment: r.options.Environment})
	if err != nil {
		return "", err
	}
	return reg.Credentials(ctx)
}

// usePullSecret adds the Secret with which nodes pull the images to what is
// applied, and its name to every account. It stays for as long as the workloads:
// each node that starts a Pod needs it.
func (r *run) usePullSecret(ctx context.Context) error {
	login, err := r.registryLogin(ctx)
	if err != nil || login == "" {
		return err
	}
	name := r.plan.ObjectName(pullSecret)
	secret := r.newSecret(name, "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": login})
	r.objects.config = append([]*unstructured.Unstructured{secret}, r.objects.config...)
	for _, u := range r.objects.config {
		if u.GetKind() != "ServiceAccount" {
			continue
		}
		if err := unstructured.SetNestedSlice(u.Object, []any{map[string]any{"name": name}}, "imagePullSecrets"); err != nil {
			return fmt.Errorf("%s: %w", cluster.RefOf(u), err)
		}
	}
	return nil
}

func (r *run) newSecret(name, kind string, values map[string]string) *unstructured.Unstructured {
	data := map[string]any{}
	for k, v := range values {
		data[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": kind, "data": data,
		"metadata": map[string]any{
			"name": name, "namespace": r.cluster.Namespace,
			"labels": map[string]any{
				"app.kubernetes.io/managed-by": "statelift", "app.kubernetes.io/instance": r.plan.Name, "app.kubernetes.io/part-of": r.plan.Name,
			},
		},
	}}
}

// giveCredentials makes the Secret of this run, when the carrier wants
// credentials.
func (r *run) giveCredentials(ctx context.Context) error {
	place, err := carrier.ParsePlace(r.upload.Seeds)
	if err != nil {
		return err
	}
	values, err := carrier.Credentials(ctx, place, carrier.Options{Environment: r.options.Environment})
	if err != nil || len(values) == 0 {
		return err
	}
	u := r.newSecret(r.plan.ObjectName(carrierSecret), "Opaque", values)
	t := r.thing(u)
	t.Brief = true
	_, err = r.applyThing(ctx, u, t)
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
