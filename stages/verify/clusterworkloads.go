package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/diagnose"
	"github.com/statelift/statelift/pipeline/handoff"
)

// workloads looks at the Pods: whether there are as many as there should be, and
// what their probes say.
func (r *run) workloads(ctx context.Context, c *cluster.Cluster) error {
	for _, w := range r.made.Plan.Workloads {
		detail, err := r.workload(ctx, c, w)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.check(aWorkload, w.Name, err, "%s", detail)
	}
	return nil
}

func (r *run) workload(ctx context.Context, c *cluster.Cluster, w handoff.Workload) (string, error) {
	if w.External != nil {
		return r.external(ctx, c, w)
	}
	name := r.made.Plan.ObjectName(w.Name)
	if w.Kind == handoff.CronJob {
		job, err := c.Client.BatchV1().CronJobs(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("CronJob %s: %w", name, err)
		}
		if job.Spec.Suspend != nil && *job.Spec.Suspend {
			return "", fmt.Errorf("CronJob %s is suspended", name)
		}
		return "CronJob at " + job.Spec.Schedule, nil
	}
	want, err := replicas(ctx, c, w, name)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", w.Kind, name, err)
	}
	if want != w.Replicas {
		return "", fmt.Errorf("%s %s has %d replicas, and the plan %d: kubectl scale --replicas=%d %s/%s -n %s", w.Kind, name, want, w.Replicas, w.Replicas, strings.ToLower(string(w.Kind)), name, c.Namespace)
	}
	pods, err := c.Pods(ctx, r.made.Plan.Selector(w.Name))
	if err != nil {
		return "", err
	}
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded })
	said, err := probes(w, pods, int(want))
	if err == nil {
		r.fetched(ctx, c, w, pods)
	}
	return said, err
}

// replicas is how many Pods the cluster was told to run.
func replicas(ctx context.Context, c *cluster.Cluster, w handoff.Workload, name string) (int32, error) {
	if w.Kind == handoff.StatefulSet {
		s, err := c.Client.AppsV1().StatefulSets(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return 0, err
		}
		return orOne(s.Spec.Replicas), nil
	}
	d, err := c.Client.AppsV1().Deployments(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	return orOne(d.Spec.Replicas), nil
}

func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// probes says for each container what its probes say: the kubelet asks them all
// the time, and its answer is the state of the container.
func probes(w handoff.Workload, pods []corev1.Pod, want int) (string, error) {
	var said []string
	var faults []error
	ready := 0
	for i := range pods {
		p := &pods[i]
		if cluster.Ready(p) {
			ready++
		} else {
			faults = append(faults, notReady(p))
		}
		for _, box := range w.Containers {
			i := slices.IndexFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == box.Name })
			if i >= 0 {
				said = append(said, box.Name+" "+asked(box, p.Status.ContainerStatuses[i]))
			}
		}
	}
	if ready != want {
		faults = append([]error{fmt.Errorf("%d of %d Pods are ready", ready, want)}, faults...)
		return "", errors.Join(faults...)
	}
	if want == 0 {
		return "no Pod, as planned", nil
	}
	return strings.Join(said, "; "), nil
}

// asked names the probes that a ready container has passed.
func asked(box handoff.Container, s corev1.ContainerStatus) string {
	var kinds []string
	for _, k := range []struct {
		kind  string
		probe *handoff.Probe
	}{{"startup", box.Startup}, {"readiness", box.Ready}, {"liveness", box.Live}} {
		if k.probe != nil {
			kinds = append(kinds, k.kind)
		}
	}
	text := "is running, and has no probe"
	if len(kinds) > 0 {
		text = "is ready by its probes (" + strings.Join(kinds, ", ") + ")"
	}
	if s.RestartCount > 0 {
		text += fmt.Sprintf(", after %d restarts", s.RestartCount)
	}
	return text
}

// notReady says why, in plain words.
func notReady(p *corev1.Pod) error {
	for _, f := range diagnose.Explain(diagnose.Scene{Pods: []*corev1.Pod{p}}) {
		return errors.New(f.String())
	}
	for _, s := range p.Status.ContainerStatuses {
		if !s.Ready {
			return fmt.Errorf("pod %s: container %s is not ready", p.Name, s.Name)
		}
	}
	return fmt.Errorf("pod %s is not ready", p.Name)
}
