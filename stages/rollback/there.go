package rollback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/changes"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/diagnose"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/selfimage"
)

// There reads the volumes of a cluster, each through the Pod of a Job that mounts
// it read-only and has nothing else: the listing goes in, and list and archive come
// out, over the API server (exec). The digests in the list say whether all of it
// arrived.
type There struct {
	Owner  *cluster.Owner
	Waiter *await.Waiter // whose view has the Pods with the label of the workspace
	Plan   handoff.Plan
	Upload handoff.Upload
}

const (
	container = "changes"
	mountedAt = "/volume"
)

// Read makes the Job of one volume, reads the volume in its Pod and removes it.
func (t There) Read(ctx context.Context, of Volume, list, archive io.Writer) (err error) {
	job, err := t.job(of.Name)
	if err != nil {
		return err
	}
	if err := t.Owner.Remove(ctx, cluster.RefOf(job)); err != nil { // that of a killed run
		return err
	}
	defer func() {
		// What holds a claim on a node is in the way of the workload.
		err = errors.Join(err, t.Owner.Remove(context.WithoutCancel(ctx), cluster.RefOf(job)))
	}()
	made, err := t.Owner.ApplyBriefly(ctx, job)
	if err != nil {
		return err
	}
	pod, err := t.running(ctx, made.UID, of.Name)
	if err != nil {
		return err
	}
	return t.exec(ctx, pod, of, list, archive)
}

// exec runs the comparison in the Pod.
func (t There) exec(ctx context.Context, pod string, of Volume, list, archive io.Writer) error {
	command := []string{selfimage.Entrypoint, "changes", "--to", mountedAt, "--since", strconv.FormatInt(of.Mark, 10)}
	if len(of.NotCompared) > 0 {
		command = append(command, "--not-compared", strings.Join(of.NotCompared, ","))
	}
	s := cluster.Streams{}
	if of.Listing != "" {
		command = append(command, "--tree", of.Tree)
		in := compressed(of.Listing)
		defer in.Close()
		s.Stdin = in
	}
	words := &said{out: list}
	s.Stdout, s.Stderr = words, io.Discard
	if archive != nil {
		command = append(command, "--archive")
		s.Stdout, s.Stderr = archive, words
	}
	code, err := t.Owner.Stream(ctx, pod, container, command, s)
	if err == nil && code != 0 {
		err = fmt.Errorf("the comparison in Pod %s ends with exit code %d: %s", pod, code, words.last)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", err, changes.ErrCut)
	}
	return err
}

// compressed reads a file, compressed with zstd. Closing it ends the work.
func compressed(name string) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() {
		pw.CloseWithError(func() error {
			f, err := os.Open(name)
			if err != nil {
				return fmt.Errorf("listing: %w", err)
			}
			defer f.Close()
			z, err := zstd.NewWriter(pw, zstd.WithEncoderConcurrency(1))
			if err != nil {
				return err
			}
			_, err = io.Copy(z, f)
			return errors.Join(err, z.Close())
		}())
	}()
	return pr
}

// said passes on what a command says and keeps the end of it, which is the reason
// when it fails.
type said struct {
	out  io.Writer
	last string
}

const maxSaid = 1 << 10

func (s *said) Write(p []byte) (int, error) {
	s.last += string(p[max(0, len(p)-maxSaid):])
	s.last = s.last[max(0, len(s.last)-maxSaid):]
	return s.out.Write(p)
}

// running waits for the Job's Pod and says what is in its way.
func (t There) running(ctx context.Context, job types.UID, volume string) (pod string, err error) {
	watcher := t.Waiter.Watcher("volume", volume)
	for {
		changed := t.Waiter.View.Changed()
		if err := t.Waiter.View.Err(); err != nil {
			return "", cluster.Explain(t.Owner.Context, err)
		}
		scene := diagnose.Scene{Job: t.Waiter.View.Job(t.name(volume)), Want: 1, Pods: t.Waiter.View.JobPods(job)}
		about := []types.UID{job}
		for _, p := range scene.Pods {
			for _, s := range p.Status.ContainerStatuses {
				if s.State.Running != nil && p.DeletionTimestamp == nil {
					return p.Name, nil
				}
			}
			about = append(about, p.UID)
		}
		if scene.Job != nil && scene.Job.UID == job {
			scene.Events = t.Waiter.View.Events(t.Waiter.Began, about...)
			if err := watcher.Look(scene); err != nil {
				return "", err
			}
		}
		if err := t.Waiter.Pause(ctx, changed); err != nil {
			return "", err
		}
	}
}

func (t There) name(volume string) string { return t.Plan.ObjectName("changes-" + volume) }

func (t There) labels(volume string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name": "changes-" + volume, "app.kubernetes.io/instance": t.Plan.Name, "app.kubernetes.io/part-of": t.Plan.Name,
		"app.kubernetes.io/managed-by": "statelift",
	}
}

// account is that of the copies, which knows with what the image is pulled; it is
// there when a volume has a seed.
func (t There) account() string {
	if slices.ContainsFunc(t.Plan.Volumes, func(v handoff.Volume) bool { return v.Seed }) {
		return t.Plan.ObjectName("copy")
	}
	return ""
}

// forgotten is when a Job that nobody removed ends by itself, in seconds.
const forgotten = 24 * 60 * 60

// job is the Job whose Pod reads a volume.
func (t There) job(volume string) (*unstructured.Unstructured, error) {
	if t.Upload.Copier == "" {
		return nil, errors.New("the cluster has no image of statelift: run the lift with --registry")
	}
	labels := t.labels(volume)
	once, none, seconds := int32(1), int32(0), int64(forgotten)
	job := &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: t.name(volume), Namespace: t.Owner.Namespace, Labels: labels},
		Spec: batchv1.JobSpec{
			Completions: &once, Parallelism: &once, BackoffLimit: &none, ActiveDeadlineSeconds: &seconds,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: t.pod(volume)},
		},
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", job.Name, err)
	}
	u := &unstructured.Unstructured{Object: object}
	unstructured.RemoveNestedField(u.Object, "status")
	return u, nil
}

// pod reads the volume, may read all of it, and nothing more.
func (t There) pod(volume string) corev1.PodSpec {
	needs := handoff.CopyResources()
	no, yes, root, grace := false, true, int64(0), int64(5)
	spec := corev1.PodSpec{
		ServiceAccountName: t.account(), AutomountServiceAccountToken: &no, EnableServiceLinks: &no, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace,
		SecurityContext: &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{
			Name: container, Image: t.Upload.Copier, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"changes", "--wait"},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(needs.CPU, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(needs.Memory, resource.BinarySI)},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: *resource.NewQuantity(needs.MemoryLimit, resource.BinarySI)},
			},
			SecurityContext: &corev1.SecurityContext{
				RunAsUser: &root, RunAsGroup: &root, RunAsNonRoot: &no, Privileged: &no, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"DAC_OVERRIDE"}},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "volume", MountPath: mountedAt, ReadOnly: true}},
		}},
		Volumes: []corev1.Volume{{Name: "volume", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: t.Plan.ObjectName(volume), ReadOnly: true},
		}}},
	}
	if t.Upload.Arch != "" {
		spec.NodeSelector = map[string]string{corev1.LabelArchStable: t.Upload.Arch, corev1.LabelOSStable: "linux"}
	}
	return spec
}
