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

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/workspace"
)

// volumesBar is one bar for all volumes that are filled at once: each byte is
// written once and read back once.
type volumesBar struct {
	progress pipeline.Progress
	mu       sync.Mutex
	volumes  map[string]*volumeProgress
}

// volumeProgress is how far one volume is.
type volumeProgress struct {
	bytes  int64
	shares map[string]int64 // written, by the index of a shard; "" without
	proved int64
	shown  int64
	own    func(done int64) // its own bar
	end    func()
}

// parted is a display that shows several things at once.
type parted interface {
	Part(name, unit string, total int64) (at func(done int64), end func())
}

func newVolumesBar(p pipeline.Progress, list []*volume) *volumesBar {
	b := &volumesBar{progress: p, volumes: map[string]*volumeProgress{}}
	var sum int64
	for _, v := range list {
		b.volumes[v.Name] = &volumeProgress{bytes: v.seed.Bytes, shares: map[string]int64{}}
		sum += 2 * v.seed.Bytes
	}
	p.Begin("volumes", "bytes", sum)
	return b
}

// begin gives a volume a bar of its own, where the display can.
func (b *volumesBar) begin(v *volume) {
	d, ok := b.progress.(parted)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.volumes[v.Name]
	it.own, it.end = d.Part(v.Name, "bytes", 2*it.bytes)
}

// over takes the volume's own bar away, however its copy ended.
func (b *volumesBar) over(v *volume) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if it := b.volumes[v.Name]; it.end != nil {
		it.end()
	}
}

func (b *volumesBar) end() { b.progress.End() }

// at says how far a copy is. A Pod that starts again begins anew: the bar stays
// where it was until that is passed.
func (b *volumesBar) at(volume, share string, p progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.volumes[volume]
	if p.Phase == "prove" {
		v.shares[""], v.proved = v.bytes, max(v.proved, p.Done)
	} else {
		v.shares[share] = max(v.shares[share], p.Done)
	}
	var written int64
	for _, n := range v.shares {
		written += n
	}
	now := min(written, v.bytes) + min(v.proved, v.bytes)
	if now > v.shown {
		b.progress.Add(now - v.shown)
		v.shown = now
		if v.own != nil {
			v.own(now)
		}
	}
}

func (b *volumesBar) done(v *volume) {
	b.at(v.Name, "", progress{Phase: "prove", Done: v.seed.Bytes})
}

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
		share := p.Annotations[batchv1.JobCompletionIndexAnnotation]
		f.group.Go(func() { f.follow(ctx, p.Name, share) })
	}
}

func (f *follower) follow(ctx context.Context, pod, share string) {
	err := f.r.cluster.Follow(ctx, pod, copyContainer, func(line string) {
		if p, ok := parseProgress(line); ok {
			f.r.bar.at(f.v.Name, share, p)
		}
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
