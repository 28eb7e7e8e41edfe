package install

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/layer/registry"
)

// pullSecret is the part of the plan's names for the Secret with which nodes pull
// the images; it is no manifest.
const pullSecret = "pull"

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
	secret := copyjob.Secret(r.plan, r.cluster.Namespace, pullSecret, "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": login})
	r.objects.config = append([]*unstructured.Unstructured{secret}, r.objects.config...)
	for _, u := range r.objects.config {
		if u.GetKind() != "ServiceAccount" {
			continue
		}
		if err := unstructured.SetNestedSlice(u.Object, []any{map[string]any{"name": secret.GetName()}}, "imagePullSecrets"); err != nil {
			return fmt.Errorf("%s: %w", cluster.RefOf(u), err)
		}
	}
	return nil
}
