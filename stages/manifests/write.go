package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// kustomizationFile is what kustomize reads.
const kustomizationFile = "kustomization.yaml"

// order is that in which objects depend on each other.
func order() []string {
	return []string{
		"Namespace", "ServiceAccount", "NetworkPolicy", "ConfigMap", "Secret", "PersistentVolume", "PersistentVolumeClaim", "Job",
		"EndpointSlice", "Service", "StatefulSet", "Deployment", "CronJob",
	}
}

// write puts one object into each file, and removes the files of an earlier run
// that are no more.
func (w *writer) write(dir string) (handoff.Manifests, error) {
	out := handoff.Manifests{Directory: workspace.Manifests}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, fmt.Errorf("manifests: %w", err)
	}
	slices.SortStableFunc(w.objects, func(a, b object) int {
		if a.kind != b.kind {
			return slices.Index(order(), a.kind) - slices.Index(order(), b.kind)
		}
		return strings.Compare(a.name, b.name)
	})
	keep := map[string]bool{kustomizationFile: true}
	var names []string
	for _, o := range w.objects {
		data, err := render(o)
		if err != nil {
			return out, err
		}
		name := strings.ToLower(o.kind) + "-" + o.name + ".yaml"
		if keep[name] {
			return out, fmt.Errorf("manifests: two objects are %s %s", o.kind, o.name)
		}
		perm := os.FileMode(0o644)
		if o.secret {
			perm = 0o600
		}
		if err := atomicfile.Write(filepath.Join(dir, name), data, perm); err != nil {
			return out, err
		}
		keep[name] = true
		names = append(names, name)
		out.Files = append(out.Files, handoff.ManifestFile{Name: name, Kind: o.kind, Object: o.name, SHA256: sum(data), Sensitive: o.secret})
	}
	data, err := w.kustomization(names)
	if err != nil {
		return out, err
	}
	if err := atomicfile.Write(filepath.Join(dir, kustomizationFile), data, 0o644); err != nil {
		return out, err
	}
	first := handoff.ManifestFile{Name: kustomizationFile, Kind: "Kustomization", Object: w.plan.Name, SHA256: sum(data)}
	out.Files = append([]handoff.ManifestFile{first}, out.Files...)
	return out, removeOthers(dir, keep)
}

func removeOthers(dir string, keep map[string]bool) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	var errs []error
	for _, d := range list {
		if !keep[d.Name()] && d.Type().IsRegular() && (strings.HasSuffix(d.Name(), ".yaml") || strings.HasPrefix(d.Name(), ".tmp-")) {
			errs = append(errs, os.Remove(filepath.Join(dir, d.Name())))
		}
	}
	return errors.Join(errs...)
}

// render writes an object as people would: sorted keys, and nothing that is
// empty because Go has a value for it.
func render(o object) ([]byte, error) {
	data, err := json.Marshal(o.value)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.kind, o.name, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var doc map[string]any
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.kind, o.name, err)
	}
	delete(doc, "status")
	dropTimestamps(doc)
	if data, err = yaml.Marshal(doc); err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.kind, o.name, err)
	}
	return data, nil
}

// dropTimestamps removes creationTimestamp: null and the empty structs that typed
// values leave behind: resources, strategy and the like. An empty object that
// means something (emptyDir: {}, an egress rule) stays.
func dropTimestamps(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if m, ok := value.(map[string]any); ok && len(m) == 0 && slices.Contains([]string{"resources", "strategy", "updateStrategy", "metadata", "securityContext", "spec"}, key) {
				delete(v, key)
				continue
			}
			if value == nil && key == "creationTimestamp" {
				delete(v, key)
				continue
			}
			dropTimestamps(value)
		}
	case []any:
		for _, e := range v {
			dropTimestamps(e)
		}
	}
}

// kustomizationType is kustomize.config.k8s.io/v1beta1, Kustomization, as far as
// it is used.
type kustomizationType struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Namespace  string   `json:"namespace,omitempty"`
	Resources  []string `json:"resources"`
}

const kustomizationHeader = `# What the host %s becomes. First the volumes, which the copy Jobs fill:
#
#   kubectl apply --server-side -k . -l statelift.io/step=data
#
# Take the copy Jobs out of suspension when their image and the seeds are where
# the cluster finds them (an overlay with "images:" gives names a registry); when
# all are complete, the rest:
#
#   kubectl apply --server-side -k .
#
# The secret-*.yaml files hold the credentials themselves: do not commit them.
`

func (w *writer) kustomization(names []string) ([]byte, error) {
	data, err := yaml.Marshal(kustomizationType{
		APIVersion: "kustomize.config.k8s.io/v1beta1", Kind: "Kustomization", Namespace: w.plan.Namespace, Resources: names,
	})
	if err != nil {
		return nil, fmt.Errorf("kustomization: %w", err)
	}
	return append(fmt.Appendf(nil, kustomizationHeader, w.plan.Name), data...), nil
}
