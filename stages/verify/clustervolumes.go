package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/diagnose"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
)

// prover proves volumes of a cluster again, each by a Job that mounts it
// read-only.
type prover struct {
	*run
	cluster  *cluster.Cluster
	identity string // of the workspace
	made     *cluster.Made
	view     *cluster.View
}

// volumesAgain proves every volume that has a seed and that nobody uses. What is
// made for that is removed, also when the proof fails.
func (r *run) volumesAgain(ctx context.Context, c *cluster.Cluster) (err error) {
	p := prover{run: r, cluster: c}
	if p.identity, err = r.Workspace.Identity(); err != nil {
		return err
	}
	if p.made, err = cluster.OpenMade(ctx, r.Ledger); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer func() { err = errors.Join(err, p.tidy(context.WithoutCancel(ctx))) }()
	if err := p.tidy(ctx); err != nil { // what a killed run left
		return err
	}
	if p.view, err = c.Watch(ctx, cluster.WorkspaceLabel+"="+p.identity); err != nil {
		return cluster.Explain(c.Context, err)
	}
	if err := p.giveCredentials(ctx); err != nil {
		return err
	}
	for _, v := range r.made.Plan.Volumes {
		i := slices.IndexFunc(r.made.Seeds.Seeds, func(s handoff.Seed) bool { return s.Volume == v.Name })
		if !v.Seed || i < 0 {
			continue
		}
		seed := r.made.Seeds.Seeds[i]
		err := p.prove(ctx, v, seed)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.check(aVolume, v.Name+" in "+c.String(), err, "%d paths with %d bytes read in the cluster, tree %s as at the source", seed.Entries, seed.Bytes, seed.Tree)
	}
	return nil
}

func (p prover) prove(ctx context.Context, v handoff.Volume, seed handoff.Seed) error {
	claim := p.run.made.Plan.ObjectName(v.Name)
	if err := p.unused(ctx, claim); err != nil {
		return err
	}
	job, err := p.checkJob(v, seed)
	if err != nil {
		return err
	}
	receipt, err := p.runJob(ctx, job)
	if err != nil {
		return err
	}
	switch {
	case receipt.Seed != seed.Digest || receipt.Volume != v.Name:
		return fmt.Errorf("the check read seed %s of volume %s, not %s", receipt.Seed, receipt.Volume, seed.Digest)
	case !receipt.Proved || receipt.CopyTree != receipt.SourceTree:
		return differs(receipt)
	}
	return nil
}

// differs names the first differences.
func differs(r handoff.Receipt) error {
	faults := []error{fmt.Errorf("%d differences to the seed", r.DifferenceCount)}
	for _, d := range r.Differences[:min(len(r.Differences), maxFaults)] {
		faults = append(faults, fmt.Errorf("%s: %s is %q, was %q", d.Path, d.What, d.Copy, d.Source))
	}
	return errors.Join(faults...)
}

// unused says who has the claim: what is written to while it is read proves
// nothing.
func (p prover) unused(ctx context.Context, claim string) error {
	pods, err := p.cluster.Client.CoreV1().Pods(p.cluster.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("who uses claim %s: %w", claim, err)
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, v := range pod.Spec.Volumes {
			if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim {
				return fmt.Errorf("not looked at, since Pod %s uses it: stop its workload (%s) and ask again", pod.Name, stopping(pod, p.cluster.Namespace))
			}
		}
	}
	return nil
}

// stopping is the command that stops the workload of a Pod.
func stopping(pod corev1.Pod, namespace string) string {
	for _, o := range pod.OwnerReferences {
		switch o.Kind {
		case "StatefulSet":
			return fmt.Sprintf("kubectl scale -n %s --replicas=0 statefulset/%s", namespace, o.Name)
		case "ReplicaSet":
			name, _, _ := cutLast(o.Name, "-")
			return fmt.Sprintf("kubectl scale -n %s --replicas=0 deployment/%s", namespace, name)
		case "Job":
			return "it ends by itself"
		}
	}
	return fmt.Sprintf("kubectl delete -n %s pod/%s", namespace, pod.Name)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// checkJob makes of the Job that fills a volume one that only reads it.
func (p prover) checkJob(v handoff.Volume, seed handoff.Seed) (*batchv1.Job, error) {
	from, err := p.copyJob(v.Name, seed.Digest)
	if err != nil {
		return nil, err
	}
	plan := p.run.made.Plan
	labels := map[string]string{
		"app.kubernetes.io/name": "check-" + v.Name, "app.kubernetes.io/instance": plan.Name, "app.kubernetes.io/part-of": plan.Name,
		"app.kubernetes.io/managed-by": "statelift", cluster.WorkspaceLabel: p.identity,
	}
	job := &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: plan.ObjectName("check-" + v.Name), Namespace: p.cluster.Namespace, Labels: labels, Annotations: from.Annotations},
		Spec: batchv1.JobSpec{
			BackoffLimit: from.Spec.BackoffLimit, PodFailurePolicy: from.Spec.PodFailurePolicy,
			Template: *from.Spec.Template.DeepCopy(),
		},
	}
	pod := &job.Spec.Template
	pod.Labels = labels
	c := &pod.Spec.Containers[0]
	c.Args = append([]string{c.Args[0], "--check"}, c.Args[1:]...)
	// The claims are bound: those that only chose the node of the copy would keep
	// this Pod from a node, and others from being looked at.
	pod.Spec.Affinity = nil
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
	})
	for i := range pod.Spec.Volumes {
		if claim := pod.Spec.Volumes[i].PersistentVolumeClaim; claim != nil {
			claim.ReadOnly = true
			for j := range c.VolumeMounts {
				c.VolumeMounts[j].ReadOnly = c.VolumeMounts[j].ReadOnly || c.VolumeMounts[j].Name == pod.Spec.Volumes[i].Name
			}
		}
	}
	return job, nil
}

// copyJob finds the manifest of the Job that fills a volume and proves it.
func (p prover) copyJob(volume, digest string) (*batchv1.Job, error) {
	for _, f := range p.run.made.Manifests.Files {
		if f.Kind != "Job" {
			continue
		}
		name := p.Workspace.Path(p.run.made.Manifests.Directory, f.Name)
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
		seed := slices.ContainsFunc(args, func(a string) bool { return strings.HasSuffix(a, "@"+digest) })
		if i >= 0 && i+1 < len(args) && args[i+1] == volume && seed && !slices.ContainsFunc(args, isShard) {
			return &job, nil
		}
	}
	return nil, fmt.Errorf("no manifest of a Job fills volume %s from seed %s", volume, digest)
}

func isShard(arg string) bool { return strings.HasPrefix(arg, "--shard") }

// stuckFor is how long something may look stuck before it is called so.
const stuckFor = 20 * time.Second

// runJob runs a Job to its end and returns the receipt that its log holds.
func (p prover) runJob(ctx context.Context, job *batchv1.Job) (handoff.Receipt, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		return handoff.Receipt{}, fmt.Errorf("job %s: %w", job.Name, err)
	}
	u := &unstructured.Unstructured{Object: object}
	unstructured.RemoveNestedField(u.Object, "status")
	done, err := p.apply(ctx, u)
	if err != nil {
		return handoff.Receipt{}, err
	}
	defer p.remove(context.WithoutCancel(ctx), cluster.Thing{Ref: cluster.RefOf(u), Context: p.cluster.Context}) //nolint:errcheck // tidy tells
	var stuck time.Time
	for {
		changed := p.view.Changed()
		if err := p.view.Err(); err != nil {
			return handoff.Receipt{}, cluster.Explain(p.cluster.Context, err)
		}
		pods := p.view.JobPods(done.UID)
		live := p.view.Job(job.Name)
		if live != nil && live.UID == done.UID {
			if diagnose.OutcomeOf(live) != diagnose.Going {
				return p.receipt(ctx, live, pods)
			}
			findings := diagnose.Explain(diagnose.Scene{Job: live, Pods: pods, Events: p.view.Events(live.CreationTimestamp.Time, live.UID)})
			switch {
			case len(findings) == 0 || findings[0].Level < diagnose.Stuck:
				stuck = time.Time{}
			case stuck.IsZero():
				stuck = time.Now()
			case time.Since(stuck) > stuckFor:
				return handoff.Receipt{}, errors.New(findings[0].String())
			}
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		case <-ctx.Done():
			return handoff.Receipt{}, ctx.Err()
		}
	}
}

// receiptLine begins the line of a copy's log that holds its receipt.
const receiptLine = "receipt: "

// receipt reads the receipt from the log of the last Pod that has one.
func (p prover) receipt(ctx context.Context, job *batchv1.Job, pods []*corev1.Pod) (handoff.Receipt, error) {
	var receipt handoff.Receipt
	last := ""
	for _, pod := range pods {
		found := ""
		err := p.cluster.Lines(ctx, pod.Name, job.Spec.Template.Spec.Containers[0].Name, false, func(line string) {
			if text, ok := strings.CutPrefix(line, receiptLine); ok {
				found = text
			} else if !strings.HasPrefix(line, "progress: ") {
				last = line
			}
		})
		if err != nil {
			return receipt, err
		}
		if found != "" {
			if err := json.Unmarshal([]byte(found), &receipt); err != nil {
				return receipt, fmt.Errorf("the receipt in the log of Pod %s: %w", pod.Name, err)
			}
			return receipt, nil
		}
	}
	for _, f := range diagnose.Explain(diagnose.Scene{Job: job, Pods: pods}) {
		return receipt, fmt.Errorf("%s (its last words: %q)", f, last)
	}
	return receipt, fmt.Errorf("the logs of Job %s hold no receipt", job.Name)
}
