package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Applied is what came of an apply.
type Applied struct {
	UID types.UID
	// Created and Changed are as the API server tells by the object's resource
	// version; both are false when all was as it should be.
	Created, Changed bool
}

// Taken says that an object of that name is there and is not this workspace's.
type Taken struct {
	Ref
	By string // its workspace or who manages it; "" is unknown
}

func (e *Taken) Error() string {
	by := "not made by this workspace"
	if e.By != "" {
		by = "of " + e.By
	}
	return fmt.Sprintf("%s in namespace %s is there already and is %s: remove it, or give the lift another name or namespace (name:, namespace: in statelift.yaml)", e.Ref, e.Namespace, by)
}

// Departing says that an object of that name is being deleted and keeps the name
// until that has come to its end.
type Departing struct {
	Ref
	Finalizers []string
}

func (e *Departing) Error() string {
	return fmt.Sprintf("%s is being deleted and waits for %s", e.Ref, strings.Join(e.Finalizers, ", "))
}

// Conflict says that somebody else changed fields that statelift had set.
type Conflict struct {
	Ref
	Fields []string // FIELD, by WHOM
}

func (e *Conflict) Error() string {
	return fmt.Sprintf("%s was changed by others since statelift applied it: %s; undo that, or take the change into statelift.yaml", e.Ref, strings.Join(e.Fields, "; "))
}

// Apply brings an object to what u says by server-side apply; everything that
// statelift once said of it and u does not say is removed, what others say stays.
// The object carries the label of the workspace, and only an object that carries
// the same is changed: else the error is *Taken, for one that is on its way out
// *Departing, for fields that others changed *Conflict.
func (c *Cluster) Apply(ctx context.Context, u *unstructured.Unstructured, workspace string) (Applied, error) {
	return c.apply(ctx, u, workspace, nil)
}

// Differs tells whether Apply would change anything, and changes nothing.
func (c *Cluster) Differs(ctx context.Context, u *unstructured.Unstructured, workspace string) (Applied, error) {
	return c.apply(ctx, u, workspace, []string{metav1.DryRunAll})
}

func (c *Cluster) apply(ctx context.Context, u *unstructured.Unstructured, workspace string, dryRun []string) (Applied, error) {
	u = u.DeepCopy()
	label(u, workspace)
	ref := RefOf(u)
	api, err := c.resource(ref)
	if err != nil {
		return Applied{}, err
	}
	old, err := c.Live(ctx, ref)
	if err != nil {
		return Applied{}, err
	}
	if old != nil {
		if err := mine(ref, old, workspace); err != nil {
			return Applied{}, err
		}
	}
	if old == nil && dryRun != nil {
		return Applied{Created: true, Changed: true}, nil
	}
	var got *unstructured.Unstructured
	err = c.retry(ctx, func() (err error) {
		got, err = api.Apply(ctx, ref.Name, u, metav1.ApplyOptions{FieldManager: Manager, DryRun: dryRun})
		return err
	})
	if err != nil {
		return Applied{}, refusal(ref, err)
	}
	out := Applied{UID: got.GetUID(), Created: old == nil || old.GetUID() != got.GetUID()}
	if dryRun == nil {
		out.Changed = out.Created || old.GetResourceVersion() != got.GetResourceVersion()
		return out, nil
	}
	out.Changed = !reflect.DeepEqual(content(old), content(got))
	return out, nil
}

// content is what an object says, without the server's own book-keeping.
func content(u *unstructured.Unstructured) map[string]any {
	u = u.DeepCopy()
	u.SetManagedFields(nil)
	u.SetResourceVersion("")
	u.SetGeneration(0)
	unstructured.RemoveNestedField(u.Object, "status")
	return u.Object
}

func label(u *unstructured.Unstructured, workspace string) {
	labels := u.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[WorkspaceLabel] = workspace
	u.SetLabels(labels)
}

// mine refuses an object of others, and one that is being deleted.
func mine(ref Ref, u *unstructured.Unstructured, workspace string) error {
	labels := u.GetLabels()
	switch of := labels[WorkspaceLabel]; {
	case of == workspace:
	case of != "":
		return &Taken{Ref: ref, By: "workspace " + of}
	default:
		return &Taken{Ref: ref, By: labels["app.kubernetes.io/managed-by"]}
	}
	if u.GetDeletionTimestamp() != nil {
		return &Departing{Ref: ref, Finalizers: u.GetFinalizers()}
	}
	return nil
}

// Live reads an object; nil when there is none.
func (c *Cluster) Live(ctx context.Context, ref Ref) (*unstructured.Unstructured, error) {
	api, err := c.resource(ref)
	if err != nil {
		return nil, err
	}
	var u *unstructured.Unstructured
	err = c.retry(ctx, func() (err error) {
		u, err = api.Get(ctx, ref.Name, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return u, nil
}

// refusal names the fields that others own, when that is why.
func refusal(ref Ref, err error) error {
	var status apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	e := &Conflict{Ref: ref}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			e.Fields = append(e.Fields, cause.Field+" ("+cause.Message+")")
		}
	}
	if len(e.Fields) == 0 {
		return fmt.Errorf("%s: %w", ref, err)
	}
	return e
}
