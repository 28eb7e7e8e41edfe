package await

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// progressLine begins lines that tell how far a copy is, and that nobody reads
// afterwards.
const progressLine = "progress: "

// maxLog bounds one of them.
const maxLog = 64 << 20

// SaveLogs fetches the logs of Pods that did not end well, before anything of
// them is removed, and returns the files. What cannot be fetched is no error: it
// only would hide the one that is being told.
func (w *Waiter) SaveLogs(ctx context.Context, what string, pods []*corev1.Pod) []string {
	var out []string
	for _, p := range pods {
		if p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if s.State.Running == nil && s.State.Terminated == nil && s.LastTerminationState.Terminated == nil {
				continue // it never ran
			}
			name := filepath.Join(w.Logs, p.Name+"-"+s.Name+".log")
			if err := w.saveLog(ctx, p.Name, s.Name, name, s.State.Waiting != nil); err != nil {
				w.Log.Warn("a log could not be fetched", "of", what, "error", err)
				continue
			}
			out = append(out, name)
		}
	}
	return out
}

func (w *Waiter) saveLog(ctx context.Context, pod, container, name string, previous bool) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := bufio.NewWriter(f)
	left := maxLog
	err = w.Cluster.Lines(ctx, pod, container, previous, func(line string) {
		if left -= len(line) + 1; left < 0 || strings.HasPrefix(line, progressLine) {
			return
		}
		// What fails here, Flush tells.
		fmt.Fprintln(buf, line)
	})
	return errors.Join(err, buf.Flush())
}
