package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/diagnose"
	"github.com/statelift/statelift/pipeline/handoff"
)

// attempts is how often a Job is made for one volume in one run: it may have
// ended without leaving its receipt, or be removed by somebody.
const attempts = 3

// copy has one volume filled and proved by its Job, and keeps the receipt in the
// ledger.
func (r *run) copy(ctx context.Context, v *volume) error {
	if err := r.share(ctx, v); err != nil {
		return err
	}
	for n := 1; ; n++ {
		uid, err := r.startJob(ctx, v, v.job, &v.state.Job)
		if err != nil {
			return err
		}
		job, receipt, err := r.outcome(ctx, v, uid)
		if err == nil {
			v.state.Receipt = &receipt
			r.bar.done(v)
			r.Log.Info("volume is filled", "volume", v.Name, "proved", receipt.Proved, "files", receipt.Files, "bytes", receipt.Bytes, "took", took(job))
			return r.keep(ctx, v.Name, v.state)
		}
		var lost errLost
		if !errors.As(err, &lost) || n == attempts {
			return err
		}
		r.Log.Warn("the Job is run again, and proves again", "volume", v.Name, "because", err)
		// It stays as it is, for ever without its receipt, until it is made anew.
		if err := r.dropJob(ctx, v, uid); err != nil {
			return err
		}
	}
}

// errLost says that a Job came to an end, or was taken away, and there is no
// receipt to be had of it.
type errLost struct{ why string }

func (e errLost) Error() string { return e.why }

// outcome waits for the Job and fetches its receipt.
func (r *run) outcome(ctx context.Context, v *volume, uid types.UID) (job *batchv1.Job, receipt handoff.Receipt, err error) {
	job, err = r.await(ctx, v, v.job.GetName(), uid)
	if err == nil {
		receipt, err = r.collect(ctx, v, uid)
	}
	return job, receipt, err
}

// dropJob removes the Job if it is still there.
func (r *run) dropJob(ctx context.Context, v *volume, uid types.UID) error {
	live, err := r.cluster.Live(ctx, cluster.RefOf(v.job))
	if err != nil || live == nil || live.GetUID() != uid {
		return err
	}
	r.saveLogs(ctx, v.Name, r.view.JobPods(uid))
	return r.removeObject(ctx, live)
}

// share has a large volume filled by several Pods side by side, if that was asked
// for. The Job after it does what they left and proves all.
func (r *run) share(ctx context.Context, v *volume) error {
	if v.shards == nil || v.state.Shared {
		return nil
	}
	uid, err := r.startJob(ctx, v, v.shards, &v.state.Shards)
	if err != nil {
		return err
	}
	job, err := r.await(ctx, v, v.shards.GetName(), uid)
	if err != nil {
		return err
	}
	r.Log.Info("shards have filled the volume", "volume", v.Name, "took", took(job))
	v.state.Shared = true
	return r.keep(ctx, v.Name, v.state)
}

func took(j *batchv1.Job) string {
	if j == nil || j.Status.StartTime == nil || j.Status.CompletionTime == nil {
		return "unknown"
	}
	return j.Status.CompletionTime.Sub(j.Status.StartTime.Time).String()
}

// startJob makes the Job, or finds the one that an earlier run made for the same
// claim. One that failed, that was for another claim, or that could not make a
// Pod, is replaced: its template cannot be changed, and a controller that was
// refused waits long before it tries again.
func (r *run) startJob(ctx context.Context, v *volume, job *unstructured.Unstructured, known *types.UID) (types.UID, error) {
	ref := cluster.RefOf(job)
	live, err := r.cluster.Live(ctx, ref)
	if err != nil {
		return "", err
	}
	if live != nil && live.GetLabels()[cluster.WorkspaceLabel] == r.identity {
		if why := r.replaceJob(live, *known); why != "" {
			r.Log.Info("an earlier Job is replaced", "volume", v.Name, "because", why)
			r.saveLogs(ctx, v.Name, r.view.JobPods(live.GetUID()))
			if err := r.removeObject(ctx, live); err != nil {
				return "", err
			}
		}
	}
	done, err := r.apply(ctx, job)
	if err != nil {
		return "", err
	}
	*known = done.UID
	return done.UID, r.keep(ctx, v.Name, v.state)
}

// replaceJob says why an earlier Job is of no use, "" when it is.
func (r *run) replaceJob(live *unstructured.Unstructured, known types.UID) string {
	uid := live.GetUID()
	job := r.view.Job(live.GetName())
	pods := r.view.JobPods(uid)
	switch {
	case uid != known:
		return "it was for another claim"
	case job == nil || job.UID != uid:
		return ""
	case diagnose.OutcomeOf(job) == diagnose.Failed:
		return "it failed"
	case diagnose.OutcomeOf(job) == diagnose.Going && len(pods) == 0:
		return "it has no Pod"
	case diagnose.OutcomeOf(job) == diagnose.Going && !slices.ContainsFunc(pods, alive):
		return "its Pod does not start"
	}
	return ""
}

func alive(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning || p.Status.Phase == corev1.PodSucceeded
}

// await waits until a Job has come to its end, and says what is in the way as
// soon as it shows.
func (r *run) await(ctx context.Context, v *volume, name string, uid types.UID) (*batchv1.Job, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	follow := r.newFollower(v)
	defer follow.wait()
	defer stop()
	watcher, seen := r.newWatcher("volume", v.Name), false
	for {
		changed := r.view.Changed()
		if err := r.view.Err(); err != nil {
			return nil, cluster.Explain(r.cluster.Context, err)
		}
		job := r.view.Job(name)
		if job != nil && job.UID == uid {
			seen = true
			pods := r.view.JobPods(uid)
			follow.pods(ctx, pods)
			switch diagnose.OutcomeOf(job) {
			case diagnose.Succeeded:
				return job, nil
			case diagnose.Failed:
				return job, r.failed(ctx, v, job, pods)
			}
			watcher.failures(job, pods)
			if err := watcher.look(r.scene(v, job, pods)); err != nil {
				if files := r.saveLogs(ctx, v.Name, pods); len(files) > 0 {
					err = fmt.Errorf("%w\n  the logs are in %s", err, strings.Join(files, ", "))
				}
				if slices.ContainsFunc(pods, lacksImage) {
					err = errNoImage{err}
				}
				return nil, err
			}
		} else if seen {
			return nil, errLost{"Job " + name + " was removed by somebody"}
		}
		if err := r.pause(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// errNoImage is that of a copy whose image could not be pulled: no other copy of
// the run can be begun either, and each would keep room on its node meanwhile.
type errNoImage struct{ error }

func (e errNoImage) Unwrap() error { return e.error }

func lacksImage(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Waiting != nil && (s.State.Waiting.Reason == "ErrImagePull" || s.State.Waiting.Reason == "ImagePullBackOff")
	})
}

// pause waits for a change, and a second at most: what stays as it is also means
// something after a while.
func (r *run) pause(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// scene is what is known of a copy.
func (r *run) scene(v *volume, job *batchv1.Job, pods []*corev1.Pod) diagnose.Scene {
	s := diagnose.Scene{Job: job, Want: int(replicas(job.Spec.Parallelism)), Pods: unfinished(pods)}
	if len(s.Pods) == 0 && len(pods) > 0 {
		s.Failed = slices.MaxFunc(pods, func(a, b *corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	}
	about := []types.UID{job.UID}
	for _, name := range claimsOf(v.job) {
		if claim := r.view.Claim(name); claim != nil {
			s.Claims = append(s.Claims, claim)
			about = append(about, claim.UID)
		}
	}
	for _, p := range pods {
		about = append(about, p.UID)
	}
	s.Events = r.view.Events(r.began.Add(-time.Minute), about...)
	return s
}

// unfinished leaves out Pods that failed while another one goes on.
func unfinished(pods []*corev1.Pod) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range pods {
		if p.Status.Phase != corev1.PodFailed {
			out = append(out, p)
		}
	}
	return out
}

// failed explains a Job that gave up. A copy that was made and differs is no
// failure of the Job: its receipt tells.
func (r *run) failed(ctx context.Context, v *volume, job *batchv1.Job, pods []*corev1.Pod) error {
	files := r.saveLogs(ctx, v.Name, pods)
	for _, p := range pods {
		if short, ok := shortReceipt(p); ok && !short.Proved {
			return nil
		}
	}
	lines := []string{}
	for _, f := range diagnose.Explain(diagnose.Scene{Job: job, Pods: pods, Events: r.scene(v, job, pods).Events}) {
		lines = append(lines, f.String())
	}
	if len(files) > 0 {
		lines = append(lines, "the logs are in "+strings.Join(files, ", "))
	}
	return fmt.Errorf("%s", strings.Join(lines, "\n  "))
}

// collect reads the receipt from the log of the Pod that made the copy, and
// compares it with what the Pod's termination message says and with the seed. It
// asks the cluster itself: what the watch has of the Pods may lag behind what it
// has of the Job.
func (r *run) collect(ctx context.Context, v *volume, uid types.UID) (handoff.Receipt, error) {
	pods, err := r.cluster.Pods(ctx, map[string]string{batchv1.ControllerUidLabel: string(uid)})
	if err != nil {
		return handoff.Receipt{}, err
	}
	// The last one that ended.
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for i := range pods {
		short, ok := shortReceipt(&pods[i])
		if !ok {
			continue
		}
		receipt, err := r.readReceipt(ctx, pods[i].Name)
		if apierrors.IsNotFound(err) {
			break // removed since
		}
		if err != nil {
			return receipt, err
		}
		return receipt, r.checkReceipt(ctx, receipt, short, v)
	}
	return handoff.Receipt{}, errLost{fmt.Sprintf("the Pod of Job %s is gone, and the receipt with it", v.job.GetName())}
}
