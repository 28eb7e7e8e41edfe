package await

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/diagnose"
)

// running is a workload that is waited for.
type running struct {
	*Watcher
	object *unstructured.Unstructured
	ready  bool
}

// standing is how far a workload is.
type standing struct {
	uid   types.UID
	match map[string]string // its Pods
	want  int
	ready bool
}

// Workloads waits until all StatefulSets and Deployments of the list serve, and
// says what is in the way of those that do not. What the view has of an object
// counts from the generation on that the object has in the list: it may lag behind
// a change just made.
func (w *Waiter) Workloads(ctx context.Context, objects []*unstructured.Unstructured) error {
	var list []*running
	for _, u := range objects {
		if u.GetKind() == "StatefulSet" || u.GetKind() == "Deployment" {
			list = append(list, &running{Watcher: w.Watcher("workload", u.GetName()), object: u})
		}
	}
	w.Progress.Begin("workloads", "workloads", int64(len(list)))
	defer w.Progress.End()
	for {
		changed := w.View.Changed()
		if err := w.View.Err(); err != nil {
			return cluster.Explain(w.Cluster.Context, err)
		}
		waiting := 0
		for _, r := range list {
			if r.ready {
				continue
			}
			if err := w.lookAt(ctx, r); err != nil {
				return err
			}
			if !r.ready {
				waiting++
			}
		}
		if waiting == 0 {
			return nil
		}
		if err := w.Pause(ctx, changed); err != nil {
			return err
		}
	}
}

// lookAt looks at one workload.
func (w *Waiter) lookAt(ctx context.Context, r *running) error {
	at, ok := w.standing(r.object)
	if !ok {
		return nil // not told yet
	}
	if at.ready {
		r.ready = true
		w.Progress.Add(1)
		return nil
	}
	pods := w.View.Pods(at.match)
	if err := w.unblock(ctx, r.object, pods); err != nil {
		return err
	}
	s := diagnose.Scene{Owner: r.object.GetKind() + " " + r.object.GetName(), Want: at.want, Pods: pods}
	if r.object.GetKind() == "Deployment" {
		s.Deployment = w.View.Deployment(r.object.GetName())
	}
	about := []types.UID{at.uid}
	for _, p := range pods {
		about = append(about, p.UID)
	}
	for _, name := range cluster.Claims(r.object) {
		if c := w.View.Claim(name); c != nil {
			s.Claims = append(s.Claims, c)
			about = append(about, c.UID)
		}
	}
	s.Events = w.View.Events(w.Began.Add(-time.Minute), about...)
	if err := r.Look(s); err != nil {
		if files := w.SaveLogs(ctx, r.object.GetName(), pods); len(files) > 0 {
			err = fmt.Errorf("%w\n  the logs are in %s", err, strings.Join(files, ", "))
		}
		return fmt.Errorf("%s %s: %w", r.object.GetKind(), r.object.GetName(), err)
	}
	return nil
}

// standing reads the status of a StatefulSet or Deployment; ok is false before
// its controller has seen it, or the view what was asked for.
func (w *Waiter) standing(u *unstructured.Unstructured) (standing, bool) {
	if u.GetKind() == "StatefulSet" {
		s := w.View.StatefulSet(u.GetName())
		if s == nil || s.Generation < u.GetGeneration() || s.Status.ObservedGeneration < s.Generation || s.Spec.Selector == nil {
			return standing{}, false
		}
		return standing{uid: s.UID, match: s.Spec.Selector.MatchLabels, want: int(Replicas(s.Spec.Replicas)), ready: setReady(s)}, true
	}
	d := w.View.Deployment(u.GetName())
	if d == nil || d.Generation < u.GetGeneration() || d.Status.ObservedGeneration < d.Generation || d.Spec.Selector == nil {
		return standing{}, false
	}
	want := Replicas(d.Spec.Replicas)
	return standing{uid: d.UID, match: d.Spec.Selector.MatchLabels, want: int(want),
		ready: d.Status.UpdatedReplicas == want && d.Status.AvailableReplicas == want && d.Status.Replicas == want}, true
}

func setReady(s *appsv1.StatefulSet) bool {
	want := Replicas(s.Spec.Replicas)
	return s.Status.ReadyReplicas == want && s.Status.UpdatedReplicas == want && s.Status.CurrentRevision == s.Status.UpdateRevision
}

// Replicas is how many there should be; the default of an object that does not
// say it is 1.
func Replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// unblock removes a Pod of an older revision that is not ready: a StatefulSet
// with ordered Pods waits for it for ever, also when the new revision would mend
// it (Kubernetes, StatefulSets, "Forced rollback").
func (w *Waiter) unblock(ctx context.Context, u *unstructured.Unstructured, pods []*corev1.Pod) error {
	s := w.View.StatefulSet(u.GetName())
	if u.GetKind() != "StatefulSet" || s == nil || s.Status.UpdateRevision == s.Status.CurrentRevision {
		return nil
	}
	for _, p := range pods {
		if p.Labels[appsv1.ControllerRevisionHashLabelKey] == s.Status.UpdateRevision || p.DeletionTimestamp != nil || cluster.Ready(p) {
			continue
		}
		w.Log.Info("a Pod of an older revision is not ready and would hold up the new one; removed", "pod", p.Name)
		if err := w.Cluster.Remove(ctx, cluster.Ref{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name}, p.UID); err != nil {
			return err
		}
	}
	return nil
}

// PodsGone waits until the Pods of an object that was removed have ended.
func (w *Waiter) PodsGone(ctx context.Context, u *unstructured.Unstructured) error {
	path := []string{"spec", "selector", "matchLabels"}
	match, ok, err := unstructured.NestedStringMap(u.Object, path...)
	if err != nil || !ok {
		return nil //nolint:nilerr // a kind without Pods of its own
	}
	deadline := time.Now().Add(w.Patience)
	for {
		changed := w.View.Changed()
		pods := w.View.Pods(match)
		if len(pods) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was removed, and Pod %s does not end; is its node there?", cluster.RefOf(u), pods[0].Name)
		}
		if err := w.Pause(ctx, changed); err != nil {
			return err
		}
	}
}
