package copyjob

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Manifest finds the Job among the manifests that fills a volume from that seed
// and proves it.
func Manifest(w workspace.Workspace, m handoff.Manifests, volume, seed string) (*batchv1.Job, error) {
	for _, f := range m.Files {
		if f.Kind != "Job" {
			continue
		}
		name := w.Path(m.Directory, f.Name)
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		if oci.Sum(data) != f.SHA256 {
			return nil, fmt.Errorf("%s was changed by hand", name)
		}
		var job batchv1.Job
		if err := yaml.UnmarshalStrict(data, &job); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(job.Spec.Template.Spec.Containers) == 0 {
			continue
		}
		args := job.Spec.Template.Spec.Containers[0].Args
		i := slices.Index(args, "--volume")
		from := slices.ContainsFunc(args, func(a string) bool { return strings.HasSuffix(a, "@"+seed) })
		if i >= 0 && i+1 < len(args) && args[i+1] == volume && from && !slices.ContainsFunc(args, isShard) {
			return &job, nil
		}
	}
	return nil, fmt.Errorf("no manifest of a Job fills volume %s from seed %s", volume, seed)
}

func isShard(arg string) bool { return strings.HasPrefix(arg, "--shard") }

// Variant is what makes another Job of the one that fills a volume, for the same
// claim.
type Variant struct {
	Plan      handoff.Plan
	Namespace string
	Part      string   // of the plan's names: check-VOLUME
	Args      []string // added to those of the copy
	ReadOnly  bool     // the claim is mounted so
}

// Of makes the Job. Its name holds the digest of what it does. It names the claim
// of its volume only: those that chose the node of the copy would keep its Pod
// from a node, and others from being looked at; the claim is bound.
func (v Variant) Of(from *batchv1.Job) (*unstructured.Unstructured, error) {
	labels := map[string]string{
		"app.kubernetes.io/name": v.Part, "app.kubernetes.io/instance": v.Plan.Name, "app.kubernetes.io/part-of": v.Plan.Name,
		"app.kubernetes.io/managed-by": "statelift",
	}
	sum := sha256.Sum256([]byte(strings.Join(v.Args, "\x00")))
	job := &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{
			Name: v.Plan.ObjectName(v.Part) + "-" + hex.EncodeToString(sum[:4]), Namespace: v.Namespace, Labels: labels, Annotations: from.Annotations,
		},
		Spec: batchv1.JobSpec{
			BackoffLimit: from.Spec.BackoffLimit, PodFailurePolicy: from.Spec.PodFailurePolicy, Template: *from.Spec.Template.DeepCopy(),
		},
	}
	pod := &job.Spec.Template
	pod.Labels = labels
	c := &pod.Spec.Containers[0]
	c.Args = append(slices.Clone(c.Args), v.Args...)
	pod.Spec.Affinity = nil
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
	})
	for i := range pod.Spec.Volumes {
		claim := pod.Spec.Volumes[i].PersistentVolumeClaim
		if claim == nil || !v.ReadOnly {
			continue
		}
		claim.ReadOnly = true
		for j := range c.VolumeMounts {
			c.VolumeMounts[j].ReadOnly = c.VolumeMounts[j].ReadOnly || c.VolumeMounts[j].Name == pod.Spec.Volumes[i].Name
		}
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", job.Name, err)
	}
	u := &unstructured.Unstructured{Object: object}
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "creationTimestamp")
	return u, nil
}
