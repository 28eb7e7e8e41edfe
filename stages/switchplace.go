package stages

import (
	"cmp"
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/handoff"
)

// at are the dependencies for a switch that was begun: another context or namespace
// in the workspace or in the kubeconfig by now is not where its workloads are. What
// looks for them elsewhere finds nothing that serves, and would start the source
// beside them.
func (d Deps) at(j handoff.Switch) Deps {
	if j.Into == nil || j.State == "" || j.State == handoff.SwitchReturned {
		return d
	}
	d.Context, d.Namespace = j.Into.Context, j.Into.Namespace
	return d
}

// place is where the workloads are.
func (f *far) place(ctx context.Context) (handoff.SwitchPlace, error) {
	if f.rehearsal() {
		return handoff.SwitchPlace{}, nil
	}
	c, err := f.connect()
	if err != nil {
		return handoff.SwitchPlace{}, err
	}
	uid, err := clusterUID(ctx, c)
	return handoff.SwitchPlace{Context: c.Context, Namespace: c.Namespace, Cluster: uid}, err
}

// same reports a cluster that is not the one in which the switch was begun: the
// kubeconfig leads elsewhere by now.
func (f *far) same(ctx context.Context, c *cluster.Cluster) error {
	j, err := journal{f.runner.Env.Workspace}.Read()
	if err != nil || j.Into == nil || j.Into.Cluster == "" || j.State == "" || j.State == handoff.SwitchReturned {
		return err
	}
	now, err := clusterUID(ctx, c)
	if err != nil {
		return err
	}
	if now = cmp.Or(now, j.Into.Cluster); now != j.Into.Cluster {
		return fmt.Errorf("context %s leads to another cluster (%s) than the one that the switch was begun in (%s): mend the kubeconfig", c.Context, now, j.Into.Cluster)
	}
	return nil
}

// clusterUID tells one cluster from another; it is "" when it may not be asked for.
func clusterUID(ctx context.Context, c *cluster.Cluster) (string, error) {
	live, err := c.Live(ctx, cluster.Ref{APIVersion: "v1", Kind: "Namespace", Name: "kube-system"})
	switch {
	case apierrors.IsForbidden(err) || err == nil && live == nil:
		return "", nil
	case err != nil:
		return "", cluster.Explain(c.Context, err)
	}
	return string(live.GetUID()), nil
}
