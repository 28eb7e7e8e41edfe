package manifests

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/handoff"
)

// togetherLabel is on the Pods that fill volumes which one node must be able to
// mount in the end. Its value is the name of the first of them.
const togetherLabel = "statelift.io/together"

// together lists the volumes that one node must be able to mount in the end, in
// the plan's order and v among them: those of the workload that uses v, and of
// the workloads that run on its node. A volume that several nodes can mount at
// once is alone.
func (w *writer) together(v handoff.Volume) []handoff.Volume {
	if anywhere(v) {
		return []handoff.Volume{v}
	}
	group := w.groups()
	var out []handoff.Volume
	for _, o := range w.plan.Volumes {
		if o.Name == v.Name || !anywhere(o) && group[o.Name] != 0 && group[o.Name] == group[v.Name] {
			out = append(out, o)
		}
	}
	return out
}

func anywhere(v handoff.Volume) bool {
	return v.AccessMode == string(corev1.ReadWriteMany) || v.AccessMode == string(corev1.ReadOnlyMany)
}

// groups numbers the volumes that Pods use, from 1: two have the same number when
// they end on one node. It spreads the smallest number from volumes to workloads
// and back until nothing changes.
func (w *writer) groups() map[string]int {
	number, spread := map[string]int{}, map[string]bool{}
	for i, v := range w.plan.Volumes {
		number["volume "+v.Name], spread["volume "+v.Name] = i+1, anywhere(v)
	}
	for i, wl := range w.plan.Workloads {
		number["workload "+wl.Name] = len(w.plan.Volumes) + i + 1
	}
	for changed := true; changed; {
		changed = false
		tie := func(a, b string) {
			if spread[a] || spread[b] || number[a] == 0 || number[b] == 0 || number[a] == number[b] {
				return
			}
			least := min(number[a], number[b])
			number[a], number[b], changed = least, least, true
		}
		for _, wl := range w.plan.Workloads {
			for _, m := range wl.Mounts {
				if m.Origin == handoff.FromVolume {
					tie("workload "+wl.Name, "volume "+m.Of)
				}
			}
			tie("workload "+wl.Name, "workload "+wl.Near)
		}
	}
	out := map[string]int{}
	for _, v := range w.plan.Volumes {
		out[v.Name] = number["volume "+v.Name]
	}
	return out
}

// putTogether has a copy end on a node that can mount all volumes which its
// volume's workload needs. The scheduler chooses a node for all claims of a Pod,
// also of those that no container mounts (and the kubelet leaves those alone).
// That alone would let two copies each hold, attached to its own node, what the
// other waits for; so they run on one node while they run at the same time. A
// ReadWriteOncePod claim is for its own copy only: two Pods may not name it.
func (w *writer) putTogether(v handoff.Volume, pod *corev1.PodTemplateSpec) {
	all := w.together(v)
	if len(all) < 2 {
		return
	}
	for _, o := range all {
		if o.Name == v.Name || o.AccessMode == string(corev1.ReadWriteOncePod) {
			continue
		}
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
			Name:         "beside-" + strconv.Itoa(len(pod.Spec.Volumes)),
			VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: w.plan.ObjectName(o.Name)}},
		})
	}
	w.onOneNode(all[0], pod)
}

// onOneNode has the Pods run where others of the group do. The first one is free
// (Kubernetes, "Assigning Pods to Nodes": a Pod that matches its own affinity).
func (w *writer) onOneNode(first handoff.Volume, pod *corev1.PodTemplateSpec) {
	group := map[string]string{togetherLabel: w.plan.ObjectName(first.Name)}
	pod.Labels[togetherLabel] = group[togetherLabel]
	pod.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
		TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: group},
	}}}}
}
