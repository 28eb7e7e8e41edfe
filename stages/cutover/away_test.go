package cutover

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// fullJournal cannot be written while it is full.
type fullJournal struct {
	*world
	full bool
}

func (f *fullJournal) Write(j handoff.Switch) error {
	if f.full {
		return errors.New("no space left on device")
	}
	return f.world.Write(j)
}

// fills has the disk fill up once the cluster serves.
type fills struct {
	*world
	journal *fullJournal
}

func (f fills) Smoke(ctx context.Context, good func()) ([]handoff.Check, error) {
	checks, err := f.world.Smoke(ctx, good)
	f.journal.full = true
	return checks, err
}

// A way back that could not be written down gave the source back all the same: the
// cluster is not opened again, also when nothing runs on the source at that moment.
func TestWayBackOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	w.failAt = "bad data"
	journal := &fullJournal{world: w}
	s := w.switcher()
	s.Journal, s.Checks = journal, fills{w, journal}
	if _, err := s.Cutover(t.Context(), quiesced); err == nil || !w.running || w.open {
		t.Fatalf("it did not go back: %v, %+v", err, w)
	}
	w.failAt, w.running, journal.full = "", false, false // the source's host is being booted
	if _, err := w.switcher().Cutover(t.Context(), quiesced); err == nil || !strings.Contains(err.Error(), "given back meanwhile") || w.open {
		t.Errorf("the cluster serves beside what the source has: %v", err)
	}
	if !w.running || w.fenced {
		t.Error("the source does not serve")
	}
}

// away is a source that does not answer.
type away struct{ *world }

func (away) Running(context.Context) ([]string, error) { return nil, errors.New("no route to host") }
func (away) Fenced(context.Context) (bool, error)      { return false, errors.New("no route to host") }
func (away) Unfence(context.Context) error             { return errors.New("no route to host") }
func (away) Start(context.Context) error               { return errors.New("no route to host") }

// What serves in the cluster is not taken down for a source that does not answer.
func TestSourceIsAway(t *testing.T) {
	for name, call := range map[string]func(*Switcher) error{
		"rollback": func(s *Switcher) error {
			_, err := s.Rollback(t.Context(), BackOptions{})
			return err
		},
		"a cutover that goes on": func(s *Switcher) error {
			j, err := s.Journal.Read()
			j.State = handoff.SwitchChecking // as a kill leaves it
			if err = errors.Join(err, s.Journal.Write(j)); err == nil {
				_, err = s.Cutover(t.Context(), quiesced)
			}
			return err
		},
	} {
		w := newWorld(t)
		s := w.switcher()
		if _, err := s.Cutover(t.Context(), quiesced); err != nil {
			t.Fatal(err)
		}
		s.Source = away{w}
		if err := call(s); err == nil || !strings.Contains(err.Error(), "no route to host") || !w.open {
			t.Errorf("%s: %v; the cluster serves: %v", name, err, w.open)
		}
		s.Source = w
		if _, err := s.Rollback(t.Context(), BackOptions{}); err != nil || !w.running || w.open {
			t.Errorf("%s: and when it answers again: %v, %+v", name, err, w)
		}
	}
}

// A cutover that failed before it opened the cluster leaves what an earlier one
// wrote there: it can be brought back.
func TestArchiveOfAnEarlierCutover(t *testing.T) {
	w := newWorld(t)
	s := w.switcher()
	if _, err := s.Cutover(t.Context(), quiesced); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rollback(t.Context(), BackOptions{}); err != nil {
		t.Fatal(err)
	}
	w.failAt = "bad judge"
	if _, err := s.Cutover(t.Context(), quiesced); err == nil {
		t.Fatal("it did not fail")
	}
	w.failAt, w.listed = "", false
	_, err := s.Rollback(t.Context(), BackOptions{Archive: "/d"})
	if diff := cmp.Diff(true, w.listed); err != nil || diff != "" {
		t.Errorf("it is not brought back: %v", err)
	}
}
