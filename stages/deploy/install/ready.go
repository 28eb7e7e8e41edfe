package install

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
	*watcher
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

// ready waits until all workloads serve, and says what is in the way of those
// that do not.
func (r *run) ready(ctx context.Context) error {
	var list []*running
	for _, u := range r.objects.workloads {
		if u.GetKind() == "StatefulSet" || u.GetKind() == "Deployment" {
			list = append(list, &running{watcher: r.newWatcher("workload", u.GetName()), object: u})
		}
	}
	r.Progress.Begin("workloads", "workloads", int64(len(list)))
	defer r.Progress.End()
	for {
		changed := r.view.Changed()
		if err := r.view.Err(); err != nil {
			return cluster.Explain(r.cluster.Context, err)
		}
		waiting := 0
		for _, w := range list {
			if w.ready {
				continue
			}
			if err := r.lookAt(ctx, w); err != nil {
				return err
			}
			if !w.ready {
				waiting++
			}
		}
		if waiting == 0 {
			return nil
		}
		if err := r.pause(ctx, changed); err != nil {
			return err
		}
	}
}

// lookAt looks at one workload.
func (r *run) lookAt(ctx context.Context, w *running) error {
	at, ok := r.standing(w.object)
	if !ok {
		return nil // not told yet
	}
	if at.ready {
		w.ready = true
		r.Progress.Add(1)
		return nil
	}
	pods := r.view.Pods(at.match)
	if err := r.unblock(ctx, w.object, pods); err != nil {
		return err
	}
	s := diagnose.Scene{Owner: w.object.GetKind() + " " + w.object.GetName(), Want: at.want, Pods: pods}
	if w.object.GetKind() == "Deployment" {
		s.Deployment = r.view.Deployment(w.object.GetName())
	}
	about := []types.UID{at.uid}
	for _, p := range pods {
		about = append(about, p.UID)
	}
	for _, name := range claimsOf(w.object) {
		if c := r.view.Claim(name); c != nil {
			s.Claims = append(s.Claims, c)
			about = append(about, c.UID)
		}
	}
	s.Events = r.view.Events(r.began.Add(-time.Minute), about...)
	if err := w.look(s); err != nil {
		if files := r.saveLogs(ctx, w.object.GetName(), pods); len(files) > 0 {
			err = fmt.Errorf("%w\n  the logs are in %s", err, strings.Join(files, ", "))
		}
		return fmt.Errorf("%s %s: %w", w.object.GetKind(), w.object.GetName(), err)
	}
	return nil
}

// standing reads the status of a StatefulSet or Deployment; ok is false before
// its controller has seen it.
func (r *run) standing(u *unstructured.Unstructured) (standing, bool) {
	if u.GetKind() == "StatefulSet" {
		s := r.view.StatefulSet(u.GetName())
		if s == nil || s.Status.ObservedGeneration < s.Generation || s.Spec.Selector == nil {
			return standing{}, false
		}
		return standing{uid: s.UID, match: s.Spec.Selector.MatchLabels, want: int(replicas(s.Spec.Replicas)), ready: setReady(s)}, true
	}
	d := r.view.Deployment(u.GetName())
	if d == nil || d.Status.ObservedGeneration < d.Generation || d.Spec.Selector == nil {
		return standing{}, false
	}
	want := replicas(d.Spec.Replicas)
	return standing{uid: d.UID, match: d.Spec.Selector.MatchLabels, want: int(want),
		ready: d.Status.UpdatedReplicas == want && d.Status.AvailableReplicas == want && d.Status.Replicas == want}, true
}

func setReady(s *appsv1.StatefulSet) bool {
	want := replicas(s.Spec.Replicas)
	return s.Status.ReadyReplicas == want && s.Status.UpdatedReplicas == want && s.Status.CurrentRevision == s.Status.UpdateRevision
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// unblock removes a Pod of an older revision that is not ready: a StatefulSet
// with ordered Pods waits for it for ever, also when the new revision would mend
// it (Kubernetes, StatefulSets, "Forced rollback").
func (r *run) unblock(ctx context.Context, u *unstructured.Unstructured, pods []*corev1.Pod) error {
	s := r.view.StatefulSet(u.GetName())
	if u.GetKind() != "StatefulSet" || s == nil || s.Status.UpdateRevision == s.Status.CurrentRevision {
		return nil
	}
	for _, p := range pods {
		if p.Labels[appsv1.ControllerRevisionHashLabelKey] == s.Status.UpdateRevision || p.DeletionTimestamp != nil || podReady(p) {
			continue
		}
		r.Log.Info("a Pod of an older revision is not ready and would hold up the new one; removed", "pod", p.Name)
		if err := r.cluster.Remove(ctx, cluster.Ref{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name}, p.UID); err != nil {
			return err
		}
	}
	return nil
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podsGone waits until the Pods of an object that was removed have ended.
func (r *run) podsGone(ctx context.Context, u *unstructured.Unstructured) error {
	path := []string{"spec", "selector", "matchLabels"}
	match, ok, err := unstructured.NestedStringMap(u.Object, path...)
	if err != nil || !ok {
		return nil //nolint:nilerr // a kind without Pods of its own
	}
	deadline := time.Now().Add(r.options.Patience)
	for {
		changed := r.view.Changed()
		pods := r.view.Pods(match)
		if len(pods) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was removed, and Pod %s does not end; is its node there?", cluster.RefOf(u), pods[0].Name)
		}
		if err := r.pause(ctx, changed); err != nil {
			return err
		}
	}
}
