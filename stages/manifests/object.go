package manifests

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// object is one Kubernetes object on its way to a file.
type object struct {
	kind   string
	name   string
	value  runtime.Object
	secret bool
}

// The steps of an installation, as a label: first the volumes are made and
// filled, then the workloads run.
const (
	stepData = "data"
	stepRun  = "run"
)

// The prefix of statelift's own labels and annotations.
const (
	stepLabel        = "statelift.io/step"
	unitAnnotation   = "statelift.io/unit"
	pathAnnotation   = "statelift.io/source-path"
	reasonAnnotation = "statelift.io/reason"
	seedAnnotation   = "statelift.io/seed"
	imageAnnotation  = "statelift.io/image-digest"
	configAnnotation = "statelift.io/config-sha256"
)

// meta is the metadata of an object that belongs to the named part of the plan
// (a workload, a volume, or the host as a whole).
func (w *writer) meta(name, part, step string) metav1.ObjectMeta {
	labels := w.labels(part)
	labels["app.kubernetes.io/part-of"] = w.plan.Name
	labels["app.kubernetes.io/managed-by"] = "statelift"
	labels[stepLabel] = step
	return metav1.ObjectMeta{Name: name, Namespace: w.plan.Namespace, Labels: labels}
}

// labels identify the Pods of a workload: selectors cannot be changed later, so
// they hold no more than that.
func (w *writer) labels(part string) map[string]string { return w.plan.Selector(part) }

func (w *writer) add(kind string, v runtime.Object, m metav1.ObjectMeta, secret bool) {
	w.objects = append(w.objects, object{kind: kind, name: m.Name, value: v, secret: secret})
}

func typeMeta(version, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}

func (w *writer) makeNamespace() {
	if w.plan.Namespace == "" {
		return
	}
	m := w.meta(w.plan.Namespace, w.plan.Name, stepData)
	m.Namespace = ""
	m.Labels["pod-security.kubernetes.io/enforce"] = w.securityStandard()
	w.add("Namespace", &corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: m}, m, false)
}

// securityStandard is the Pod security standard that the plan keeps: baseline,
// since copies and services that start as root need more than restricted allows;
// privileged when a service needs a capability that baseline does not allow.
func (w *writer) securityStandard() string {
	baseline := []string{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
		"SETUID", "SYS_CHROOT",
	}
	for _, wl := range w.plan.Workloads {
		for _, c := range wl.Containers {
			for _, name := range c.Capabilities {
				if !slices.Contains(baseline, name) {
					return "privileged"
				}
			}
		}
	}
	return "baseline"
}

func ptr[T any](v T) *T { return &v }
