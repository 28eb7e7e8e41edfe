package verify

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/fence"
)

// held looks at a lift that waits for its cutover: there is nothing to be asked
// there but whether the fence holds. It is false for a lift that was never held,
// and after the cutover.
func (r *run) held(ctx context.Context, c *cluster.Cluster) (bool, error) {
	if !r.options.Hold {
		return false, nil
	}
	released, err := fence.Released(ctx, c, r.made.Plan)
	if err != nil || released {
		return false, err
	}
	pods, err := c.Pods(ctx, r.made.Plan.Pods())
	if err != nil {
		return false, err
	}
	for i := range pods {
		if begun(&pods[i]) {
			r.check(aFence, c.String(), fmt.Errorf("pod %s has begun although the lift is held: it was made before the fence, or by hand; statelift run holds it", pods[i].Name), "")
			return true, nil
		}
	}
	r.check(aFence, c.String(), nil, "held: no Pod of a workload starts before statelift cutover; the workloads and what they say of their data are not looked at")
	return true, nil
}

// begun reports whether a container of a Pod runs or ran.
func begun(p *corev1.Pod) bool {
	for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
		if s.State.Running != nil || p.Status.Phase == corev1.PodRunning {
			return true
		}
	}
	return false
}
