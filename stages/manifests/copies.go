package manifests

import (
	"cmp"
	"encoding/json"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		if w.options.Shards > 1 && v.Bytes >= largeVolume && v.AccessMode != string(corev1.ReadWriteOncePod) {
			w.makeShards(v, spec, m)
		}
		w.makePolicy(w.plan.ObjectName(part), part, nil, stepData)
	}
	if found {
		w.makeAccount(account, copyAccount, stepData)
	}
}

// makeShards makes the Job whose Pods fill a volume side by side, before the copy
// Job does what is left and proves all. Where several nodes can mount the volume
// they go to different ones.
func (w *writer) makeShards(v handoff.Volume, spec batchv1.JobSpec, of metav1.ObjectMeta) {
	n := int32(w.options.Shards)
	spec = *spec.DeepCopy()
	spec.CompletionMode = ptr(batchv1.IndexedCompletion)
	spec.Completions, spec.Parallelism, spec.BackoffLimit = ptr(n), ptr(n), ptr(n*copyAttempts)
	pod := &spec.Template.Spec
	pod.Containers[0].Args = append(pod.Containers[0].Args, "--shards", itoa(w.options.Shards))
	if !anywhere(v) {
		w.onOneNode(w.together(v)[0], &spec.Template)
	}
	if v.AccessMode == string(corev1.ReadWriteMany) {
		pod.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: &metav1.LabelSelector{MatchLabels: w.labels("copy-" + v.Name)},
		}}
	}
	m := *of.DeepCopy()
	m.Name = w.plan.ObjectName("shards-"+v.Name) + "-" + specDigest(spec)
	w.add("Job", &batchv1.Job{TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: m, Spec: spec}, m, false)
}

// copyCapabilities are what restoring owners, modes, special files and file
// capabilities takes; all are in the baseline Pod security standard.
func copyCapabilities() []corev1.Capability {
	return []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"}
}

// carrierSecret is the part of the plan's names for the Secret with which a run
// lets its copies read the seeds. It is made for the run and is no manifest.
const carrierSecret = "carrier"

func (w *writer) copySpec(v handoff.Volume, seed handoff.Seed, account string) batchv1.JobSpec {
	image := cmp.Or(w.upload.Copier, defaultCopier)
	from := cmp.Or(w.upload.Seeds, w.plan.ObjectName(defaultSeeds))
	m := w.meta("", "copy-"+v.Name, stepData)
	m.Namespace = ""
	m.Annotations = map[string]string{seedAnnotation: seed.Digest}
	pod := corev1.PodSpec{
		ServiceAccountName: account, AutomountServiceAccountToken: ptr(false), EnableServiceLinks: ptr(false),
		RestartPolicy:                 corev1.RestartPolicyNever,
		TerminationGracePeriodSeconds: ptr(int64(30)),
		SecurityContext:               &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers:                    []corev1.Container{w.copyContainer(image, "copy", "--seed", from+"@"+seed.Digest, "--volume", v.Name, "--to", copyTo, "--not-compared", strings.Join(beyondBaseline(), ","))},
		Volumes: []corev1.Volume{
			{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "volume", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: w.plan.ObjectName(v.Name)}}},
		},
	}
	if w.upload.Arch != "" {
		pod.NodeSelector = map[string]string{corev1.LabelArchStable: w.upload.Arch, corev1.LabelOSStable: "linux"}
	}
	template := corev1.PodTemplateSpec{ObjectMeta: m, Spec: pod}
	w.putTogether(v, &template)
	return batchv1.JobSpec{
		// Without a far side there is nothing yet that a Job could run or read.
		Suspend:      ptr(w.upload.Copier == "" || w.upload.Seeds == ""),
		BackoffLimit: ptr(int32(copyAttempts)), Completions: ptr(int32(1)), Parallelism: ptr(int32(1)),
		PodFailurePolicy: copyFailures(),
		Template:         template,
	}
}

// beyondBaseline are extended attributes that take CAP_SYS_ADMIN to write
// (xattr(7)), which no Pod of the baseline standard has, or that each machine
// sets itself. deploy tells of those that the source has.
func beyondBaseline() []string {
	return []string{"trusted.*", "security.NTACL", "security.selinux", "security.ima", "security.evm"}
}

// copyAttempts is how often a copy is tried again that failed for a reason which
// may pass; each goes on where the one before was.
const copyAttempts = 6

// copyFailures tells faults that trying again does not mend from others: the
// exit codes of statelift (statelift --help) for wrong arguments, bad input, an
// occupied volume, a copy that differs, a full disk. A Pod that the cluster
// itself put away does not count.
func copyFailures() *batchv1.PodFailurePolicy {
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		{
			Action:          batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
		},
		{
			Action:      batchv1.PodFailurePolicyActionFailJob,
			OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{ContainerName: ptr(copyContainer), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{2, 3, 4, 6, 8}},
		},
	}}
}

// copyContainer is the name of the container of a copy.
const copyContainer = "copy"

func (w *writer) copyContainer(image string, args ...string) corev1.Container {
	return corev1.Container{
		Name: copyContainer, Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Args: args,
		// The reason of a failure is then where the receipt's short form would be.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: w.plan.ObjectName(carrierSecret)}, Optional: ptr(true),
		}}},
		Resources: resources(handoff.CopyResources()),
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: ptr(int64(0)), RunAsGroup: ptr(int64(0)), RunAsNonRoot: ptr(false), Privileged: ptr(false),
			AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: copyCapabilities()},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "scratch", MountPath: "/tmp"}, {Name: "volume", MountPath: copyTo}},
	}
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
