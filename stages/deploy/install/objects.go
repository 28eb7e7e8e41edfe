package install

import (
	"context"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/transferjob"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
)

// objects are those of manifests/ by when their turn is, each in the order of
// the hand-off, in which they depend on each other.
type objects struct {
	namespace *unstructured.Unstructured
	config    []*unstructured.Unstructured // accounts, policies, ConfigMaps, Secrets, shares
	claims    []*unstructured.Unstructured
	jobs      []*unstructured.Unstructured
	transfers []*unstructured.Unstructured // Jobs that move databases out; made for a run only
	workloads []*unstructured.Unstructured // Services, too
}

// load reads manifests/ as the hand-off says that it is.
func (r *run) load(m handoff.Manifests) (objects, error) {
	var out objects
	for _, f := range m.Files {
		if f.Kind == "Kustomization" {
			continue
		}
		u, err := r.read(m.Directory, f)
		if err != nil {
			return out, err
		}
		switch f.Kind {
		case "Namespace":
			out.namespace = u
		case "PersistentVolumeClaim":
			out.claims = append(out.claims, u)
		case "Job":
			if transferjob.Of(u) != "" {
				out.transfers = append(out.transfers, u)
				continue
			}
			out.jobs = append(out.jobs, u)
		case "Service", "StatefulSet", "Deployment", "CronJob":
			out.workloads = append(out.workloads, u)
		default:
			out.config = append(out.config, u)
		}
	}
	return out, nil
}

// read reads one file, which must be as it was written: what somebody changed is
// not applied behind the back of the plan.
func (r *run) read(dir string, f handoff.ManifestFile) (*unstructured.Unstructured, error) {
	name := r.Workspace.Path(dir, f.Name)
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if oci.Sum(data) != f.SHA256 {
		return nil, fmt.Errorf("%s was changed by hand: say it in statelift.yaml, remove the file and run again", name)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, &u.Object); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	namespaced, err := r.cluster.Namespaced(u)
	if err != nil {
		return nil, cluster.Explain(r.cluster.Context, err)
	}
	if namespaced {
		u.SetNamespace(r.cluster.Namespace)
	}
	return u, nil
}

// all lists every object that the plan wants, in order.
func (o objects) all() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	if o.namespace != nil {
		out = append(out, o.namespace)
	}
	for _, part := range [][]*unstructured.Unstructured{o.config, o.claims, o.jobs, o.workloads} {
		out = append(out, part...)
	}
	return out
}

// applyAll applies objects one after the other.
func (r *run) applyAll(ctx context.Context, list []*unstructured.Unstructured) error {
	for _, u := range list {
		if _, err := r.owner.Apply(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// namespace makes the namespace when there is none. One that others made is left
// as it is.
func (r *run) namespace(ctx context.Context) error {
	u := r.objects.namespace
	if u == nil || u.GetName() != r.cluster.Namespace {
		u = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
			"name": r.cluster.Namespace, "labels": map[string]any{"app.kubernetes.io/managed-by": "statelift"},
		}}}
		r.objects.namespace = u
	}
	live, err := r.cluster.Live(ctx, cluster.RefOf(u))
	if err != nil {
		return cluster.Explain(r.cluster.Context, err)
	}
	if live != nil && live.GetDeletionTimestamp() != nil {
		r.Log.Info("the namespace is being deleted; waiting for its end", "namespace", live.GetName())
		if err := r.cluster.Gone(ctx, cluster.RefOf(u), live.GetUID(), r.options.Patience); err != nil {
			return err
		}
		live = nil
	}
	if live != nil && !r.owner.Owns(live) {
		r.objects.namespace = nil
		return nil
	}
	_, err = r.owner.Apply(ctx, u)
	return err
}
