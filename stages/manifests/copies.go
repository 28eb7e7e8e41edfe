package manifests

import (
	"encoding/json"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/handoff"
)

// copyAccount is the account of all copy Jobs.
const copyAccount = "copy"

// copyTo is where a copy Job sees the volume that it fills.
const copyTo = "/volume"

// makeCopies makes a Job for each volume that has a seed. It fills the volume,
// reads it back and proves it. The Job's name holds the digest of what it does,
// since a Job's template cannot be changed.
func (w *writer) makeCopies() {
	account := w.plan.ObjectName(copyAccount)
	found := false
	for _, v := range w.plan.Volumes {
		seed, ok := w.seeds[v.Name]
		if !v.Seed || !ok {
			continue
		}
		found = true
		part := "copy-" + v.Name
		spec := w.copySpec(v, seed, account)
		m := w.meta(w.plan.ObjectName(part)+"-"+specDigest(spec), part, stepData)
		m.Annotations = map[string]string{seedAnnotation: seed.Digest, pathAnnotation: v.Path.String()}
		w.add("Job", &batchv1.Job{TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: m, Spec: spec}, m, false)
		w.makePolicy(w.plan.ObjectName(part), part, nil, stepData)
	}
	if found {
		w.makeAccount(account, copyAccount, stepData)
	}
}

// copyCapabilities are what restoring owners, modes, special files and file
// capabilities takes; all are in the baseline Pod security standard.
func copyCapabilities() []corev1.Capability {
	return []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"}
}

func (w *writer) copySpec(v handoff.Volume, seed handoff.Seed, account string) batchv1.JobSpec {
	image := w.options.Copier
	if image == "" {
		image = DefaultCopier
	}
	from := w.options.Seeds
	if from == "" {
		from = w.plan.ObjectName("seeds")
	}
	part := "copy-" + v.Name
	m := w.meta("", part, stepData)
	m.Namespace = ""
	m.Annotations = map[string]string{seedAnnotation: seed.Digest}
	spec := batchv1.JobSpec{
		Suspend: ptr(!w.options.Start), BackoffLimit: ptr(int32(6)), Completions: ptr(int32(1)), Parallelism: ptr(int32(1)),
		Template: corev1.PodTemplateSpec{ObjectMeta: m, Spec: corev1.PodSpec{
			ServiceAccountName: account, AutomountServiceAccountToken: ptr(false), EnableServiceLinks: ptr(false),
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: ptr(int64(30)),
			SecurityContext:               &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "copy", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Args: []string{"copy", "--seed", from + "@" + seed.Digest, "--to", copyTo},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: milliQuantity(500), corev1.ResourceMemory: bytesQuantity(256 << 20)},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: bytesQuantity(1 << 30)},
				},
				SecurityContext: &corev1.SecurityContext{
					RunAsUser: ptr(int64(0)), RunAsGroup: ptr(int64(0)), RunAsNonRoot: ptr(false), Privileged: ptr(false),
					AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true),
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: copyCapabilities()},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "scratch", MountPath: "/tmp"}, {Name: "volume", MountPath: copyTo}},
			}},
			Volumes: []corev1.Volume{
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "volume", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: w.plan.ObjectName(v.Name)}}},
			},
		}},
	}
	return spec
}

// specDigest is short: it tells the Jobs of one volume apart.
func specDigest(spec batchv1.JobSpec) string {
	spec.Suspend = nil // may be changed on a Job
	data, err := json.Marshal(spec)
	if err != nil {
		data = nil // cannot happen: write marshals the same value and says so
	}
	return sum(data)[:8]
}
