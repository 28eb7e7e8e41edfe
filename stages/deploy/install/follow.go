package install

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/workspace"
)

// volumesBar is one bar for all volumes that are filled at once: each byte is
// written once and read back once.
type volumesBar struct {
	progress pipeline.Progress
	mu       sync.Mutex
	seen     map[string]int64
	total    map[string]int64
}

func newVolumesBar(p pipeline.Progress, list []*volume) *volumesBar {
	b := &volumesBar{progress: p, seen: map[string]int64{}, total: map[string]int64{}}
	var sum int64
	for _, v := range list {
		b.total[v.Name] = 2 * v.seed.Bytes
		sum += b.total[v.Name]
	}
	p.Begin("volumes", "bytes", sum)
	return b
}

func (b *volumesBar) end() { b.progress.End() }

// at says how far a volume is. A Pod that starts again begins anew: the bar
// stays where it was until that is passed.
func (b *volumesBar) at(volume string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.total[volume])
	if n > b.seen[volume] {
		b.progress.Add(n - b.seen[volume])
		b.seen[volume] = n
	}
}

func (b *volumesBar) done(v *volume) { b.at(v.Name, b.total[v.Name]) }

// progress is a line of a copy's log.
type progress struct {
	Phase string `json:"phase"` // copy or prove
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// parseProgress reads a line; ok is false for any other line.
func parseProgress(line string) (p progress, ok bool) {
	text, ok := strings.CutPrefix(line, progressLine)
	if !ok || json.Unmarshal([]byte(text), &p) != nil || p.Done < 0 {
		return progress{}, false
	}
	return p, p.Phase == "copy" || p.Phase == "prove"
}

// follower reads the logs of a copy's Pods while they run.
type follower struct {
	r       *run
	v       *volume
	started map[string]bool
	group   sync.WaitGroup
}

func (r *run) newFollower(v *volume) *follower {
	return &follower{r: r, v: v, started: map[string]bool{}}
}

func (f *follower) wait() { f.group.Wait() }

// pods follows those that run and are not followed yet.
func (f *follower) pods(ctx context.Context, list []*corev1.Pod) {
	for _, p := range list {
		if p.Status.Phase != corev1.PodRunning || f.started[p.Name] {
			continue
		}
		f.started[p.Name] = true
		f.group.Go(func() { f.follow(ctx, p.Name) })
	}
}

func (f *follower) follow(ctx context.Context, pod string) {
	err := f.r.cluster.Follow(ctx, pod, copyContainer, func(line string) {
		p, ok := parseProgress(line)
		if !ok {
			return
		}
		n := p.Done
		if p.Phase == "prove" {
			n += f.v.seed.Bytes
		}
		f.r.bar.at(f.v.Name, n)
	})
	if err != nil && ctx.Err() == nil {
		// Progress is lost, nothing else.
		f.r.Log.Debug("the log of a copy cannot be followed", "pod", pod, "error", err)
	}
}

// logsDir is where the logs of what failed are kept.
var logsDir = filepath.Join(workspace.Run, "logs")

// maxLog bounds one of them.
const maxLog = 64 << 20

// saveLogs fetches the logs of Pods that did not end well, before anything of
// them is removed, and returns the files. What cannot be fetched is no error: it
// only would hide the one that is being told.
func (r *run) saveLogs(ctx context.Context, what string, pods []*corev1.Pod) []string {
	var out []string
	for _, p := range pods {
		if p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if s.State.Running == nil && s.State.Terminated == nil && s.LastTerminationState.Terminated == nil {
				continue // it never ran
			}
			name := r.Workspace.Path(logsDir, p.Name+"-"+s.Name+".log")
			if err := r.saveLog(ctx, p.Name, s.Name, name, s.State.Waiting != nil); err != nil {
				r.Log.Warn("a log could not be fetched", "of", what, "error", err)
				continue
			}
			out = append(out, name)
		}
	}
	return out
}

func (r *run) saveLog(ctx context.Context, pod, container, name string, previous bool) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	left := maxLog
	err = r.cluster.Lines(ctx, pod, container, previous, func(line string) {
		if left -= len(line) + 1; left < 0 || strings.HasPrefix(line, progressLine) {
			return
		}
		// What fails here, Flush tells.
		fmt.Fprintln(w, line)
	})
	return errors.Join(err, w.Flush())
}
