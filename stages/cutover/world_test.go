package cutover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/quiesce"
)

var (
	errKilled = errors.New("killed")
	errFault  = errors.New("a fault")
)

// world is a source and a cluster that can be killed or fail at every step. It
// says at once when both serve, or when the cluster serves what is older than the
// source. It stands for the far sides only to inject what those cannot be asked
// for; the whole switch on real ones is in fixtures/e2e.
type world struct {
	t       *testing.T
	journal handoff.Switch
	clock   time.Time

	running, fenced, open bool
	source, volumes       int // writes that each has seen
	listed, overwritten   bool
	session               bool // of rounds
	due                   []string
	basis                 Basis

	steps  int
	killAt int  // this step kills the program; 0 is none
	after  bool // once the step had its effect
	failAt string
	log    []string
}

func newWorld(t *testing.T) *world {
	return &world{t: t, running: true, source: 1, clock: time.Unix(1_700_000_000, 0)}
}

func (w *world) switcher() *Switcher {
	return &Switcher{
		Journal: w, Source: w, Fence: fence{w}, Rounds: w, Checks: w, Lister: w, Log: slog.New(slog.DiscardHandler),
		Place: func(context.Context) (handoff.SwitchPlace, error) { return handoff.SwitchPlace{Context: "c"}, nil },
		Predict: func(b Basis) (Prediction, error) {
			w.basis = b
			return Prediction{Known: true, Downtime: 20 * time.Second, Steps: []handoff.SwitchCost{{Name: stepFinal, Took: 10 * time.Second, By: "four rounds"}}}, nil
		},
		Now: func() time.Time { return w.clock },
	}
}

// dead reports whether the kill came.
func (w *world) dead() bool { return w.killAt > 0 && w.steps >= w.killAt }

func (w *world) do(name string, effect func()) error {
	if w.dead() {
		return errKilled
	}
	w.clock = w.clock.Add(time.Second)
	w.steps++
	w.log = append(w.log, name)
	if w.dead() && !w.after {
		return errKilled
	}
	if w.failAt == name {
		return errFault
	}
	effect()
	if w.running && w.open {
		w.t.Errorf("both sides serve after %v", w.log)
	}
	if w.dead() {
		return errKilled
	}
	return nil
}

func (w *world) Read() (handoff.Switch, error) { return w.journal, nil }
func (w *world) Write(j handoff.Switch) error {
	return w.do("write "+string(j.State), func() {
		w.journal = j
		w.journal.Steps = append([]handoff.SwitchStep(nil), j.Steps...)
	})
}

func (w *world) Reach(context.Context) (quiesce.Standing, error) {
	return quiesce.Standing{Running: 3, Notes: []string{"a note"}}, w.do("reach", func() {})
}
func (w *world) Running(context.Context) (names []string, err error) {
	err = w.do("running", func() {
		if w.running {
			names = []string{"mariadb"}
		}
	})
	return names, err
}
func (w *world) Fenced(context.Context) (bool, error) {
	return w.fenced, w.do("fenced", func() {})
}
func (w *world) Stop(context.Context) error  { return w.do("stop", func() { w.running = false }) }
func (w *world) Fence(context.Context) error { return w.do("fence", func() { w.fenced = true }) }
func (w *world) Unfence(context.Context) error {
	return w.do("unfence", func() { w.fenced = false })
}
func (w *world) Start(context.Context) error {
	return w.do("start", func() {
		if w.fenced {
			w.t.Errorf("a fenced source is started after %v", w.log)
		}
		w.running = true
		w.source++
	})
}

type fence struct{ *world }

func (f fence) Warm(context.Context) (time.Duration, []handoff.Check, error) {
	c, err := f.checks("warm")
	return 2 * time.Second, c, err
}

func (f fence) Hold(context.Context) error { return f.do("hold", func() { f.open = false }) }
func (f fence) Release(context.Context) error {
	return f.do("release", func() {
		if f.volumes < f.source {
			f.t.Errorf("the cluster serves write %d, and the source had %d, after %v", f.volumes, f.source, f.log)
		}
		if !f.fenced {
			f.t.Errorf("the cluster is opened with an unfenced source after %v", f.log)
		}
		f.open = true
	})
}

// A session is a directory of the world that a kill leaves.
func (w *world) Open(context.Context) error { return w.do("open", func() { w.session = true }) }
func (w *world) Close(context.Context) error {
	return w.do("close", func() { w.session = false })
}
func (w *world) Due(context.Context) (string, error) {
	if len(w.due) == 0 {
		return "", nil
	}
	why := w.due[0]
	w.due = w.due[1:]
	return why, nil
}

func (w *world) Round(_ context.Context, final bool) (r handoff.Round, err error) {
	name := "round"
	if !final {
		name = "round before"
		if !w.running {
			w.t.Errorf("a round before the final one with a stopped source after %v", w.log)
		}
	}
	err = w.do(name, func() {
		w.session = true
		w.volumes = w.source
		r = handoff.Round{Number: 4, Final: true, Volumes: []handoff.VolumeRound{{Volume: "data", ChangedBytes: 7, Receipt: handoff.ReceiptFile{Volume: "data", Proved: w.failAt != "proof"}}}}
	})
	return r, err
}

func (w *world) checks(name string) ([]handoff.Check, error) {
	bad := w.failAt == "bad "+name
	err := w.do(name, func() {})
	return []handoff.Check{{What: name, Name: "it", OK: !bad, Detail: "seen"}}, err
}
func (w *world) Before(context.Context) ([]handoff.Check, error) { return w.checks("before") }
func (w *world) Judge(context.Context) ([]handoff.Check, error)  { return w.checks("judge") }
func (w *world) Smoke(_ context.Context, good func()) ([]handoff.Check, error) {
	c, err := w.checks("smoke")
	if err == nil {
		good()
	}
	return c, err
}
func (w *world) Data(context.Context) ([]handoff.Check, error) { return w.checks("data") }

func (w *world) List(_ context.Context, archive string) (c []handoff.VolumeChanges, err error) {
	err = w.do("list", func() {
		if w.open {
			w.t.Errorf("volumes in use are listed after %v", w.log)
		}
		w.listed = true
		c = []handoff.VolumeChanges{{Volume: "data", Added: 1, Archive: archive}}
	})
	return c, err
}

func (w *world) Kept(context.Context) (bool, error) { return !w.overwritten, nil }

// settled fails the test unless exactly one side serves, as the journal says.
func (w *world) settled() {
	w.t.Helper()
	j := w.journal
	name := fmt.Sprintf("killed at %d (after its effect: %v), then %v", w.killAt, w.after, w.log)
	if !j.State.Settled() {
		w.t.Errorf("state %s is not settled: %s", j.State, name)
	}
	if wantOpen := j.State.Truth() == handoff.ClusterSide; w.open != wantOpen || w.running == wantOpen {
		w.t.Errorf("state %s, and the source runs: %v, the cluster is open: %v: %s", j.State, w.running, w.open, name)
	}
	if w.fenced != w.open {
		w.t.Errorf("state %s, and the source is fenced: %v: %s", j.State, w.fenced, name)
	}
}
