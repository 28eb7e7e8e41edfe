// Package warmup has the nodes of a cluster get what workloads need beside their
// data, before they are started: a Job per workload with the images, the rights and
// the choice of nodes of its Pods, whose containers end at once and mount nothing.
// What would keep a Pod from being started is found then, and how long one takes to
// start on this cluster is measured.
package warmup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Result is what came of one workload.
type Result struct {
	Workload string
	// Took is from the order to the end of the Pod, its images on the node.
	Took time.Duration
	// Pulled is what the images took to come, with a start; 0 when they were there.
	Pulled time.Duration
	// Err says why no Pod of it would start.
	Err error
}

// Warmer warms up a lift. The view of its Runner must have the Jobs and Pods of the
// plan.
type Warmer struct {
	Runner *copyjob.Runner
	Plan   handoff.Plan
	// Known says that what a start takes is known already: one try is enough.
	Known bool
}

// pulled is from when on a start must have had images to fetch: then it is
// measured once more.
const pulled = 5 * time.Second

// Warm does all workloads that the plan starts, side by side. Its Jobs are gone when
// it returns.
func (w *Warmer) Warm(ctx context.Context) ([]Result, error) {
	var list []handoff.Workload
	for _, wl := range w.Plan.Workloads {
		if wl.External == nil && wl.Kind != handoff.CronJob && wl.Replicas > 0 {
			list = append(list, wl)
		}
	}
	out := make([]Result, len(list))
	var group errgroup.Group
	for i, wl := range list {
		group.Go(func() (err error) {
			out[i], err = w.one(ctx, wl)
			return err
		})
	}
	return out, group.Wait()
}

// one is an error only where nothing can be said of the workload.
func (w *Warmer) one(ctx context.Context, wl handoff.Workload) (r Result, err error) {
	r.Workload = wl.Name
	ref := cluster.Ref{APIVersion: "apps/v1", Kind: string(wl.Kind), Namespace: w.Runner.Cluster.Namespace, Name: w.Plan.ObjectName(wl.Name)}
	live, err := w.Runner.Cluster.Live(ctx, ref)
	if err != nil {
		return r, cluster.Explain(w.Runner.Cluster.Context, err)
	}
	if live == nil {
		r.Err = fmt.Errorf("%s is not in %s: statelift run makes it", ref, w.Runner.Cluster)
		return r, nil
	}
	object, err := w.job(ctx, wl, live)
	if err != nil {
		return r, err
	}
	if err := w.try(ctx, wl, object, &r); err != nil {
		return r, err
	}
	if errors.Is(r.Err, errEnded) {
		// An image without a shell: those after it were never asked for.
		if err := sideBySide(object); err != nil {
			return r, err
		}
		if err := w.try(ctx, wl, object, &r); err != nil {
			return r, err
		}
	}
	if r.Err != nil || r.Took < pulled || w.Known {
		return r, nil
	}
	r.Pulled = r.Took
	return r, w.try(ctx, wl, object, &r)
}

// errEnded is a Pod that was started and ended before all of its images had come.
var errEnded = errors.New("a container ended badly")

// try runs the Job once, and removes it. Its error is not about the workload.
func (w *Warmer) try(ctx context.Context, wl handoff.Workload, object *unstructured.Unstructured, r *Result) error {
	began := time.Now()
	r.Err = w.run(ctx, wl, object)
	r.Took = time.Since(began)
	return errors.Join(w.Runner.Owner.Remove(context.WithoutCancel(ctx), cluster.RefOf(object)), ctx.Err())
}

// run is nil also when containers ended badly, as those do whose image lacks a
// shell: all images are on the node.
func (w *Warmer) run(ctx context.Context, wl handoff.Workload, object *unstructured.Unstructured) error {
	_, err := w.Runner.Complete(ctx, copyjob.Job{Object: object, Volume: "warm-" + wl.Name, Brief: true})
	if err == nil || ctx.Err() != nil {
		return err
	}
	pods, listErr := w.Runner.Cluster.Pods(ctx, map[string]string{batchv1.JobNameLabel: object.GetName()})
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	for _, p := range pods {
		list := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
		lacks := func(s corev1.ContainerStatus) bool { return s.ImageID == "" }
		switch {
		case !slices.ContainsFunc(list, func(s corev1.ContainerStatus) bool { return s.State.Terminated != nil }):
		case slices.ContainsFunc(list, lacks):
			return fmt.Errorf("%w: %w", errEnded, err)
		default:
			return nil
		}
	}
	return err
}

// sideBySide makes all containers of a Job such that none waits for another.
func sideBySide(job *unstructured.Unstructured) error {
	path := []string{"spec", "template", "spec"}
	first, _, err := unstructured.NestedSlice(job.Object, append(path, "initContainers")...)
	if err != nil {
		return err
	}
	main, _, err := unstructured.NestedSlice(job.Object, append(path, "containers")...)
	if err != nil {
		return err
	}
	unstructured.RemoveNestedField(job.Object, append(path, "initContainers")...)
	return unstructured.SetNestedSlice(job.Object, slices.Concat(first, main), append(path, "containers")...)
}

// job is what a Pod of the workload is, but for all that it does.
func (w *Warmer) job(ctx context.Context, wl handoff.Workload, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	template, ok, err := unstructured.NestedMap(live.Object, "spec", "template", "spec")
	if err != nil || !ok {
		return nil, fmt.Errorf("%s has no Pods", cluster.RefOf(live))
	}
	var pod corev1.PodSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &pod); err != nil {
		return nil, fmt.Errorf("%s: %w", cluster.RefOf(live), err)
	}
	if err := w.place(ctx, &pod, cluster.Claims(live)); err != nil {
		return nil, err
	}
	bare(&pod)
	name, never, now := w.Plan.ObjectName("warm-"+wl.Name), int32(0), int64(0)
	pod.RestartPolicy, pod.TerminationGracePeriodSeconds = corev1.RestartPolicyNever, &now
	labels := map[string]string{
		"app.kubernetes.io/name": "warm-" + wl.Name, "app.kubernetes.io/instance": w.Plan.Name, "app.kubernetes.io/part-of": w.Plan.Name,
		"app.kubernetes.io/managed-by": "statelift",
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Runner.Cluster.Namespace, Labels: labels},
		Spec:       batchv1.JobSpec{BackoffLimit: &never, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod}},
	})
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", name, err)
	}
	u := &unstructured.Unstructured{Object: object}
	unstructured.RemoveNestedField(u.Object, "status")
	return u, nil
}

// selectedNode is where the scheduler has put a claim of a volume that waits for its
// first Pod (Kubernetes, well-known annotations).
const selectedNode = "volume.kubernetes.io/selected-node"

// place chooses the node that the claims were put on, since the Pods come there, and
// leaves out what goes by Pods that do not run yet.
func (w *Warmer) place(ctx context.Context, pod *corev1.PodSpec, claims []string) error {
	if pod.Affinity != nil {
		pod.Affinity.PodAffinity, pod.Affinity.PodAntiAffinity = nil, nil
	}
	for _, name := range claims {
		claim := w.Runner.View.Claim(name)
		if claim == nil || claim.Annotations[selectedNode] == "" {
			continue
		}
		if pod.Affinity == nil {
			pod.Affinity = &corev1.Affinity{}
		}
		if pod.Affinity.NodeAffinity == nil {
			pod.Affinity.NodeAffinity = &corev1.NodeAffinity{}
		}
		// Preferred: a volume of the network is served on other nodes as well.
		a := pod.Affinity.NodeAffinity
		a.PreferredDuringSchedulingIgnoredDuringExecution = append(a.PreferredDuringSchedulingIgnoredDuringExecution, corev1.PreferredSchedulingTerm{
			Weight: 100,
			Preference: corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{
				{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{claim.Annotations[selectedNode]}},
			}},
		})
		break
	}
	return ctx.Err()
}

// bare leaves of the containers what chooses their image, their node and whether
// they are admitted.
func bare(pod *corev1.PodSpec) {
	pod.Volumes = nil
	for _, list := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i, c := range list {
			command, args := []string{"/bin/sh", "-c", "exit 0"}, []string(nil)
			if len(c.Command) == 0 {
				command, args = nil, []string{"help"} // statelift's own image, which has nothing else
			}
			list[i] = corev1.Container{
				Name: c.Name, Image: c.Image, ImagePullPolicy: c.ImagePullPolicy, Command: command, Args: args,
				Resources: c.Resources, SecurityContext: c.SecurityContext,
			}
		}
	}
}
