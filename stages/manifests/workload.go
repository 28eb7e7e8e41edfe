package manifests

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/statelift/statelift/pipeline/handoff"
)

// makeWorkload makes the objects of one workload.
func (w *writer) makeWorkload(wl handoff.Workload) {
	if wl.External != nil {
		w.makeExternal(wl)
		return
	}
	name := w.plan.ObjectName(wl.Name)
	m := w.meta(name, wl.Name, stepRun)
	m.Annotations = map[string]string{reasonAnnotation: wl.WhyKind}
	w.makeAccount(name, wl.Name, stepRun)
	template := corev1.PodTemplateSpec{ObjectMeta: w.podMeta(wl), Spec: w.pod(wl)}
	selector := &metav1.LabelSelector{MatchLabels: w.labels(wl.Name)}
	switch wl.Kind {
	case handoff.CronJob:
		w.add("CronJob", &batchv1.CronJob{TypeMeta: typeMeta("batch/v1", "CronJob"), ObjectMeta: m, Spec: cronJob(wl, template)}, m, false)
	case handoff.StatefulSet:
		w.add("StatefulSet", &appsv1.StatefulSet{TypeMeta: typeMeta("apps/v1", "StatefulSet"), ObjectMeta: m, Spec: appsv1.StatefulSetSpec{
			Replicas: ptr(wl.Replicas), Selector: selector, Template: template, ServiceName: headless(name),
			PodManagementPolicy: appsv1.OrderedReadyPodManagement,
			// A Pod is stopped before the next one starts: two never write one volume.
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType},
		}}, m, false)
		w.makeService(wl, headless(name), true)
	default:
		strategy := appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType}
		if mountsVolume(wl) {
			strategy.Type = appsv1.RecreateDeploymentStrategyType
		}
		w.add("Deployment", &appsv1.Deployment{TypeMeta: typeMeta("apps/v1", "Deployment"), ObjectMeta: m, Spec: appsv1.DeploymentSpec{
			Replicas: ptr(wl.Replicas), Selector: selector, Template: template, Strategy: strategy,
		}}, m, false)
	}
	if len(wl.Service) > 0 {
		w.makeService(wl, name, false)
	}
	w.makePolicy(name, wl.Name, wl.Service, stepRun)
}

func headless(name string) string { return name + "-pods" }

// mountsVolume reports whether the workload mounts a claim that one node has at
// a time.
func mountsVolume(wl handoff.Workload) bool {
	for _, v := range wl.Mounts {
		if v.Origin == handoff.FromVolume {
			return true
		}
	}
	return false
}

// podMeta labels the Pods and notes what they were made from.
func (w *writer) podMeta(wl handoff.Workload) metav1.ObjectMeta {
	m := w.meta("", wl.Name, stepRun)
	m.Namespace = ""
	m.Annotations = map[string]string{}
	if d := w.configDigest(wl); d != "" {
		m.Annotations[configAnnotation] = d
	}
	for _, c := range wl.Containers {
		m.Annotations[unitAnnotation+"."+c.Name] = c.Unit
		if img, ok := w.images[c.Image]; ok {
			m.Annotations[imageAnnotation+"."+c.Name] = img.Digest
		}
	}
	return m
}

// configDigest changes when a ConfigMap that the Pod uses does.
func (w *writer) configDigest(wl handoff.Workload) string {
	used := map[string][]byte{}
	for _, v := range wl.Mounts {
		if v.Origin == handoff.FromConfig {
			used[v.Of] = []byte(w.digests[v.Of])
		}
	}
	for _, c := range wl.Containers {
		for _, e := range c.Env {
			if e.From != "" && !e.Secret {
				used[e.From] = []byte(w.digests[e.From])
			}
		}
	}
	if len(used) == 0 {
		return ""
	}
	return digestOf(used)
}

func cronJob(wl handoff.Workload, template corev1.PodTemplateSpec) batchv1.CronJobSpec {
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	spec := batchv1.CronJobSpec{
		Schedule:                   wl.Schedule,
		ConcurrencyPolicy:          batchv1.ForbidConcurrent, // what shares files must not overlap
		StartingDeadlineSeconds:    ptr(int64(300)),          // like cron, what was missed is not made up for
		SuccessfulJobsHistoryLimit: ptr(int32(3)),
		FailedJobsHistoryLimit:     ptr(int32(3)),
		JobTemplate: batchv1.JobTemplateSpec{
			ObjectMeta: *template.ObjectMeta.DeepCopy(),
			Spec:       batchv1.JobSpec{BackoffLimit: ptr(int32(0)), Template: template},
		},
	}
	if wl.TimeZone != "" {
		spec.TimeZone = ptr(wl.TimeZone)
	}
	return spec
}

// makeAccount makes an account without a token: nothing that came from the host
// speaks to the cluster.
func (w *writer) makeAccount(name, part, step string) {
	m := w.meta(name, part, step)
	w.add("ServiceAccount", &corev1.ServiceAccount{
		TypeMeta: typeMeta("v1", "ServiceAccount"), ObjectMeta: m, AutomountServiceAccountToken: ptr(false),
	}, m, false)
}

// makeService makes the Service of a workload, or the headless one that a
// StatefulSet wants.
func (w *writer) makeService(wl handoff.Workload, name string, noAddress bool) {
	m := w.meta(name, wl.Name, stepRun)
	spec := corev1.ServiceSpec{Selector: w.labels(wl.Name), Type: corev1.ServiceTypeClusterIP}
	if noAddress {
		spec.ClusterIP = corev1.ClusterIPNone
	}
	for _, p := range wl.Service {
		spec.Ports = append(spec.Ports, corev1.ServicePort{
			Name: p.Name, Port: p.Number, Protocol: corev1.Protocol(p.Protocol), TargetPort: intstr.FromString(p.Name),
		})
	}
	w.add("Service", &corev1.Service{TypeMeta: typeMeta("v1", "Service"), ObjectMeta: m, Spec: spec}, m, false)
}

// makePolicy lets in what reached the service on the host: its ports, and
// nothing that listened on loopback but for the workloads that reached it there.
// Going out is not limited, as it was not.
func (w *writer) makePolicy(name, part string, ports []handoff.Port, step string) {
	m := w.meta(name, part, step)
	spec := networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: w.labels(part)},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Egress:      []networkingv1.NetworkPolicyEgressRule{{}},
	}
	open := networkingv1.NetworkPolicyIngressRule{}
	for _, p := range ports {
		port := networkingv1.NetworkPolicyPort{Port: ptr(intstr.FromInt32(p.Number)), Protocol: ptr(corev1.Protocol(p.Protocol))}
		if len(p.From) == 0 {
			open.Ports = append(open.Ports, port)
			continue
		}
		rule := networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{port}}
		for _, client := range p.From {
			rule.From = append(rule.From, networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: w.labels(client)}})
		}
		spec.Ingress = append(spec.Ingress, rule)
	}
	if len(open.Ports) > 0 {
		spec.Ingress = append([]networkingv1.NetworkPolicyIngressRule{open}, spec.Ingress...)
	}
	w.add("NetworkPolicy", &networkingv1.NetworkPolicy{TypeMeta: typeMeta("networking.k8s.io/v1", "NetworkPolicy"), ObjectMeta: m, Spec: spec}, m, false)
}

func itoa(n int) string { return strconv.Itoa(n) }
