package manifests

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/handoff"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// setMeta is the metadata of a ConfigMap or Secret.
func (w *writer) setMeta(set handoff.FileSet) metav1.ObjectMeta {
	part := set.Owner
	if part == "" {
		part = set.Name
	}
	return w.meta(w.plan.ObjectName(set.Name), part, stepRun)
}

// makeVolumes makes the claims. They stay when their workload goes.
func (w *writer) makeVolumes() {
	for _, v := range w.plan.Volumes {
		part := v.Owner
		if part == "" {
			part = v.Name
		}
		m := w.meta(w.plan.ObjectName(v.Name), part, stepData)
		m.Annotations = map[string]string{pathAnnotation: v.Path.String(), reasonAnnotation: v.Reason}
		if seed, ok := w.seeds[v.Name]; ok {
			m.Annotations[seedAnnotation] = seed.Digest
		}
		pvc := &corev1.PersistentVolumeClaim{
			TypeMeta: typeMeta("v1", "PersistentVolumeClaim"), ObjectMeta: m,
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.PersistentVolumeAccessMode(v.AccessMode)},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: bytesQuantity(v.Request)}},
				VolumeMode:  ptr(corev1.PersistentVolumeFilesystem),
			},
		}
		if v.Class != "" {
			pvc.Spec.StorageClassName = ptr(v.Class)
		}
		w.add("PersistentVolumeClaim", pvc, m, false)
	}
}

// makeShares makes a PersistentVolume and its claim for each share that a
// workload uses and that somebody can mount. No data moves.
func (w *writer) makeShares() {
	for _, s := range w.plan.Shares {
		if !s.Mounted() {
			continue
		}
		name := w.plan.ObjectName(s.Name)
		mode := corev1.ReadWriteMany
		if s.ReadOnly {
			mode = corev1.ReadOnlyMany
		}
		m := w.meta(name, s.Name, stepRun)
		m.Annotations = map[string]string{pathAnnotation: s.Path.String(), reasonAnnotation: "mounted as on the host: " + s.Evidence.String()}
		pvMeta := *m.DeepCopy()
		pvMeta.Namespace = "" // PersistentVolumes have none
		pvMeta.Name = w.plan.ClusterName(s.Name)
		options := s.Options
		if s.FSType == "nfs4" && !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "vers=") || strings.HasPrefix(o, "nfsvers=") }) {
			options = append(slices.Clone(options), "nfsvers=4")
		}
		w.add("PersistentVolume", &corev1.PersistentVolume{
			TypeMeta: typeMeta("v1", "PersistentVolume"), ObjectMeta: pvMeta,
			Spec: corev1.PersistentVolumeSpec{
				Capacity:                      corev1.ResourceList{corev1.ResourceStorage: bytesQuantity(handoff.ShareSize)},
				AccessModes:                   []corev1.PersistentVolumeAccessMode{mode},
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				MountOptions:                  options,
				VolumeMode:                    ptr(corev1.PersistentVolumeFilesystem),
				PersistentVolumeSource:        w.shareSource(pvMeta.Name, s),
			},
		}, pvMeta, false)
		w.add("PersistentVolumeClaim", &corev1.PersistentVolumeClaim{
			TypeMeta: typeMeta("v1", "PersistentVolumeClaim"), ObjectMeta: m,
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes:      []corev1.PersistentVolumeAccessMode{mode},
				StorageClassName: ptr(""), // no provisioner: this very volume
				VolumeName:       pvMeta.Name,
				Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: bytesQuantity(handoff.ShareSize)}},
				VolumeMode:       ptr(corev1.PersistentVolumeFilesystem),
			},
		}, m, false)
	}
}

// shareSource says who mounts the share: Kubernetes itself, or a CSI driver, told
// in the words of csi-driver-smb (its docs/driver-parameters.md).
func (w *writer) shareSource(name string, s handoff.Share) corev1.PersistentVolumeSource {
	if s.Driver == "" {
		return corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: s.Server, Path: s.Export, ReadOnly: s.ReadOnly}}
	}
	unc := "//" + s.Server + "/" + s.Export
	csi := &corev1.CSIPersistentVolumeSource{
		Driver: s.Driver, ReadOnly: s.ReadOnly, VolumeAttributes: map[string]string{"source": unc},
		VolumeHandle: strings.TrimPrefix(unc, "//") + "#" + name, // unique in the cluster
	}
	if s.Secret != "" {
		csi.NodeStageSecretRef = &corev1.SecretReference{Name: w.plan.ObjectName(s.Secret), Namespace: cmp.Or(w.plan.Into, "default")}
	}
	return corev1.PersistentVolumeSource{CSI: csi}
}

func bytesQuantity(n int64) resource.Quantity { return *resource.NewQuantity(n, resource.BinarySI) }

func milliQuantity(n int64) resource.Quantity {
	return *resource.NewMilliQuantity(n, resource.DecimalSI)
}
