package cutover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/quiesce"
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
	// has what the other methods need, and how its services stand.
	Reach(ctx context.Context) (quiesce.Standing, error)
	// Running names the services that run.
	Running(ctx context.Context) ([]string, error)
	// Fenced reports whether all of them are kept from starting.
	Fenced(ctx context.Context) (bool, error)
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
	// Warm has the nodes get what the workloads need beside their data, and changes
	// nothing else. Took is how long a Pod of theirs took to start then, 0 where
	// there is none. What keeps one from it is in the checks.
	Warm(ctx context.Context) (took time.Duration, checks []handoff.Check, err error)
}

// Rounder brings the volumes up to what the source is, and proves them.
type Rounder interface {
	// Open makes ready what rounds need. A round that finds nothing open opens it.
	Open(ctx context.Context) error
	// Due says why another round should be made before the final one, "" when the
	// last one was just made.
	Due(ctx context.Context) (why string, err error)
	Round(ctx context.Context, final bool) (handoff.Round, error)
	// Close takes away what was there for rounds only, also what a kill left.
	Close(ctx context.Context) error
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
	// Kept reports whether the volumes still are what the cluster left: a round, or a
	// run, since then may have overwritten it.
	Kept(ctx context.Context) (bool, error)
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

// over has a cutover that goes on do so with what was given anew.
func (o Options) over(j *handoff.Switch) {
	j.OnSource = cmp.Or(o.OnSource, j.OnSource)
	j.Granted = cmp.Or(o.MaxDowntime, j.Granted)
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
	// Place says where the workloads are.
	Place func(context.Context) (handoff.SwitchPlace, error)
	// Predict completes the basis with what it knows of the rounds, and predicts.
	Predict func(Basis) (Prediction, error)
	Log     *slog.Logger
	Now     func() time.Time
}

// Cutover switches to the cluster, or goes on with that. The report is there also
// beside an error when anything was begun. A failure went back by itself when the
// report's state is returned.
func (s *Switcher) Cutover(ctx context.Context, o Options) (_ *Report, err error) {
	j, err := s.Journal.Read()
	if err != nil {
		return nil, err
	}
	r := &Report{}
	switch j.State {
	case handoff.SwitchServing, handoff.SwitchAccepted:
		return r.of(j), s.close(ctx)
	case handoff.SwitchListing:
		return r.of(j), &pipeline.Blocked{Question: "what was written in the cluster before the way back is not listed yet, and another cutover overwrites it: list it, or say that nobody wants it", Where: "statelift rollback [--archive DIR | --no-list]"}
	case handoff.SwitchHolding, handoff.SwitchStarting:
		if err := s.back(context.WithoutCancel(ctx), &j); err != nil {
			return r.of(j), fmt.Errorf("an earlier cutover was on its way back, and could not be taken back: %w", err)
		}
		return r.of(j), fmt.Errorf("an earlier cutover was on its way back and has come there: %s; call cutover again to begin a new one", j.Standing())
	}
	// What the rounds had there does not count for the downtime.
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	switch j.State {
	case handoff.SwitchReleasing, handoff.SwitchChecking:
		o.over(&j)
		// What serves there by now is not taken down because the source cannot be asked.
		if err := s.answers(ctx); err != nil {
			return r.of(j), fmt.Errorf("the cutover is left where it was, and the cluster as it is: %w", err)
		}
		s.Log.Info("the cutover goes on", "from", j.State)
		return s.through(ctx, &j, r, s.release)
	case handoff.SwitchStopping, handoff.SwitchJudging, handoff.SwitchSyncing:
		o.over(&j)
		s.Log.Info("the cutover goes on", "from", j.State)
		return s.through(ctx, &j, r, s.stop)
	}
	if j, err = s.begin(ctx, j, o, r, s.prepare); err != nil {
		return r, err
	}
	return s.through(ctx, &j, r, s.stop)
}

func (s *Switcher) close(ctx context.Context) error {
	if err := s.Rounds.Close(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("what was there for the rounds only is not all gone: %w", err)
	}
	return nil
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
