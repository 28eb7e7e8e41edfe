package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/workspace"
)

// prover proves volumes of a cluster again, each by a Job that mounts it
// read-only.
type prover struct {
	*run
	cluster *cluster.Cluster
	jobs    *copyjob.Runner
}

// patience is how long a fault that may pass by itself is waited for, and the end
// of an object.
const patience = time.Minute

// volumesAgain proves every volume that has a seed and that nobody uses. What is
// made for that is removed, also when the proof fails.
func (r *run) volumesAgain(ctx context.Context, c *cluster.Cluster) (err error) {
	identity, err := r.Workspace.Identity()
	if err != nil {
		return err
	}
	made, err := cluster.OpenMade(ctx, r.Ledgers("deploy"))
	if err != nil {
		return err
	}
	owner := &cluster.Owner{Cluster: c, Made: made, Workspace: identity, Log: r.Log, Patience: patience}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer func() { err = errors.Join(err, owner.RemoveBrief(context.WithoutCancel(ctx))) }()
	if err := owner.RemoveBrief(ctx); err != nil { // what a killed run left
		return err
	}
	view, err := c.Watch(ctx, cluster.WorkspaceLabel+"="+identity)
	if err != nil {
		return cluster.Explain(c.Context, err)
	}
	logs := r.Workspace.Path(workspace.Run, "logs")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return err
	}
	p := prover{run: r, cluster: c, jobs: &copyjob.Runner{Owner: owner, Waiter: &await.Waiter{
		Cluster: c, View: view, Log: r.Log, Progress: r.Progress, Logs: logs, Patience: patience, Began: time.Now(),
	}}}
	if err := p.jobs.GiveCredentials(ctx, r.made.Plan, r.made.Upload.Seeds, nil); err != nil {
		return err
	}
	for _, v := range r.made.Plan.Volumes {
		seed, ok := r.made.seed(v.Name)
		if !v.Seed || !ok {
			continue
		}
		l, err := r.lineage(ctx, seed)
		var receipt handoff.Receipt
		if err == nil {
			receipt, err = p.prove(ctx, v, seed, l)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.check(aVolume, v.Name+" in "+c.String(), err, "%d paths with %d bytes read in the cluster, tree %s as at the source", receipt.Entries, receipt.Bytes, receipt.SourceTree)
	}
	return nil
}

func (p prover) prove(ctx context.Context, v handoff.Volume, seed handoff.Seed, l *lineage.Lineage) (handoff.Receipt, error) {
	if err := p.unused(ctx, p.run.made.Plan.ObjectName(v.Name)); err != nil {
		return handoff.Receipt{}, err
	}
	object, err := p.checkJob(v, seed, l.Digests())
	if err != nil {
		return handoff.Receipt{}, err
	}
	receipt, _, err := p.jobs.Receipt(ctx, copyjob.Job{
		Object: object, Volume: v.Name, Seed: seed.Digest, Deltas: l.Digests(), Brief: true,
		Accept: l.Accept,
	})
	if err == nil && !receipt.Proved {
		err = differs(receipt)
	}
	return receipt, err
}

// checkJob makes of the Job that fills a volume one that only reads it.
func (p prover) checkJob(v handoff.Volume, seed handoff.Seed, deltas []string) (*unstructured.Unstructured, error) {
	from, err := copyjob.Manifest(p.Workspace, p.run.made.Manifests, v.Name, seed.Digest)
	if err != nil {
		return nil, err
	}
	return copyjob.Variant{
		Plan: p.run.made.Plan, Namespace: p.cluster.Namespace, Part: "check-" + v.Name, ReadOnly: true,
		Args: append([]string{"--check"}, copyjob.DeltaArgs(deltas)...),
	}.Of(from)
}

// differs names the first differences.
func differs(r handoff.Receipt) error {
	faults := []error{fmt.Errorf("%d differences to the source", r.DifferenceCount)}
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
