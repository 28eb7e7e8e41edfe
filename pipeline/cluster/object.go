package cluster

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Ref names one object of a cluster.
type Ref struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"` // "" for what no namespace has
	Name       string `json:"name"`
}

// RefOf is the name of an object.
func RefOf(u *unstructured.Unstructured) Ref {
	return Ref{APIVersion: u.GetAPIVersion(), Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
}

// String is KIND NAME.
func (r Ref) String() string { return r.Kind + " " + r.Name }

// Namespaced reports whether objects of that kind live in a namespace.
func (c *Cluster) Namespaced(u *unstructured.Unstructured) (bool, error) {
	m, err := c.mapping(u.GroupVersionKind())
	if err != nil {
		return false, err
	}
	return m.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

func (c *Cluster) mapping(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	m, err := c.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		c.Mapper.Reset()
		m, err = c.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("the cluster has no %s of %s: %w", gvk.Kind, gvk.GroupVersion(), err)
	}
	return m, nil
}

// resource is where objects like the named one are.
func (c *Cluster) resource(r Ref) (dynamic.ResourceInterface, error) {
	m, err := c.mapping(schema.FromAPIVersionAndKind(r.APIVersion, r.Kind))
	if err != nil {
		return nil, err
	}
	if r.Namespace == "" {
		return c.Dynamic.Resource(m.Resource), nil
	}
	return c.Dynamic.Resource(m.Resource).Namespace(r.Namespace), nil
}

// Claims are all claims that the Pods of an object mount.
func Claims(u *unstructured.Unstructured) []string {
	path := []string{"spec", "template", "spec", "volumes"}
	if u.GetKind() == "CronJob" {
		path = append([]string{"spec", "jobTemplate"}, path...)
	}
	list, _, err := unstructured.NestedSlice(u.Object, path...)
	if err != nil {
		return nil
	}
	var out []string
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			continue
		}
		if name, ok, err := unstructured.NestedString(m, "persistentVolumeClaim", "claimName"); ok && err == nil {
			out = append(out, name)
		}
	}
	return out
}
