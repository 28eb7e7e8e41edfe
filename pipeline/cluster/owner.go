package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Owner makes and removes objects in the name of one workspace: what it makes
// carries the label of the workspace, and is recorded before it is made.
type Owner struct {
	*Cluster
	Made      *Made
	Workspace string // its identity, see WorkspaceLabel
	Log       *slog.Logger
	// Patience is how long the end of an object is waited for.
	Patience time.Duration
}

// Apply records an object, applies it as [Cluster.Apply] does and records what
// it became.
func (o *Owner) Apply(ctx context.Context, u *unstructured.Unstructured) (Applied, error) {
	t := o.thing(u)
	if old, ok := o.Made.Find(t.Context, t.Ref); ok {
		t.Brief = old.Brief
	}
	return o.apply(ctx, u, t)
}

// ApplyBriefly is Apply for what is there for a run only: [Owner.RemoveBrief]
// removes it, also when the run was killed.
func (o *Owner) ApplyBriefly(ctx context.Context, u *unstructured.Unstructured) (Applied, error) {
	t := o.thing(u)
	t.Brief = true
	return o.apply(ctx, u, t)
}

func (o *Owner) apply(ctx context.Context, u *unstructured.Unstructured, t Thing) (Applied, error) {
	if err := o.Made.Begin(ctx, t); err != nil {
		return Applied{}, err
	}
	done, err := o.Cluster.Apply(ctx, u, o.Workspace)
	if err != nil {
		return done, Explain(o.Context, err)
	}
	if done.Changed {
		o.Log.Debug("applied", "object", t.String(), "created", done.Created)
	}
	t.UID = done.UID
	return done, o.Made.Confirm(ctx, t)
}

func (o *Owner) thing(u *unstructured.Unstructured) Thing {
	return Thing{Ref: RefOf(u), Context: o.Context}
}

// Owns reports whether an object is this workspace's.
func (o *Owner) Owns(u *unstructured.Unstructured) bool {
	return u != nil && u.GetLabels()[WorkspaceLabel] == o.Workspace
}

// Remove removes an object of this workspace, waits until it is gone and forgets
// it. That it is gone already, or another one's, is no error.
func (o *Owner) Remove(ctx context.Context, ref Ref) error {
	live, err := o.Live(ctx, ref)
	if err != nil {
		return fmt.Errorf("%s is still there: %w", ref, err)
	}
	if o.Owns(live) {
		err := o.Cluster.Remove(ctx, ref, live.GetUID())
		if err == nil {
			err = o.Gone(ctx, ref, live.GetUID(), o.Patience)
		}
		if err != nil {
			return fmt.Errorf("%s is still there: %w", ref, err)
		}
	}
	return o.Made.Forget(ctx, Thing{Ref: ref, Context: o.Context})
}

// RemoveBrief removes what is there for a run only, also what an earlier one
// left.
func (o *Owner) RemoveBrief(ctx context.Context) error {
	var errs []error
	for _, t := range o.Made.All() {
		if t.Brief && t.Context == o.Context {
			errs = append(errs, o.Remove(ctx, t.Ref))
		}
	}
	return errors.Join(errs...)
}
