package cutover

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/quiesce"
)

// After a round since, the volumes have nothing of what the cluster wrote: an
// archive made then would be empty, and would take the place of the one that is not.
func TestArchiveAfterARound(t *testing.T) {
	w := newWorld(t)
	if _, err := w.switcher().Cutover(t.Context(), quiesced); err != nil {
		t.Fatal(err)
	}
	if _, err := w.switcher().Rollback(t.Context(), BackOptions{Archive: "/a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.switcher().Rollback(t.Context(), BackOptions{Archive: "/b"}); err != nil {
		t.Errorf("once more: %v", err)
	}
	w.overwritten, w.listed = true, false
	var blocked *pipeline.Blocked
	r, err := w.switcher().Rollback(t.Context(), BackOptions{Archive: "/b"})
	if !errors.As(err, &blocked) || w.listed {
		t.Errorf("listed %v, %v", w.listed, err)
	}
	if w.journal.State != handoff.SwitchReturned || len(r.Changes) != 1 {
		t.Errorf("journal %+v, report %+v", w.journal, r)
	}
}

// A cutover that goes on does so with what it is given then.
func TestGoesOnWithOtherFlags(t *testing.T) {
	w := newWorld(t)
	w.journal = handoff.Switch{State: handoff.SwitchStopping, Stopped: w.clock, Quiesce: true, Touched: true, Granted: time.Second, OnSource: "ssh old"}
	r, err := w.switcher().Cutover(t.Context(), Options{Quiesce: true, OnSource: "ssh new", MaxDowntime: time.Hour})
	if err != nil || r.Granted != time.Hour || w.journal.OnSource != "ssh new" {
		t.Errorf("granted %s, on %q, %v", r.Granted, w.journal.OnSource, err)
	}
}

// The downtime that was granted also ends a stop that hangs.
func TestStopHangs(t *testing.T) {
	w := newWorld(t)
	s := w.switcher()
	s.Source, s.Now = hanging{s.Source}, time.Now
	s.Predict = func(Basis) (Prediction, error) { return Prediction{Known: true, Downtime: time.Millisecond}, nil }
	_, err := s.Cutover(t.Context(), Options{Quiesce: true, MaxDowntime: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "50ms, is over") {
		t.Errorf("error %v", err)
	}
	w.settled()
}

type hanging struct{ Quiescer }

func (hanging) Stop(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (h hanging) Reach(context.Context) (quiesce.Standing, error) { return quiesce.Standing{}, nil }
