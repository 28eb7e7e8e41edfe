package cutover

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// What would cost downtime is done before the stop: the workloads' start is tried,
// and rounds are made as long as they are worth it.
func TestRoundsBeforeTheStop(t *testing.T) {
	for _, tt := range []struct {
		name string
		due  []string
		want int
	}{
		{"a recent round", nil, 0},
		{"an old one", []string{"old"}, 1},
		{"long ones", []string{"long", "long", "long", "long", "long"}, mostRounds},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.due = tt.due
			r, err := w.switcher().Cutover(t.Context(), quiesced)
			if err != nil {
				t.Fatal(err)
			}
			w.settled()
			made := 0
			for _, step := range w.log {
				if step == "round before" {
					made++
				}
			}
			if made != tt.want {
				t.Errorf("%d rounds before the stop, want %d: %v", made, tt.want, w.log)
			}
			if w.session || w.basis.Pod != 2*time.Second || w.basis.Running != 3 || w.basis.Ask <= 0 {
				t.Errorf("session %v, basis %+v", w.session, w.basis)
			}
			if !strings.Contains(r.Before[1].Detail, "a note") {
				t.Errorf("the note of the source is lost: %+v", r.Before)
			}
		})
	}
}

// What fails while the source serves stops nothing, and leaves nothing.
func TestPrepareFails(t *testing.T) {
	for _, at := range []string{"warm", "bad warm", "open", "round before"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t)
			w.failAt, w.due = at, []string{"old"}
			_, err := w.switcher().Cutover(t.Context(), quiesced)
			if err == nil || !strings.Contains(err.Error(), "nothing was stopped") {
				t.Errorf("error %v", err)
			}
			if w.journal.State != "" || !w.running || w.session {
				t.Errorf("after %v: %+v", w.log, w.journal)
			}
		})
	}
}

// Who only asks has nothing started, and a source that was stopped already waits for
// nothing.
func TestUnprepared(t *testing.T) {
	w := newWorld(t)
	w.due = []string{"old"}
	if _, err := w.switcher().DryRun(t.Context(), quiesced); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"before", "reach"}, w.log); d != "" {
		t.Errorf("a dry run does more than ask (-want +got):\n%s", d)
	}
	w = newWorld(t)
	w.due = []string{"old"}
	w.running, w.fenced = false, true
	s := w.switcher()
	s.Source = nil
	if _, err := s.Cutover(t.Context(), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, step := range w.log {
		if step == "warm" || step == "round before" {
			t.Errorf("nobody serves, and there is time for %q: %v", step, w.log)
		}
	}
}

// What the steps took is kept for the next cutover, also of one that went back; but
// not of a step that a kill cut in two.
func TestLearnt(t *testing.T) {
	w := newWorld(t)
	w.failAt = "bad smoke"
	if _, err := w.switcher().Cutover(t.Context(), quiesced); err == nil {
		t.Fatal("a bad smoke check is good enough")
	}
	// One second a call: stop, fence, running; judge; release; and their entries.
	want := handoff.SwitchCosts{Stop: 4 * time.Second, Judge: 2 * time.Second, Start: 2 * time.Second}
	if d := cmp.Diff(want, w.journal.Learnt); d != "" {
		t.Errorf("of one that went back (-want +got):\n%s", d)
	}
	w.failAt = ""
	if _, err := w.switcher().Cutover(t.Context(), quiesced); err != nil {
		t.Fatal(err)
	}
	want.Smoke = 2 * time.Second
	if d := cmp.Diff(want, w.journal.Learnt); d != "" {
		t.Errorf("of one that came to its end (-want +got):\n%s", d)
	}

	w = newWorld(t)
	w.journal.Learnt = handoff.SwitchCosts{Stop: time.Hour, Start: time.Hour}
	w.journal.State, w.journal.Stopped, w.journal.Quiesce, w.journal.Touched, w.journal.Opened = handoff.SwitchStopping, w.clock, true, true, true
	if _, err := w.switcher().Cutover(t.Context(), quiesced); err != nil {
		t.Fatal(err)
	}
	if w.journal.Learnt.Stop != time.Hour || w.journal.Learnt.Start != time.Hour {
		t.Errorf("learnt from steps that were cut in two: %+v", w.journal.Learnt)
	}
}

func TestPredict(t *testing.T) {
	measured := Basis{
		Known: true, Final: 3 * time.Second, FinalBy: "by the rounds", Quiesce: true, Ask: 100 * time.Millisecond, Running: 5,
		Cluster: true, Pod: 2 * time.Second, PodBy: "tried", Smoke: true,
	}
	moves := measured
	moves.MovesOut = 25 * supposedRate
	learnt := measured
	learnt.Learnt = handoff.SwitchCosts{Stop: 1 * time.Second, Judge: 2 * time.Second, Start: 4 * time.Second, Smoke: 8 * time.Second}
	rehearsal := Basis{Known: true, Final: 3 * time.Second, FinalBy: "by the rounds"}
	for _, tt := range []struct {
		name  string
		basis Basis
		want  time.Duration
		steps []string
		said  string // of the last step
	}{
		{"measured", measured, questions*100*time.Millisecond + 5*supposedService + 3*time.Second + 2*time.Second + supposedReady + supposedSmoke,
			[]string{stepStop, stepFinal, stepRelease, stepSmoke}, "supposed"},
		{"learnt", learnt, 18 * time.Second, []string{stepStop, stepJudge, stepFinal, stepRelease, stepSmoke}, "an earlier cutover"},
		{"a database moves out", moves, questions*100*time.Millisecond + 5*supposedService + 3*time.Second + 2*time.Second + supposedReady + supposedMove + 25*time.Second + supposedSmoke,
			[]string{stepStop, stepFinal, stepRelease, stepSmoke}, "supposed"},
		{"rehearsal", rehearsal, 3 * time.Second, []string{stepFinal}, "by the rounds"},
		{"nothing known", Basis{Quiesce: true, Cluster: true, FinalBy: "no round"}, questions*supposedAsk + supposedRunning*supposedService + supposedPod + supposedReady,
			[]string{stepStop, stepRelease}, "supposed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Predict(tt.basis)
			var steps []string
			for _, s := range p.Steps {
				steps = append(steps, s.Name)
			}
			if d := cmp.Diff(tt.steps, steps); d != "" {
				t.Errorf("steps (-want +got):\n%s", d)
			}
			if p.Downtime != tt.want || p.Known != tt.basis.Known || !strings.Contains(p.Steps[len(p.Steps)-1].By, tt.said) {
				t.Errorf("%+v, want a downtime of %s", p, tt.want)
			}
		})
	}
}
