package cutover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Journal keeps the state. Write is durable when it returns.
type Journal interface {
	Read() (handoff.Switch, error) // the zero Switch when there is none
	Write(handoff.Switch) error
}

// Quiescer stops and starts what serves on the source. Each of its steps may be
// done again.
type Quiescer interface {
	// Reach asks, without changing anything, whether the source can be reached and
	// has what the other methods need.
	Reach(ctx context.Context) error
	// Running names the services that run.
	Running(ctx context.Context) ([]string, error)
	Stop(ctx context.Context) error
	Fence(ctx context.Context) error // keeps them from starting, also after a reboot
	Unfence(ctx context.Context) error
	Start(ctx context.Context) error
}

// Fence lets the workloads of the cluster start, or keeps them from it. Hold
// returns when no Pod is left, Release when all are ready.
type Fence interface {
	Hold(ctx context.Context) error
	Release(ctx context.Context) error
}

// Rounder brings the volumes up to what the source is, and proves them.
type Rounder interface {
	Round(ctx context.Context) (handoff.Round, error)
}

// Checker looks and changes nothing. What is wrong is in the checks; an error
// says that looking was not possible.
type Checker interface {
	// Before is asked while the source still serves: whether all is there that the
	// switch needs.
	Before(ctx context.Context) ([]handoff.Check, error)
	// Judge looks at the databases of the source, which was stopped.
	Judge(ctx context.Context) ([]handoff.Check, error)
	// Smoke does the checks of statelift.yaml and calls good after each that did
	// well; Data has the applications' own tools look at their data.
	Smoke(ctx context.Context, good func()) ([]handoff.Check, error)
	Data(ctx context.Context) ([]handoff.Check, error)
}

// Lister finds what the cluster wrote.
type Lister interface {
	// List compares the volumes with the newest round, writes what differs, and with
	// an archive directory that, too.
	List(ctx context.Context, archive string) ([]handoff.VolumeChanges, error)
}

// Prediction is how long the switch should take, by the rounds so far.
type Prediction struct {
	Known    bool
	Stop     time.Duration // of the source's services
	Final    time.Duration // of the final round
	Start    time.Duration // of the workloads, until they serve
	Downtime time.Duration // of all
	Why      string        // for people: by what, or why nothing is known
}

// Options are what the user asked for.
type Options struct {
	// Quiesce grants the commands on the source; without it the user vouches that
	// nothing runs there and nothing will.
	Quiesce  bool
	OnSource string
	// MaxDowntime is what was granted; 0 is no limit.
	MaxDowntime time.Duration
}

// Switcher does the switch. All its parts are needed, but for Source, which is
// nil when the user vouched for it.
type Switcher struct {
	Journal Journal
	Source  Quiescer
	Fence   Fence
	Rounds  Rounder
	Checks  Checker
	Lister  Lister
	// Predict goes by what earlier switches took.
	Predict func(learnt handoff.SwitchCosts) (Prediction, error)
	Log     *slog.Logger
	Now     func() time.Time
}

// Cutover switches to the cluster, or goes on with that. The report is there also
// beside an error when anything was begun. A failure went back by itself when the
// report's state is returned.
func (s *Switcher) Cutover(ctx context.Context, o Options) (*Report, error) {
	j, err := s.Journal.Read()
	if err != nil {
		return nil, err
	}
	r := &Report{}
	switch j.State {
	case handoff.SwitchServing, handoff.SwitchAccepted:
		return r.of(j), nil
	case handoff.SwitchListing:
		return r.of(j), &pipeline.Blocked{Question: "what was written in the cluster before the way back is not listed yet, and another cutover overwrites it: list it, or say that nobody wants it", Where: "statelift rollback [--archive DIR | --no-list]"}
	case handoff.SwitchHolding, handoff.SwitchStarting:
		if err := s.back(context.WithoutCancel(ctx), &j); err != nil {
			return r.of(j), fmt.Errorf("an earlier cutover was on its way back, and could not be taken back: %w", err)
		}
		return r.of(j), fmt.Errorf("an earlier cutover was on its way back and has come there: %s; call cutover again to begin a new one", j.Standing())
	case handoff.SwitchReleasing, handoff.SwitchChecking:
		s.Log.Info("the cutover goes on", "from", j.State)
		return s.through(ctx, &j, r, s.release)
	case handoff.SwitchStopping, handoff.SwitchJudging, handoff.SwitchSyncing:
		s.Log.Info("the cutover goes on", "from", j.State)
		return s.through(ctx, &j, r, s.stop)
	}
	if j, err = s.begin(ctx, j, o, r); err != nil {
		return r, err
	}
	return s.through(ctx, &j, r, s.stop)
}

// begin checks all that can be checked before anything is stopped.
func (s *Switcher) begin(ctx context.Context, before handoff.Switch, o Options, r *Report) (handoff.Switch, error) {
	j := handoff.Switch{Began: s.Now(), Quiesce: o.Quiesce, OnSource: o.OnSource, Granted: o.MaxDowntime, Learnt: before.Learnt, Written: before.Written}
	p, err := s.Predict(before.Learnt)
	if err != nil {
		return j, err
	}
	if r.Before, err = s.Checks.Before(ctx); err != nil {
		return j, err
	}
	r.Before = append(r.Before, s.predicted(p, o), s.reach(ctx))
	if err := ctx.Err(); err != nil {
		return j, err
	}
	if bad := faults(r.Before); bad != "" {
		return j, &pipeline.Blocked{Question: "the switch is not begun and nothing was stopped: " + bad, Where: "statelift cutover, when that is mended"}
	}
	j.Predicted = handoff.SwitchCosts{Stop: p.Stop, Final: p.Final, Start: p.Start}
	j.PredictedDowntime = p.Downtime
	return j, nil
}

func (s *Switcher) predicted(p Prediction, o Options) handoff.Check {
	c := handoff.Check{What: "prediction", Name: "downtime", OK: true, Detail: p.Why}
	switch {
	case !p.Known && o.MaxDowntime > 0:
		c.OK, c.Detail = false, fmt.Sprintf("nothing can be said of the downtime (%s), and %s are granted", p.Why, o.MaxDowntime)
	case p.Known && o.MaxDowntime > 0 && p.Downtime > o.MaxDowntime:
		c.OK, c.Detail = false, fmt.Sprintf("%s are predicted, and %s granted: make more sync rounds at a quieter time, or grant more", round(p.Downtime), o.MaxDowntime)
	case p.Known:
		c.Detail = fmt.Sprintf("%s, of it %s for the final round", round(p.Downtime), round(p.Final))
	}
	return c
}

func (s *Switcher) reach(ctx context.Context) handoff.Check {
	c := handoff.Check{What: "source", Name: "commands", OK: true, Detail: "the source answers, and has what its services are stopped and started with"}
	if s.Source == nil {
		c.Detail = "you vouch that nothing serves there and nothing will"
		return c
	}
	if err := s.Source.Reach(ctx); err != nil {
		c.OK, c.Detail = false, err.Error()
	}
	return c
}

// step is one step of the way to the cluster.
type step func(ctx context.Context, j *handoff.Switch, r *Report) (next step, err error)

// through does one step after the other. One that fails is the end of the
// cutover: it goes back, whatever has become of ctx.
func (s *Switcher) through(ctx context.Context, j *handoff.Switch, r *Report, next step) (*Report, error) {
	var err error
	for next != nil && err == nil {
		if err = ctx.Err(); err == nil {
			next, err = next(ctx, j, r)
		}
	}
	if err == nil {
		return r.of(*j), nil
	}
	s.Log.Error("the cutover failed and is taken back", "at", j.State, "because", err)
	j.Failure = fmt.Sprintf("%s: %v", j.State, err)
	backErr := s.back(context.WithoutCancel(ctx), j)
	r.of(*j)
	if backErr != nil {
		return r, errors.Join(fmt.Errorf("the cutover failed: %w", err), fmt.Errorf("and it could not be taken back: %w", backErr))
	}
	if !j.Quiesce {
		return r, fmt.Errorf("the cutover failed; the cluster is held, and the source is yours to start: %w", err)
	}
	return r, fmt.Errorf("the cutover failed, and the source serves again: %w", err)
}

// enter writes the state before its step is begun.
func (s *Switcher) enter(j *handoff.Switch, state handoff.SwitchState) error {
	j.State = state
	if err := s.Journal.Write(*j); err != nil {
		return fmt.Errorf("journal of the switch: %w", err)
	}
	s.Log.Info("the switch is at "+string(state), "truth", state.Truth())
	return nil
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
	planned, err := s.begin(ctx, j, o, r)
	r.Predicted, r.Granted = planned.PredictedDowntime, planned.Granted
	return r, err
}
