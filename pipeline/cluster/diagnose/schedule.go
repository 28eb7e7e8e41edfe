package diagnose

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// followsItsLike reports whether a Pod must run on the node of others that are
// as it is: the first of them is free, and so is the next when all have ended.
func followsItsLike(p *corev1.Pod) bool {
	if p.Spec.Affinity == nil || p.Spec.Affinity.PodAffinity == nil {
		return false
	}
	return slices.ContainsFunc(p.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, func(t corev1.PodAffinityTerm) bool {
		s, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
		return err == nil && s.Matches(labels.Set(p.Labels))
	})
}

// unscheduled reads why no node takes a Pod. The scheduler lists for how many
// nodes each reason holds; the first that a person can do something about is
// told.
func unscheduled(reason, message string) Finding {
	f := Finding{Level: Doubtful, Evidence: oneLine(message)}
	switch {
	case reason == corev1.PodReasonSchedulingGated:
		f.What = "something of the cluster holds it back (a scheduling gate)"
	case has(message, "persistentvolumeclaim") && has(message, "not found"):
		f.What, f.Remedy = "its volume's claim is not there", "run again: it is made and filled again"
	case has(message, "unbound immediate PersistentVolumeClaims"):
		f.Level, f.What = Passing, "its volume is not made yet"
	case has(message, "is being deleted"):
		f.What = "its volume's claim is being deleted"
	case has(message, "volume node affinity conflict"):
		f.What = "no node that takes it can mount all its volumes"
		f.Remedy = "its Pods must run where the volumes are: look at the nodes' taints and room; when the volumes are on different nodes, choose a class that makes them where the Pod runs (volumeBindingMode WaitForFirstConsumer)"
	case has(message, "didn't find available persistent volumes to bind"):
		f.What, f.Remedy = "no volume of its StorageClass is free", "have one made, or name another class (storageClass: of the volume in statelift.yaml)"
	case has(message, "ReadWriteOncePod"):
		f.Level, f.What = Passing, "another Pod has its volume"
	case has(message, "Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage", "Too many pods"):
		f.What, f.Remedy = "no node has room for it", "free or add nodes"
	case has(message, "didn't match Pod's node affinity/selector", "didn't match pod's node affinity/selector"):
		f.What, f.Remedy = "no node is of the kind that it needs (its nodeSelector names the architecture of the host)", "add a node of that architecture"
	case has(message, "didn't match pod affinity rules"):
		f.What, f.Remedy = "it must run beside the workload whose volume it shares, and that one runs nowhere", "bring that workload up first"
	case has(message, "untolerated taint"):
		f.What, f.Remedy = "all nodes that could take it keep it away by a taint", "free a node of its taint (kubectl taint), or wait until it is ready"
	case has(message, "max volume count"):
		f.What, f.Remedy = "no node can have one more volume", "add nodes"
	default:
		f.What = "no node takes it"
	}
	return f
}
