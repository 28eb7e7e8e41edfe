package cluster

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// Seize sets fields of the spec of an object that is there, whoever had set them,
// and owns them from then on as that field manager (server-side apply with
// force). Fields that the manager set before and spec does not have, it gives up.
func (c *Cluster) Seize(ctx context.Context, ref Ref, spec map[string]any, manager string) error {
	api, err := c.resource(ref)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": ref.APIVersion, "kind": ref.Kind,
		"metadata": map[string]any{"name": ref.Name, "namespace": ref.Namespace},
		"spec":     spec,
	}}
	err = c.retry(ctx, func() error {
		_, err := api.Apply(ctx, ref.Name, u, metav1.ApplyOptions{FieldManager: manager, Force: true})
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	return nil
}

// SeizedBy reports whether that field manager has set something of the object.
func SeizedBy(u *unstructured.Unstructured, manager string) bool {
	for _, m := range u.GetManagedFields() {
		if m.Manager == manager {
			return true
		}
	}
	return false
}

// Jobs lists those with the labels.
func (c *Cluster) Jobs(ctx context.Context, match map[string]string) ([]batchv1.Job, error) {
	var list *batchv1.JobList
	err := c.retry(ctx, func() (err error) {
		list, err = c.Client.BatchV1().Jobs(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(match).String()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the Jobs of %s: %w", c, err)
	}
	return list.Items, nil
}
