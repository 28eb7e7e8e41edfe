package copyjob

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// Progress is how far a Pod is, a line of its log.
type Progress struct {
	Phase string `json:"phase"` // copy or prove
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// parseProgress reads a line; ok is false for any other line.
func parseProgress(line string) (p Progress, ok bool) {
	text, ok := strings.CutPrefix(line, progressLine)
	if !ok || json.Unmarshal([]byte(text), &p) != nil || p.Done < 0 {
		return Progress{}, false
	}
	return p, p.Phase == "copy" || p.Phase == "prove"
}

// follower reads the logs of a Job's Pods while they run.
type follower struct {
	runner  *Runner
	job     Job
	started map[string]bool
	group   sync.WaitGroup
}

func (f *follower) wait() { f.group.Wait() }

// pods follows those that run and are not followed yet.
func (f *follower) pods(ctx context.Context, list []*corev1.Pod) {
	for _, p := range list {
		if f.job.Progress == nil || p.Status.Phase != corev1.PodRunning || f.started[p.Name] {
			continue
		}
		f.started[p.Name] = true
		share := p.Annotations[batchv1.JobCompletionIndexAnnotation]
		f.group.Go(func() { f.follow(ctx, p.Name, share) })
	}
}

func (f *follower) follow(ctx context.Context, pod, share string) {
	err := f.runner.Cluster.Follow(ctx, pod, Container, func(line string) {
		if p, ok := parseProgress(line); ok {
			f.job.Progress(share, p)
		}
	})
	if err != nil && ctx.Err() == nil {
		// Progress is lost, nothing else.
		f.runner.Log.Debug("the log of a copy cannot be followed", "pod", pod, "error", err)
	}
}
