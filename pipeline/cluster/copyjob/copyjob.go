// Package copyjob runs in a cluster the Jobs that fill a volume, bring it up to
// date or check it (statelift copy), follows their progress and collects the
// receipts. Nobody's word is taken: what a Pod says of itself must agree in its log
// and in its termination message, and be about what was asked for.
package copyjob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/diagnose"
	"github.com/statelift/statelift/pipeline/handoff"
)

// attempts is how often a Job is made for one volume in one run: it may have
// ended without leaving its receipt, or be removed by somebody.
const attempts = 3

// Runner runs Jobs of one lift. Its Waiter's view must have the Jobs and their
// Pods.
type Runner struct {
	*await.Waiter
	Owner *cluster.Owner
}

// Job is one Job, and what its receipt must say.
type Job struct {
	Object *unstructured.Unstructured
	Volume string
	Seed   string   // digest
	Deltas []string // digests
	// Known is the Job that an earlier run made for the same claim, if there was
	// one: it is waited for. Any other of that name is replaced.
	Known types.UID
	// Started is told which Job it has become, before it is waited for.
	Started func(context.Context, types.UID) error
	// Progress is told how far the Pods are; share is the index of a shard. It may
	// be nil.
	Progress func(share string, at Progress)
	// Accept says what is wrong with a receipt that is about the right seed; it
	// may be nil.
	Accept func(context.Context, handoff.Receipt) error
	// Brief Jobs are removed with all that is there for a run only.
	Brief bool
}

// Receipt has the Job done, as often as it takes to get its receipt, and returns
// that with how long the Job took. A receipt that names differences is no error
// here. [NoImage] says that no Pod gets the image.
func (r *Runner) Receipt(ctx context.Context, j Job) (handoff.Receipt, time.Duration, error) {
	for n := 1; ; n++ {
		uid, err := r.start(ctx, &j)
		if err != nil {
			return handoff.Receipt{}, 0, err
		}
		job, receipt, err := r.outcome(ctx, j, uid)
		if err == nil {
			return receipt, took(job), nil
		}
		var lost errLost
		if !errors.As(err, &lost) || n == attempts {
			return receipt, 0, err
		}
		r.Log.Warn("the Job is run again, and proves again", "volume", j.Volume, "because", err)
		// It stays as it is, for ever without its receipt, until it is made anew.
		if err := r.drop(ctx, j, uid); err != nil {
			return receipt, 0, err
		}
	}
}

// Complete has the Job done, of which no receipt is wanted.
func (r *Runner) Complete(ctx context.Context, j Job) (time.Duration, error) {
	uid, err := r.start(ctx, &j)
	if err != nil {
		return 0, err
	}
	job, err := r.await(ctx, j, uid)
	return took(job), err
}

// errLost says that a Job came to an end, or was taken away, and there is no
// receipt to be had of it.
type errLost struct{ why string }

func (e errLost) Error() string { return e.why }

// outcome waits for the Job and fetches its receipt.
func (r *Runner) outcome(ctx context.Context, j Job, uid types.UID) (job *batchv1.Job, receipt handoff.Receipt, err error) {
	job, err = r.await(ctx, j, uid)
	if err == nil {
		receipt, err = r.collect(ctx, j, uid)
	}
	return job, receipt, err
}

// drop removes the Job if it is still there.
func (r *Runner) drop(ctx context.Context, j Job, uid types.UID) error {
	live, err := r.Cluster.Live(ctx, cluster.RefOf(j.Object))
	if err != nil || live == nil || live.GetUID() != uid {
		return err
	}
	r.SaveLogs(ctx, j.Volume, r.View.JobPods(uid))
	return r.Remove(ctx, live)
}

// Remove removes one object of this workspace and waits until it and its Pods are
// gone. It stays recorded as made.
func (r *Runner) Remove(ctx context.Context, live *unstructured.Unstructured) error {
	ref := cluster.RefOf(live)
	if err := r.Cluster.Remove(ctx, ref, live.GetUID()); err != nil {
		return err
	}
	if err := r.Cluster.Gone(ctx, ref, live.GetUID(), r.Patience); err != nil {
		return err
	}
	return r.PodsGone(ctx, live)
}

func took(j *batchv1.Job) time.Duration {
	if j == nil || j.Status.StartTime == nil || j.Status.CompletionTime == nil {
		return 0
	}
	return j.Status.CompletionTime.Sub(j.Status.StartTime.Time)
}

// start makes the Job, or finds the one that an earlier run made for the same
// claim. One that failed, that was for another claim, or that could not make a
// Pod, is replaced: its template cannot be changed, and a controller that was
// refused waits long before it tries again.
func (r *Runner) start(ctx context.Context, j *Job) (types.UID, error) {
	live, err := r.Cluster.Live(ctx, cluster.RefOf(j.Object))
	if err != nil {
		return "", err
	}
	if r.Owner.Owns(live) {
		if why := r.useless(live, j.Known); why != "" {
			r.Log.Info("an earlier Job is replaced", "volume", j.Volume, "because", why)
			r.SaveLogs(ctx, j.Volume, r.View.JobPods(live.GetUID()))
			if err := r.Remove(ctx, live); err != nil {
				return "", err
			}
		}
	}
	apply := r.Owner.Apply
	if j.Brief {
		apply = r.Owner.ApplyBriefly
	}
	done, err := apply(ctx, j.Object)
	if err != nil {
		return "", err
	}
	j.Known = done.UID
	if j.Started != nil {
		err = j.Started(ctx, done.UID)
	}
	return done.UID, err
}

// useless says why an earlier Job is of no use, "" when it is.
func (r *Runner) useless(live *unstructured.Unstructured, known types.UID) string {
	uid := live.GetUID()
	job := r.View.Job(live.GetName())
	pods := r.View.JobPods(uid)
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
func (r *Runner) await(ctx context.Context, j Job, uid types.UID) (*batchv1.Job, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	follow := follower{runner: r, job: j, started: map[string]bool{}}
	defer follow.wait()
	defer stop()
	watcher, seen := r.Watcher("volume", j.Volume), false
	name := j.Object.GetName()
	for {
		changed := r.View.Changed()
		if err := r.View.Err(); err != nil {
			return nil, cluster.Explain(r.Cluster.Context, err)
		}
		job := r.View.Job(name)
		if job != nil && job.UID == uid {
			seen = true
			pods := r.View.JobPods(uid)
			follow.pods(ctx, pods)
			if done := j.done(job, pods); done != nil {
				return done, nil
			}
			switch diagnose.OutcomeOf(job) {
			case diagnose.Succeeded:
				return job, nil
			case diagnose.Failed:
				return job, r.failed(ctx, j, job, pods)
			}
			watcher.Failures(job, pods)
			if err := watcher.Look(r.scene(j, job, pods)); err != nil {
				if files := r.SaveLogs(ctx, j.Volume, pods); len(files) > 0 {
					err = fmt.Errorf("%w\n  the logs are in %s", err, strings.Join(files, ", "))
				}
				if slices.ContainsFunc(pods, lacksImage) {
					err = &NoImage{err}
				}
				if !slices.ContainsFunc(pods, alive) {
					r.giveUp(ctx, j)
				}
				return nil, err
			}
		} else if seen {
			return nil, errLost{"Job " + name + " was removed by somebody"}
		}
		if err := r.Pause(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// done is the Job as it will be told to be once its controller has noticed that
// the Pod of it succeeded; nil before that. The controller looks at what ended
// once a second, and twice before it calls a Job complete, and a cutover waits for
// it. Only what is removed after the run is taken at its Pod's word: what the Pod
// left must say the same in any case.
func (j Job) done(job *batchv1.Job, pods []*corev1.Pod) *batchv1.Job {
	if !j.Brief || await.Replicas(job.Spec.Completions) != 1 {
		return nil
	}
	i := slices.IndexFunc(pods, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	if i < 0 {
		return nil
	}
	job = job.DeepCopy()
	for _, s := range pods[i].Status.ContainerStatuses {
		if s.State.Terminated != nil {
			job.Status.CompletionTime = &s.State.Terminated.FinishedAt
		}
	}
	return job
}

// giveUp suspends a Job whose Pods do not start: while they wait for a volume or an
// image they keep room on their node, which other Jobs want (batch/v1 JobSpec,
// suspend). The Job itself stays for who looks, until the next run replaces it.
func (r *Runner) giveUp(ctx context.Context, j Job) {
	u := j.Object.DeepCopy()
	err := unstructured.SetNestedField(u.Object, true, "spec", "suspend")
	if err == nil {
		_, err = r.Owner.Apply(ctx, u)
	}
	if err != nil {
		r.Log.Warn("a Job that does not go on could not be suspended, and its Pods keep their room", "volume", j.Volume, "error", err)
	}
}

// NoImage is the error of a Job whose image could not be pulled: no other Job of
// the run can be begun either, and each would keep room on its node meanwhile.
type NoImage struct{ Err error }

func (e *NoImage) Error() string { return e.Err.Error() }

func (e *NoImage) Unwrap() error { return e.Err }

func lacksImage(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Waiting != nil && (s.State.Waiting.Reason == "ErrImagePull" || s.State.Waiting.Reason == "ImagePullBackOff")
	})
}

// scene is what is known of a Job.
func (r *Runner) scene(j Job, job *batchv1.Job, pods []*corev1.Pod) diagnose.Scene {
	s := diagnose.Scene{Job: job, Want: int(await.Replicas(job.Spec.Parallelism)), Pods: unfinished(pods)}
	if len(s.Pods) == 0 && len(pods) > 0 {
		s.Failed = slices.MaxFunc(pods, func(a, b *corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	}
	about := []types.UID{job.UID}
	for _, name := range cluster.Claims(j.Object) {
		if claim := r.View.Claim(name); claim != nil {
			s.Claims = append(s.Claims, claim)
			about = append(about, claim.UID)
		}
	}
	for _, p := range pods {
		about = append(about, p.UID)
	}
	s.Events = r.View.Events(r.Began.Add(-time.Minute), about...)
	return s
}

// unfinished leaves out Pods that failed while another one goes on.
func unfinished(pods []*corev1.Pod) []*corev1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
}

// failed explains a Job that gave up. A copy that was made and differs is no
// failure of the Job: its receipt tells.
func (r *Runner) failed(ctx context.Context, j Job, job *batchv1.Job, pods []*corev1.Pod) error {
	// The view may know of the Job's end before it knows of the Pod's.
	if now, err := r.Cluster.Pods(ctx, map[string]string{batchv1.ControllerUidLabel: string(job.UID)}); err == nil && len(now) > 0 {
		pods = pods[:0:0]
		for i := range now {
			pods = append(pods, &now[i])
		}
	}
	files := r.SaveLogs(ctx, j.Volume, pods)
	for _, p := range pods {
		if short, ok := lastWordsOf(p); ok && !short.Proved {
			return nil
		}
	}
	lines := []string{}
	for _, f := range diagnose.Explain(diagnose.Scene{Job: job, Pods: pods, Events: r.scene(j, job, pods).Events}) {
		lines = append(lines, f.String())
	}
	if len(files) > 0 {
		lines = append(lines, "the logs are in "+strings.Join(files, ", "))
	}
	return fmt.Errorf("%s", strings.Join(lines, "\n  "))
}
