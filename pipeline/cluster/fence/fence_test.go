//go:build e2e

package fence_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/handoff"
)

// held is a lift of two workloads and a CronJob in the real cluster.
type held struct {
	bedtest.Bed
	namespace string
	*fence.Fence
}

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}

func newHeld(t *testing.T) held {
	t.Helper()
	bed := bedtest.Open(t)
	h := held{Bed: bed, namespace: bed.Namespace(t)}
	c, err := cluster.Connect(cluster.Options{Context: bed.Context, Namespace: h.namespace})
	if err != nil {
		t.Fatal(err)
	}
	ledgers, err := pipeline.OpenLedgers(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledgers.Close() })
	made, err := cluster.OpenMade(t.Context(), ledgers.Of("deploy"))
	if err != nil {
		t.Fatal(err)
	}
	plan := handoff.Plan{Name: "shop", Workloads: []handoff.Workload{
		{Name: "db", Kind: handoff.StatefulSet, Replicas: 1}, {Name: "web", Kind: handoff.Deployment, Replicas: 2}, {Name: "report", Kind: handoff.CronJob},
	}}
	view, err := c.Watch(t.Context(), "app.kubernetes.io/instance=shop")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h.Fence = &fence.Fence{
		Owner: &cluster.Owner{Cluster: c, Made: made, Workspace: "w-" + h.namespace, Log: log, Patience: time.Minute}, Plan: plan, Log: log,
		Waiter: &await.Waiter{Cluster: c, View: view, Log: log, Progress: silent{}, Logs: t.TempDir(), Patience: time.Minute, Began: time.Now()},
	}
	for _, w := range plan.Workloads {
		h.apply(t, w, false)
	}
	return h
}

// apply makes a workload as deploy does: at zero when it is not there. One that
// lacks its image never comes up.
func (h held) apply(t *testing.T, w handoff.Workload, lacks bool) {
	t.Helper()
	labels := h.Plan.Selector(w.Name)
	all := map[string]string{}
	for _, m := range []map[string]string{labels, h.Plan.Pods()} {
		for k, v := range m {
			all[k] = v
		}
	}
	image := h.ProbeImage
	if lacks {
		image += "-that-is-not-there"
	}
	grace := int64(0)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: all}, Spec: corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers:                    []corev1.Container{{Name: "main", Image: image, Args: []string{"serve", ":8080", "/"}}},
	}}
	fence.Guard(h.Plan, &template.Spec)
	m := metav1.ObjectMeta{Name: h.Plan.ObjectName(w.Name), Namespace: h.namespace, Labels: all}
	none, yes := int32(0), true
	selector := &metav1.LabelSelector{MatchLabels: labels}
	var v any
	switch w.Kind {
	case handoff.StatefulSet:
		v = &appsv1.StatefulSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, ObjectMeta: m, Spec: appsv1.StatefulSetSpec{Replicas: &none, Selector: selector, Template: template}}
	case handoff.Deployment:
		v = &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: m, Spec: appsv1.DeploymentSpec{Replicas: &none, Selector: selector, Template: template}}
	default:
		template.Spec.RestartPolicy = corev1.RestartPolicyNever
		v = &batchv1.CronJob{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"}, ObjectMeta: m, Spec: batchv1.CronJobSpec{
			Schedule: "* * * * *", Suspend: &yes,
			JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: all}, Spec: batchv1.JobSpec{Template: template}},
		}}
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(v)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: object}
	unstructured.RemoveNestedField(u.Object, "status")
	if lacks {
		unstructured.RemoveNestedField(u.Object, "spec", "replicas")
	}
	if _, err := h.Owner.Apply(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

func (h held) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(h.Run(t, append([]string{"-n", h.namespace}, args...)...))
}

// scale is what kubectl says of replicas and suspend.
func (h held) scale(t *testing.T) string {
	t.Helper()
	return h.kubectl(t, "get", "statefulset/shop-db", "deployment/shop-web", "-o", "jsonpath={.items[*].spec.replicas}") + " " +
		h.kubectl(t, "get", "cronjob/shop-report", "-o", "jsonpath={.spec.suspend}")
}

// until polls what kubectl says.
func (h held) until(t *testing.T, what string, ok func(string) bool, args ...string) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		got := h.kubectl(t, args...)
		if ok(got) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: kubectl %s says %q\n%s", what, strings.Join(args, " "), got, h.kubectl(t, "get", "pods,events"))
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func TestFence(t *testing.T) {
	h := newHeld(t)
	ctx := t.Context()

	t.Run("no Pod starts while held, whoever scales", func(t *testing.T) {
		if err := h.Hold(ctx); err != nil {
			t.Fatal(err)
		}
		h.kubectl(t, "scale", "--replicas=2", "deployment/shop-web")
		h.kubectl(t, "create", "job", "by-hand", "--from=cronjob/shop-report")
		// The kubelet has tried: three Pods, and of none has a container begun.
		h.until(t, "the kubelet waits for the ConfigMap", func(s string) bool { return strings.Count(s, `"shop-serving" not found`) >= 3 },
			"get", "events", "--field-selector=reason=FailedMount", "-o", `jsonpath={range .items[*]}{.involvedObject.name} {.message}{"\n"}{end}`)
		if got := h.kubectl(t, "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].started}"); strings.Contains(got, "true") {
			t.Errorf("containers have started: %s", got)
		}
		if err := h.Hold(ctx); err != nil {
			t.Fatal(err)
		}
		if got := h.scale(t); got != "0 0 true" {
			t.Errorf("after Hold: %s", got)
		}
	})

	t.Run("released", func(t *testing.T) {
		if err := h.Release(ctx); err != nil {
			t.Fatal(err)
		}
		if got := h.scale(t); got != "1 2 false" {
			t.Errorf("after Release: %s", got)
		}
		if got := h.kubectl(t, "get", "pods", "-l", "app.kubernetes.io/name in (db,web)", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`); got != "True True True" {
			t.Errorf("ready: %s", got)
		}
		if err := h.Release(ctx); err != nil {
			t.Errorf("a second time: %v", err)
		}
	})

	t.Run("held again, with a Job that runs", func(t *testing.T) {
		h.kubectl(t, "create", "job", "at-work", "--from=cronjob/shop-report")
		h.until(t, "the Job runs", func(s string) bool { return s == "Running" }, "get", "pods", "-l", "job-name=at-work", "-o", "jsonpath={.items[*].status.phase}")
		if err := h.Hold(ctx); err != nil {
			t.Fatal(err)
		}
		if got := h.kubectl(t, "get", "pods", "--field-selector=status.phase!=Succeeded,status.phase!=Failed", "-o", "name"); got != "" {
			t.Errorf("Pods after Hold: %s", got)
		}
		if _, err := h.Try("", "-n", h.namespace, "get", "configmap", "shop-serving"); err == nil {
			t.Error("the ConfigMap is still there")
		}
		released, err := fence.Released(ctx, h.Owner.Cluster, h.Plan)
		if err != nil || released {
			t.Errorf("Released is %v, %v", released, err)
		}
	})

	t.Run("a workload that does not come up is explained, and held again", func(t *testing.T) {
		h.apply(t, h.Plan.Workloads[0], true)
		short, stop := context.WithTimeout(ctx, 3*time.Minute)
		defer stop()
		if err := h.Release(short); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "shop-db") {
			t.Errorf("Release says %v", err)
		}
		if err := h.Hold(ctx); err != nil {
			t.Fatal(err)
		}
		if got := h.scale(t); got != "0 0 true" {
			t.Errorf("after Hold: %s", got)
		}
	})

	t.Run("a ConfigMap of others is refused", func(t *testing.T) {
		h.kubectl(t, "create", "configmap", "shop-serving")
		var taken *cluster.Taken
		if err := h.Hold(ctx); !errors.As(err, &taken) {
			t.Errorf("Hold says %v", err)
		}
		if err := h.Release(ctx); !errors.As(err, &taken) {
			t.Errorf("Release says %v", err)
		}
	})

	t.Run("what is recorded is what was made", func(t *testing.T) {
		data, err := json.Marshal(h.Owner.Made.All())
		if err != nil || !strings.Contains(string(data), `"shop-db"`) {
			t.Errorf("recorded: %s, %v", data, err)
		}
	})
}
