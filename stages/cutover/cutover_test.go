package cutover

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

var quiesced = Options{Quiesce: true, MaxDowntime: time.Minute}

func TestCutover(t *testing.T) {
	w := newWorld(t)
	r, err := w.switcher().Cutover(t.Context(), quiesced)
	if err != nil {
		t.Fatal(err)
	}
	w.settled()
	want := []string{
		"before", "reach", "warm", "open",
		"write stopping", "stop", "fence", "running",
		"write judging", "judge",
		"write syncing", "round",
		"running", "write releasing", "release",
		"write checking", "smoke", "data",
		"write serving", "close",
	}
	if d := cmp.Diff(want, w.log); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	// One second a step: from before "write stopping" to the smoke check.
	if r.Downtime != 13*time.Second || r.Predicted != 20*time.Second || r.State != handoff.SwitchServing || r.Truth != handoff.ClusterSide {
		t.Errorf("report %+v", r)
	}
	again, err := w.switcher().Cutover(t.Context(), quiesced)
	if err != nil || again.Downtime != r.Downtime {
		t.Errorf("called again: %+v, %v", again, err)
	}
	// A kill may have left what was there for the rounds only.
	if d := cmp.Diff([]string{"close"}, w.log[len(want):]); d != "" {
		t.Errorf("called again it does (-want +got):\n%s", d)
	}
}

// Each step that fails takes the cutover back, and says so.
func TestFailureGoesBack(t *testing.T) {
	for _, at := range []string{
		"stop", "fence", "running", "write judging", "judge", "bad judge", "write syncing", "round", "proof",
		"write releasing", "release", "write checking", "smoke", "bad smoke", "data", "bad data", "write serving",
	} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t)
			w.failAt = at
			r, err := w.switcher().Cutover(t.Context(), quiesced)
			if err == nil || !strings.Contains(err.Error(), "the source serves again") {
				t.Errorf("error %v", err)
			}
			w.settled()
			if w.journal.State != handoff.SwitchReturned || r.State != handoff.SwitchReturned || r.Failure == "" || r.Truth != handoff.SourceSide {
				t.Errorf("journal %+v, report %+v", w.journal, r)
			}
			if w.journal.Opened != w.listed {
				t.Errorf("opened %v, listed %v", w.journal.Opened, w.listed)
			}
			// What was mended can be tried again.
			w.failAt = ""
			if _, err := w.switcher().Cutover(t.Context(), quiesced); err != nil {
				t.Errorf("a second cutover: %v", err)
			}
			w.settled()
		})
	}
}

// Nothing is stopped when a check before the stop says no.
func TestChecksComeFirst(t *testing.T) {
	for _, tt := range []struct {
		name, failAt string
		max          time.Duration
		source       bool
	}{
		{"a check", "bad before", 0, true},
		{"the source does not answer", "reach", 0, true},
		{"predicted longer than granted", "", 5 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.failAt = tt.failAt
			_, err := w.switcher().Cutover(t.Context(), Options{Quiesce: true, MaxDowntime: tt.max})
			var blocked *pipeline.Blocked
			if !errors.As(err, &blocked) || !strings.Contains(err.Error(), "nothing was stopped") {
				t.Errorf("error %v", err)
			}
			if w.journal.State != "" || !w.running {
				t.Errorf("after %v: %+v", w.log, w.journal)
			}
		})
	}
}

func TestPredictionUnknown(t *testing.T) {
	for _, tt := range []struct {
		max  time.Duration
		want bool
	}{{0, true}, {time.Minute, false}} {
		w := newWorld(t)
		s := w.switcher()
		s.Predict = func(Basis) (Prediction, error) { return Prediction{Why: "no round yet"}, nil }
		if _, err := s.Cutover(t.Context(), Options{Quiesce: true, MaxDowntime: tt.max}); (err == nil) != tt.want {
			t.Errorf("granted %s: %v", tt.max, err)
		}
	}
}

// A kill at every step, before and after it had its effect, and the next call: it
// goes on or goes back, and exactly one side serves.
func TestKilledAnywhere(t *testing.T) {
	next := map[string]func(*world) error{
		"cutover": func(w *world) error {
			_, err := w.switcher().Cutover(t.Context(), quiesced)
			return err
		},
		"rollback": func(w *world) error {
			_, err := w.switcher().Rollback(t.Context(), BackOptions{})
			return err
		},
	}
	ways := map[string]func(w *world) error{
		"a good one": next["cutover"],
		"one that goes back": func(w *world) error {
			w.failAt = "bad data"
			return next["cutover"](w)
		},
		"a rollback": func(w *world) error {
			return errors.Join(next["cutover"](w), next["rollback"](w))
		},
	}
	for way, first := range ways {
		for name, then := range next {
			t.Run(way+", then "+name, func(t *testing.T) {
				whole := newWorld(t)
				first(whole) //nolint:errcheck // only its steps count
				for at := 1; at <= whole.steps; at++ {
					for _, after := range []bool{false, true} {
						killedOnce(t, at, after, first, then)
					}
				}
			})
		}
	}
}

func killedOnce(t *testing.T, at int, after bool, first, then func(*world) error) {
	t.Helper()
	w := newWorld(t)
	w.killAt, w.after = at, after
	if first(w) == nil && w.steps < at {
		t.Fatalf("not killed at %d", at)
	}
	left := w.journal.State
	w.steps, w.killAt, w.failAt = 0, 0, ""
	w.log = append(w.log, "KILL")
	err := then(w)
	if left == handoff.SwitchListing || left == handoff.SwitchHolding || left == handoff.SwitchStarting {
		// The way back is gone to its end; a cutover says so and begins no new one.
		if err == nil && w.journal.State.Truth() == handoff.ClusterSide {
			t.Errorf("left at %s, then a cutover went through: %v", left, w.log)
		}
		if left == handoff.SwitchListing && !w.listed {
			err = then(w)
			if _, rollbackErr := w.switcher().Rollback(t.Context(), BackOptions{}); rollbackErr != nil {
				t.Error(errors.Join(err, rollbackErr))
			}
		}
	} else if err != nil {
		t.Errorf("left at %q: %v: %v", left, err, w.log)
	}
	if w.journal.State == handoff.SwitchListing {
		if _, err := w.switcher().Rollback(t.Context(), BackOptions{}); err != nil {
			t.Error(err)
		}
	}
	w.settled()
}

// An interrupt is answered by going back, not by leaving the source stopped.
func TestInterruptGoesBack(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	s := w.switcher()
	s.Rounds = interrupted{w, stop}
	_, err := s.Cutover(ctx, quiesced)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	w.settled()
	if w.journal.State != handoff.SwitchReturned {
		t.Errorf("state %s", w.journal.State)
	}
}

type interrupted struct {
	*world
	stop func()
}

func (i interrupted) Round(ctx context.Context, _ bool) (handoff.Round, error) {
	i.stop()
	return handoff.Round{}, ctx.Err()
}

// The final round is given up when the downtime that was granted is over.
func TestGrantedDowntimeIsOver(t *testing.T) {
	w := newWorld(t)
	s := w.switcher()
	s.Rounds = endless{w}
	s.Now = time.Now
	s.Predict = func(Basis) (Prediction, error) {
		return Prediction{Known: true, Downtime: time.Millisecond}, nil
	}
	_, err := s.Cutover(t.Context(), Options{Quiesce: true, MaxDowntime: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "50ms, is over") {
		t.Errorf("error %v", err)
	}
	w.settled()
}

type endless struct{ *world }

func (endless) Round(ctx context.Context, _ bool) (handoff.Round, error) {
	<-ctx.Done()
	return handoff.Round{}, ctx.Err()
}

// Where the cluster cannot be held, the source stays fenced.
func TestUnheldClusterKeepsTheSourceFenced(t *testing.T) {
	w := newWorld(t)
	if _, err := w.switcher().Cutover(t.Context(), quiesced); err != nil {
		t.Fatal(err)
	}
	w.failAt = "hold"
	r, err := w.switcher().Rollback(t.Context(), BackOptions{})
	if err == nil || w.running || !w.fenced || r.State != handoff.SwitchHolding {
		t.Errorf("error %v, running %v, fenced %v, report %+v", err, w.running, w.fenced, r)
	}
	w.failAt = ""
	if _, err := w.switcher().Rollback(t.Context(), BackOptions{}); err != nil {
		t.Error(err)
	}
	w.settled()
}

func TestRollbackAndAccept(t *testing.T) {
	w := newWorld(t)
	if r, err := w.switcher().Rollback(t.Context(), BackOptions{}); err != nil || r.State != "" {
		t.Errorf("rollback of nothing: %+v, %v", r, err)
	}
	if _, err := w.switcher().Accept(); err == nil {
		t.Error("nothing can be accepted yet")
	}
	if _, err := w.switcher().Cutover(t.Context(), quiesced); err != nil {
		t.Fatal(err)
	}
	r, err := w.switcher().Rollback(t.Context(), BackOptions{Archive: "/a"})
	if err != nil || len(r.Changes) != 1 || r.Changes[0].Archive != "/a" {
		t.Errorf("rollback: %+v, %v", r, err)
	}
	w.settled()
	if _, err := w.switcher().Accept(); err == nil {
		t.Error("a switch that came back cannot be accepted")
	}
	if _, err := w.switcher().Cutover(t.Context(), quiesced); err != nil {
		t.Fatal(err)
	}
	if r, err := w.switcher().Accept(); err != nil || r.State != handoff.SwitchAccepted {
		t.Errorf("accept: %+v, %v", r, err)
	}
	if _, err := w.switcher().Accept(); err != nil {
		t.Errorf("accept again: %v", err)
	}
	if _, err := w.switcher().Rollback(t.Context(), BackOptions{}); err == nil || w.running {
		t.Errorf("an accepted switch is rolled back: %v", err)
	}
	w.settled()
}
