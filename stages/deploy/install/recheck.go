package install

import (
	"context"
	"errors"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Recheck asks the cluster whether everything is as an earlier run left it, ""
// when it is. It changes nothing.
func (s *Stage) Recheck(ctx context.Context, env *pipeline.Env, plan handoff.Plan, seeds handoff.Seeds, manifests handoff.Manifests, out handoff.Copies) (stale string, err error) {
	r, err := s.connect(ctx, env, plan, seeds, manifests)
	if err != nil {
		return "", err
	}
	for _, t := range r.made.All() {
		if t.Brief && t.Context == r.cluster.Context {
			return t.String() + " of an earlier run is still there", nil
		}
	}
	if len(out.Transfers) < len(r.objects.transfers) && !r.options.Hold {
		return "databases are not outside the cluster yet", nil
	}
	for _, f := range out.Receipts {
		if _, err := receipts.Newest(env.Workspace, f.Volume); errors.Is(err, receipts.ErrOther) {
			return err.Error(), nil
		} else if err != nil {
			return "", err
		}
	}
	for _, f := range out.Transfers {
		data, err := os.ReadFile(env.Workspace.Path(workspace.Receipts, f.File))
		if errors.Is(err, os.ErrNotExist) || err == nil && oci.Sum(data) != f.SHA256 {
			return fmt.Sprintf("the receipt of volume %s is not there any more, or another one", f.Volume), nil
		}
		if err != nil {
			return "", fmt.Errorf("receipts: %w", err)
		}
	}
	if r.options.Hold {
		released, err := fence.Released(ctx, r.cluster, r.plan)
		if err != nil {
			return "", err
		}
		r.held = !released
	}
	for _, u := range r.objects.all() {
		as, err := r.fenced(ctx, u)
		if err != nil {
			return "", err
		}
		if why, err := r.changed(ctx, as); why != "" || err != nil {
			return why, err
		}
		if why, err := r.scaled(ctx, u); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// changed says what is not as it was with one object.
func (r *run) changed(ctx context.Context, u *unstructured.Unstructured) (string, error) {
	ref := cluster.RefOf(u)
	if u.GetKind() == "Namespace" {
		live, err := r.cluster.Live(ctx, ref)
		if err != nil || live == nil {
			return ref.String() + " is not there", err
		}
		return "", nil
	}
	was, ok := r.made.Find(r.cluster.Context, ref)
	if !ok {
		return ref.String() + " was not made yet", nil
	}
	got, err := r.cluster.Differs(ctx, u, r.owner.Workspace)
	var (
		taken    *cluster.Taken
		leaving  *cluster.Departing
		conflict *cluster.Conflict
	)
	switch {
	case errors.As(err, &taken), errors.As(err, &leaving), errors.As(err, &conflict):
		return err.Error(), nil
	case err != nil:
		return "", cluster.Explain(r.cluster.Context, err)
	case got.Created:
		return ref.String() + " is not there any more", nil
	case got.UID != was.UID:
		return ref.String() + " is another one", nil
	case got.Changed:
		return ref.String() + " is not as it was applied", nil
	}
	return "", nil
}
