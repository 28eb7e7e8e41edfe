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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// Said has a Job done that is no copy, and gives take the last line with that
// beginning which its container logged, without the beginning. A Job that ended
// without one is run again, like a copy.
func (r *Runner) Said(ctx context.Context, j Job, container, beginning string, take func(string) error) (time.Duration, error) {
	for n := 1; ; n++ {
		uid, err := r.start(ctx, &j)
		if err != nil {
			return 0, err
		}
		job, err := r.await(ctx, j, uid)
		if err == nil {
			err = r.lastLine(ctx, j, uid, container, beginning, take)
		}
		var lost errLost
		if !errors.As(err, &lost) || n == attempts {
			return took(job), err
		}
		r.Log.Warn("the Job is run again", "job", j.Object.GetName(), "because", err)
		if err := r.drop(ctx, j, uid); err != nil {
			return 0, err
		}
	}
}

// lastLine asks the Pods that succeeded.
func (r *Runner) lastLine(ctx context.Context, j Job, uid types.UID, container, beginning string, take func(string) error) error {
	pods, err := r.Cluster.Pods(ctx, map[string]string{batchv1.ControllerUidLabel: string(uid)})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	if i < 0 {
		return errLost{fmt.Sprintf("the Pod of Job %s is gone, and what it said with it", j.Object.GetName())}
	}
	found, ok := "", false
	err = r.Cluster.Lines(ctx, pods[i].Name, container, false, func(line string) {
		if text, is := strings.CutPrefix(line, beginning); is {
			found, ok = text, true
		}
	})
	switch {
	case apierrors.IsNotFound(err), err == nil && !ok:
		return errLost{fmt.Sprintf("the log of Pod %s holds no %q", pods[i].Name, strings.TrimSpace(beginning))}
	case err != nil:
		return err
	}
	return take(found)
}
