package fence

import (
	"cmp"
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// remindAfter is how long a Pod that was told to end has until its containers are
// told again, and again.
const remindAfter = 20 * time.Second

// reminder tells the containers of Pods that do not end their stop signal once
// more. Kubernetes sends it once, and the first process of a container ignores a
// signal as long as it has no handler for it (pid_namespaces(7)): one that was
// told right when it started would run on to the end of its grace, an hour for
// some databases, while nobody serves.
type reminder struct {
	*Fence
	told map[types.UID]time.Time
}

// look is to be called again and again with the Pods that are left.
func (r *reminder) look(ctx context.Context, p *corev1.Pod) {
	if p.DeletionTimestamp == nil {
		return
	}
	last, known := r.told[p.UID]
	if !known {
		r.told[p.UID] = time.Now()
		return
	}
	if time.Since(last) < remindAfter {
		return
	}
	r.told[p.UID] = time.Now()
	for _, s := range p.Status.ContainerStatuses {
		if s.State.Running == nil {
			continue
		}
		signal := strings.TrimPrefix(cmp.Or(r.stopSignal(s.Name), "TERM"), "SIG")
		ctx, stop := context.WithTimeout(ctx, 10*time.Second)
		out, err := r.Owner.Exec(ctx, p.Name, s.Name, []string{"/bin/sh", "-c", "kill -s " + signal + " 1"})
		stop()
		if err != nil || out.Code != 0 {
			// It ends when its grace does.
			r.Log.Warn("a container that does not end could not be told again", "pod", p.Name, "container", s.Name, "code", out.Code, "error", err)
			continue
		}
		r.Log.Info("a container that does not end was told again", "pod", p.Name, "container", s.Name, "signal", signal)
	}
}

// stopSignal is that of the container in the plan, "" for the default.
func (r *reminder) stopSignal(container string) string {
	for _, w := range r.Plan.Workloads {
		for _, c := range w.Containers {
			if c.Name == container && c.StopSignal != "" {
				return c.StopSignal
			}
		}
	}
	return ""
}
