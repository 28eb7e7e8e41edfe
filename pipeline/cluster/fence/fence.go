// Package fence keeps the workloads of a lift from running while its source
// still serves, whoever scales them up.
//
// Every Pod template of a held lift mounts a ConfigMap, and not as an optional
// one ([Guard]). The ConfigMap is there only while the truth is in the cluster:
// without it the kubelet starts no container of such a Pod, not even an init
// container (Kubernetes, "ConfigMaps and Pods": a Pod that names a ConfigMap
// which does not exist does not start). Beside that, the workloads are scaled to
// zero and CronJobs suspended, by server-side apply under a field manager of
// their own ([Manager]): what deploy applies says nothing else about those fields
// than what they are.
package fence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Manager is the field manager of what the fence says of workloads: replicas and
// suspend.
const Manager = "statelift-fence"

// patience is how long the end of Pods is waited for after their own grace.
const patience = 2 * time.Minute

// ConfigMap is the name of the ConfigMap that is there while the truth is in the
// cluster.
func ConfigMap(plan handoff.Plan) string { return plan.ObjectName("serving") }

// What a Pod sees of it.
const (
	guardVolume = "statelift-serving"
	guardPath   = "/.statelift/serving"
)

// Guard has a Pod wait, before its first container starts, for the ConfigMap of
// the fence. The first container mounts it: what no container mounts, the kubelet
// does not wait for.
func Guard(plan handoff.Plan, spec *corev1.PodSpec) {
	first := &spec.Containers[0]
	if len(spec.InitContainers) > 0 {
		first = &spec.InitContainers[0]
	}
	first.VolumeMounts = append(first.VolumeMounts, corev1.VolumeMount{Name: guardVolume, MountPath: guardPath, ReadOnly: true})
	optional := false
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: guardVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: ConfigMap(plan)}, Optional: &optional,
	}}})
}

// Env is a variable of a container that has what the ConfigMap tells under a key:
// [Fence.Data].
func Env(plan handoff.Plan, name, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: ConfigMap(plan)}, Key: key,
	}}}
}

// IndexKey is where the ConfigMap has the SHA-256 of the index of objects by which
// Pods fetch theirs: sync rounds change it.
const IndexKey = "objects-index"

// Released reports whether the workloads of the plan may run in that cluster.
func Released(ctx context.Context, c *cluster.Cluster, plan handoff.Plan) (bool, error) {
	live, err := c.Live(ctx, configRef(c, plan))
	if err != nil {
		return false, cluster.Explain(c.Context, err)
	}
	return live != nil && live.GetDeletionTimestamp() == nil, nil
}

func configRef(c *cluster.Cluster, plan handoff.Plan) cluster.Ref {
	return cluster.Ref{APIVersion: "v1", Kind: "ConfigMap", Namespace: c.Namespace, Name: ConfigMap(plan)}
}

// Fence is that of one lift in one cluster.
type Fence struct {
	Owner *cluster.Owner
	Plan  handoff.Plan
	Log   *slog.Logger
	// Waiter waits for the workloads that Release starts. Its view must have the
	// Pods of the plan.
	Waiter *await.Waiter
	// Data is what else the ConfigMap tells the Pods.
	Data map[string]string
}

// Hold takes the ConfigMap away, scales every workload of the plan to zero,
// suspends its CronJobs, ends their Jobs, and returns when no Pod of them runs
// any more. It can be called again at any time, and does what is left to do.
// Workloads that are not there are held already. An error names the Pod that does
// not end.
func (f *Fence) Hold(ctx context.Context) error {
	ref := configRef(f.Owner.Cluster, f.Plan)
	if err := f.Owner.Remove(ctx, ref); err != nil {
		return fmt.Errorf("hold %s: %w", f.Owner, err)
	}
	// One of others opens the fence as well.
	released, err := Released(ctx, f.Owner.Cluster, f.Plan)
	if err == nil && released {
		err = &cluster.Taken{Ref: ref}
	}
	if err != nil {
		return fmt.Errorf("hold %s: %w", f.Owner, err)
	}
	for _, w := range f.Plan.Workloads {
		if err := f.set(ctx, w, true); err != nil {
			return fmt.Errorf("hold %s: %w", f.Owner, err)
		}
	}
	if err := f.endJobs(ctx); err != nil {
		return fmt.Errorf("hold %s: %w", f.Owner, err)
	}
	return f.gone(ctx)
}

// Release makes the ConfigMap, scales the workloads to what the plan says, has
// CronJobs run again, and returns when every workload is ready. An error says
// what is in the way; then the fence is open, and [Fence.Hold] closes it.
func (f *Fence) Release(ctx context.Context) error {
	if err := f.Open(ctx); err != nil {
		return err
	}
	var list []*unstructured.Unstructured
	for _, w := range f.Plan.Workloads {
		if w.External != nil {
			continue // it has no Pods
		}
		live, err := f.Owner.Live(ctx, f.ref(w))
		if err != nil {
			return cluster.Explain(f.Owner.Context, err)
		}
		if live == nil {
			return fmt.Errorf("%s is not in %s: statelift run makes it", f.ref(w), f.Owner)
		}
		list = append(list, live)
	}
	return f.Waiter.Workloads(ctx, list)
}

// Open is Release without the waiting.
func (f *Fence) Open(ctx context.Context) error {
	ref := configRef(f.Owner.Cluster, f.Plan)
	data := map[string]any{"serving": "the truth of " + f.Plan.Name + " is in this cluster; without this ConfigMap no Pod of it starts\n"}
	for key, value := range f.Data {
		data[key] = value
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": ref.APIVersion, "kind": ref.Kind,
		"metadata": map[string]any{"name": ref.Name, "namespace": ref.Namespace, "labels": f.labels()},
		"data":     data,
	}}
	if _, err := f.Owner.Apply(ctx, u); err != nil {
		return fmt.Errorf("release %s: %w", f.Owner, err)
	}
	for _, w := range f.Plan.Workloads {
		if err := f.set(ctx, w, false); err != nil {
			return fmt.Errorf("release %s: %w", f.Owner, err)
		}
	}
	return nil
}

// labels are of what a plan makes for all of its workloads.
func (f *Fence) labels() map[string]any {
	return map[string]any{
		"app.kubernetes.io/managed-by": "statelift", "app.kubernetes.io/instance": f.Plan.Name, "app.kubernetes.io/part-of": f.Plan.Name,
	}
}

func (f *Fence) ref(w handoff.Workload) cluster.Ref {
	r := cluster.Ref{APIVersion: "apps/v1", Kind: string(w.Kind), Namespace: f.Owner.Namespace, Name: f.Plan.ObjectName(w.Name)}
	if w.Kind == handoff.CronJob {
		r.APIVersion = "batch/v1"
	}
	return r
}

// Field is that of the spec of a workload of this kind which the fence sets, "" for
// what is no workload.
func Field(kind string) string {
	switch handoff.WorkloadKind(kind) {
	case handoff.StatefulSet, handoff.Deployment:
		return "replicas"
	case handoff.CronJob:
		return "suspend"
	}
	return ""
}

// At is what the field is of a workload that is held, and nil for one that is not
// where the plan says it.
func At(kind string, held bool) any {
	switch {
	case Field(kind) == "suspend":
		return held
	case held:
		return int64(0)
	}
	return nil
}

// Unhold has the workloads that the fence holds run as the plan says, of a lift
// whose Pods wait for no ConfigMap any more.
func (f *Fence) Unhold(ctx context.Context) error {
	for _, w := range f.Plan.Workloads {
		live, err := f.Owner.Live(ctx, f.ref(w))
		if err != nil {
			return err
		}
		if live != nil && cluster.SeizedBy(live, Manager) {
			if err := f.set(ctx, w, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// set says how many Pods a workload has, or whether a CronJob runs.
func (f *Fence) set(ctx context.Context, w handoff.Workload, hold bool) error {
	ref := f.ref(w)
	live, err := f.Owner.Live(ctx, ref)
	if err != nil || live == nil {
		return err
	}
	if !f.Owner.Owns(live) {
		return &cluster.Taken{Ref: ref}
	}
	value := At(ref.Kind, hold)
	if value == nil {
		value = int64(w.Replicas)
	}
	if err := f.Owner.Seize(ctx, ref, map[string]any{Field(ref.Kind): value}, Manager); err != nil {
		return cluster.Explain(f.Owner.Context, err)
	}
	f.Log.Debug("the fence has set", "object", ref.String(), "hold", hold)
	return nil
}

// endJobs removes what CronJobs have running.
func (f *Fence) endJobs(ctx context.Context) error {
	jobs, err := f.Owner.Jobs(ctx, f.Plan.Pods())
	if err != nil {
		return err
	}
	var errs []error
	for _, j := range jobs {
		if j.Status.Active == 0 && j.Status.CompletionTime != nil {
			continue
		}
		ref := cluster.Ref{APIVersion: "batch/v1", Kind: "Job", Namespace: j.Namespace, Name: j.Name}
		errs = append(errs, f.Owner.Cluster.Remove(ctx, ref, j.UID))
	}
	return errors.Join(errs...)
}

// gone waits until no Pod of a workload runs any more.
func (f *Fence) gone(ctx context.Context) error {
	grace := time.Duration(0)
	for _, w := range f.Plan.Workloads {
		grace = max(grace, time.Duration(w.GraceSeconds)*time.Second)
	}
	deadline := time.Now().Add(grace + patience)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	remind := reminder{Fence: f, told: map[types.UID]time.Time{}}
	for {
		pods, err := f.Owner.Pods(ctx, f.Plan.Pods())
		if err != nil {
			return cluster.Explain(f.Owner.Context, err)
		}
		name := ""
		for _, p := range pods {
			if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				name = p.Name
				remind.look(ctx, &p)
			}
		}
		switch {
		case name == "":
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("pod %s in %s does not end; is its node there?", name, f.Owner)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
