package cluster

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/handoff"
)

// nodes reads where Pods can run.
func (c *Cluster) nodes(ctx context.Context) ([]handoff.Node, error) {
	var list *corev1.NodeList
	err := c.retry(ctx, func() (err error) {
		list, err = c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	})
	if ok, err := readable("nodes", err); !ok {
		return nil, err
	}
	var out []handoff.Node
	for _, n := range list.Items {
		out = append(out, describeNode(n))
	}
	slices.SortFunc(out, func(a, b handoff.Node) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func describeNode(n corev1.Node) handoff.Node {
	out := handoff.Node{
		Name: n.Name, Arch: n.Status.NodeInfo.Architecture, OS: n.Status.NodeInfo.OperatingSystem,
		CPU: n.Status.Allocatable.Cpu().MilliValue(),
		// A kubelet that starts again may find some pages more or less.
		Memory: n.Status.Allocatable.Memory().Value() >> 20 << 20,
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			out.Ready = condition.Status == corev1.ConditionTrue
		}
	}
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectPreferNoSchedule {
			continue
		}
		out.Taints = append(out.Taints, t.ToString())
	}
	slices.Sort(out.Taints)
	return out
}
