package await

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/cluster/diagnose"
)

// settle is how long a finding must hold before it counts: what the API server
// tells of several objects does not arrive at one moment.
const settle = 2 * time.Second

// relapse is how long all must be well before a fault counts as passed: what
// crashes again and again runs for a while between.
const relapse = time.Minute

// Watcher tells findings as they come, each once, and decides when waiting is of
// no use any more.
type Watcher struct {
	log      *slog.Logger
	patience time.Duration
	now      func() time.Time

	told    map[string]bool
	current diagnose.Finding
	since   time.Time // of the current finding
	trouble time.Time // when faults began; zero when there is none
	bounded time.Time // since when there are no other faults than such with a bound of their own
	well    time.Time // when the last fault was seen to be gone
}

// Watcher makes one for a thing, which its lines name under that key.
func (w *Waiter) Watcher(key, what string) *Watcher {
	return &Watcher{log: w.Log.With(key, what), patience: w.Patience, now: time.Now, told: map[string]bool{}}
}

// Look tells what is in the way. The error says that it will stay.
func (w *Watcher) Look(s diagnose.Scene) error {
	list := diagnose.Explain(s)
	now := w.now()
	if len(list) == 0 {
		w.recovered(now)
		return nil
	}
	f := list[0]
	w.well = time.Time{}
	if f.Level > diagnose.Passing && w.trouble.IsZero() {
		w.trouble = now
	}
	switch {
	case f.Level <= diagnose.Passing:
	case f.Within == 0:
		w.bounded = time.Time{}
	case w.bounded.IsZero():
		w.bounded = now
	}
	if f.About != w.current.About || f.What != w.current.What {
		w.current, w.since = f, now
	}
	if now.Sub(w.since) < settle {
		return nil
	}
	w.tell(f)
	if long := now.Sub(w.bounded); f.Within > 0 && long >= min(f.Within, w.patience) {
		return fmt.Errorf("%s, for %s now", f, long.Round(time.Second))
	}
	if f.Level == diagnose.Stuck || f.Level == diagnose.Doubtful && now.Sub(w.trouble) >= w.patience {
		return errors.New(f.String())
	}
	return nil
}

func (w *Watcher) recovered(now time.Time) {
	w.current = diagnose.Finding{}
	if w.well.IsZero() {
		w.well = now
	}
	if now.Sub(w.well) >= relapse {
		w.trouble, w.bounded = time.Time{}, time.Time{}
	}
}

// Failures tells of Pods that failed while their Job goes on: until it makes the
// next one, minutes may pass.
func (w *Watcher) Failures(job *batchv1.Job, pods []*corev1.Pod) {
	for _, p := range pods {
		if p.Status.Phase != corev1.PodFailed || w.told[string(p.UID)] {
			continue
		}
		w.told[string(p.UID)] = true
		because := "its reason is not known"
		if list := diagnose.Explain(diagnose.Scene{Pods: []*corev1.Pod{p}}); len(list) > 0 {
			because = list[0].String()
		}
		w.log.Warn("a copy failed, and is tried again by its Job", "job", job.Name, "because", because)
	}
}

func (w *Watcher) tell(f diagnose.Finding) {
	key := f.About + f.What
	if w.told[key] {
		return
	}
	w.told[key] = true
	level := slog.LevelWarn
	if f.Level == diagnose.Passing {
		level = slog.LevelInfo
	}
	w.log.Log(context.Background(), level, "waiting: "+f.String())
}
