package cutover

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// begin checks all that can be checked before anything is stopped, makes ready and
// predicts.
func (s *Switcher) begin(ctx context.Context, before handoff.Switch, o Options, r *Report, prepare func(context.Context, *Basis, *Report) error) (handoff.Switch, error) {
	j := handoff.Switch{Began: s.Now(), Quiesce: o.Quiesce, OnSource: o.OnSource, Granted: o.MaxDowntime, Learnt: before.Learnt, Written: before.Written}
	basis := Basis{Learnt: before.Learnt, Quiesce: s.Source != nil}
	var err error
	if r.Before, err = s.Checks.Before(ctx); err != nil {
		return j, err
	}
	r.Before = append(r.Before, s.reach(ctx, &basis))
	if err := refused(ctx, r); err != nil {
		return j, err
	}
	// A source that the user has stopped already waits for nothing.
	if s.Source != nil {
		if err := prepare(ctx, &basis, r); err != nil {
			return j, fmt.Errorf("the switch is not begun and nothing was stopped: %w", err)
		}
	}
	into, err := s.Place(ctx)
	if err != nil {
		return j, err
	}
	j.Into = &into
	p, err := s.Predict(basis)
	if err != nil {
		return j, err
	}
	r.Before = append(r.Before, predicted(p, o))
	j.Predicted, j.PredictedDowntime = p.Steps, p.Downtime
	if !p.Known {
		j.PredictedDowntime = 0
	}
	return j, refused(ctx, r)
}

// refused says what was found before the stop.
func refused(ctx context.Context, r *Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if bad := faults(r.Before); bad != "" {
		return &pipeline.Blocked{Question: "the switch is not begun and nothing was stopped: " + bad, Where: "statelift cutover, when that is mended"}
	}
	return nil
}

// mostRounds is how many rounds are made before the final one. Each has less to
// bring than the one before, as long as that takes less time than what it brings
// took to come.
const mostRounds = 3

// prepare does what would cost downtime afterwards: the nodes get the images of
// the workloads, and the final round is left with little to bring.
func (s *Switcher) prepare(ctx context.Context, b *Basis, r *Report) error {
	took, checks, err := s.Fence.Warm(ctx)
	r.Before = append(r.Before, checks...)
	if err != nil {
		return fmt.Errorf("try the start of the workloads: %w", err)
	}
	if err := refused(ctx, r); err != nil {
		return err
	}
	if took > 0 {
		b.Pod, b.PodBy = took, "one with the same images was started for this"
	}
	if err := s.Rounds.Open(ctx); err != nil {
		return err
	}
	for n := 1; n <= mostRounds; n++ {
		why, err := s.Rounds.Due(ctx)
		if err != nil || why == "" {
			return err
		}
		s.Log.Info("a round is made before the source is stopped", "because", why)
		made, err := s.Rounds.Round(ctx, false)
		if err != nil {
			return fmt.Errorf("round before the final one: %w", err)
		}
		r.Before = append(r.Before, handoff.Check{What: "rounds", Name: "before the stop", OK: true,
			Detail: fmt.Sprintf("round %d: %d bytes changed, in %s (%s)", made.Number, changed(made), round(made.Ended.Sub(made.Began)), why)})
	}
	return nil
}

// unprepared is for who only asks.
func unprepared(context.Context, *Basis, *Report) error { return nil }

func predicted(p Prediction, o Options) handoff.Check {
	c := handoff.Check{What: "prediction", Name: "downtime", OK: true, Detail: p.Why}
	switch {
	case !p.Known && o.MaxDowntime > 0:
		c.OK, c.Detail = false, fmt.Sprintf("nothing can be said of the downtime (%s), and %s are granted", p.Why, o.MaxDowntime)
	case p.Known && o.MaxDowntime > 0 && p.Downtime > o.MaxDowntime:
		c.OK, c.Detail = false, fmt.Sprintf("%s are predicted, and %s granted: make more sync rounds at a quieter time, or grant more", round(p.Downtime), o.MaxDowntime)
	case p.Known:
		c.Detail = p.explain()
	}
	return c
}

func (s *Switcher) reach(ctx context.Context, b *Basis) handoff.Check {
	c := handoff.Check{What: "source", Name: "commands", OK: true, Detail: "the source answers, and has what its services are stopped and started with"}
	if s.Source == nil {
		c.Detail = "you vouch that nothing serves there and nothing will"
		return c
	}
	began := s.Now()
	standing, err := s.Source.Reach(ctx)
	if err != nil {
		c.OK, c.Detail = false, err.Error()
		return c
	}
	b.Ask, b.Running = max(s.Now().Sub(began), time.Millisecond), standing.Running
	c.Detail = strings.Join(append([]string{c.Detail}, standing.Notes...), "; ")
	return c
}

// DryRun only checks what Cutover checks first.
func (s *Switcher) DryRun(ctx context.Context, o Options) (*Report, error) {
	j, err := s.Journal.Read()
	if err != nil {
		return nil, err
	}
	r := Of(j)
	if !j.State.Settled() || j.State.Truth() == handoff.ClusterSide {
		return r, nil
	}
	planned, err := s.begin(ctx, j, o, r, unprepared)
	r.Predicted, r.Granted = planned.PredictedDowntime, planned.Granted
	return r, err
}
