package cutover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline/handoff"
)

// stop stops and fences the source.
func (s *Switcher) stop(ctx context.Context, j *handoff.Switch, _ *Report) (step, error) {
	began := s.Now()
	first := j.Stopped.IsZero()
	if first {
		j.Stopped = began
	}
	j.Touched = j.Quiesce
	if err := s.enter(j, handoff.SwitchStopping); err != nil {
		return nil, err
	}
	bounded, end := s.within(ctx, j)
	defer end()
	if s.Source != nil {
		if err := s.Source.Stop(bounded); err != nil {
			return nil, fmt.Errorf("stop the source: %w", why(bounded, err))
		}
		if err := s.Source.Fence(bounded); err != nil {
			return nil, fmt.Errorf("fence the source: %w", why(bounded, err))
		}
	}
	if err := s.quiet(bounded); err != nil {
		return nil, why(bounded, err)
	}
	took := s.did(j, began, handoff.SwitchStep{Name: stepStop, Down: true})
	if first && s.Source != nil {
		j.Learnt.Stop = took
	}
	return s.judge, nil
}

// The names of steps in the report.
const (
	stepStop    = "stop and fence the source"
	stepJudge   = "judge its databases"
	stepFinal   = "final round, with its proof"
	stepRelease = "start the workloads"
	stepSmoke   = "smoke checks"
	stepData    = "data checks"
	stepHold    = "hold the cluster"
	stepStart   = "unfence and start the source"
	stepList    = "list what the cluster wrote"
)

// did notes a step that is done, with what was predicted of it, and returns what
// it took. One that is done once more replaces what it took the last time.
func (s *Switcher) did(j *handoff.Switch, began time.Time, step handoff.SwitchStep) time.Duration {
	step.Took = s.Now().Sub(began)
	step.Predicted, step.By = costOf(j, step.Name)
	for i := range j.Steps {
		if j.Steps[i].Name == step.Name {
			j.Steps[i] = step
			return step.Took
		}
	}
	j.Steps = append(j.Steps, step)
	return step.Took
}

// quiet fails when something runs on the source.
func (s *Switcher) quiet(ctx context.Context) error {
	if s.Source == nil {
		return nil
	}
	running, err := s.Source.Running(ctx)
	if err != nil {
		return fmt.Errorf("what runs on the source: %w", err)
	}
	if len(running) > 0 {
		return fmt.Errorf("%s still runs on the source", strings.Join(running, ", "))
	}
	return nil
}

// answers fails when the source cannot be asked what runs there.
func (s *Switcher) answers(ctx context.Context) error {
	if s.Source == nil {
		return nil
	}
	if _, err := s.Source.Running(ctx); err != nil {
		return fmt.Errorf("what runs on the source: %w", err)
	}
	return nil
}

// within bounds what is done before the cluster is opened by the downtime that
// was granted: what takes longer is better tried again at a quieter time.
func (s *Switcher) within(ctx context.Context, j *handoff.Switch) (context.Context, context.CancelFunc) {
	if j.Granted == 0 {
		return context.WithCancel(ctx)
	}
	left := j.Granted - s.Now().Sub(j.Stopped)
	return context.WithTimeoutCause(ctx, left, fmt.Errorf("the downtime that was granted, %s, is over before the workloads could be started", j.Granted))
}

// judge looks at the databases from their own files.
func (s *Switcher) judge(ctx context.Context, j *handoff.Switch, _ *Report) (step, error) {
	began := s.Now()
	if err := s.enter(j, handoff.SwitchJudging); err != nil {
		return nil, err
	}
	ctx, stop := s.within(ctx, j)
	defer stop()
	checks, err := s.Checks.Judge(ctx)
	if err != nil {
		return nil, why(ctx, err)
	}
	if bad := faults(checks); bad != "" {
		return nil, fmt.Errorf("after the stop: %s", bad)
	}
	j.Learnt.Judge = s.did(j, began, handoff.SwitchStep{Name: stepJudge, Down: true, Detail: details(checks)})
	return s.sync, nil
}

// sync makes the final round, and takes nobody's word for its proof but that of
// the receipts.
func (s *Switcher) sync(ctx context.Context, j *handoff.Switch, _ *Report) (step, error) {
	began := s.Now()
	if err := s.enter(j, handoff.SwitchSyncing); err != nil {
		return nil, err
	}
	ctx, stop := s.within(ctx, j)
	defer stop()
	made, err := s.Rounds.Round(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("final round: %w", why(ctx, err))
	}
	if err := complete(made); err != nil {
		return nil, fmt.Errorf("final round: %w", err)
	}
	j.Round = made.Number
	s.did(j, began, handoff.SwitchStep{
		Name: stepFinal, Down: true,
		Detail: fmt.Sprintf("round %d: %d volumes proved, %d bytes changed", made.Number, len(made.Volumes), changed(made)),
	})
	return s.release, nil
}

func changed(r handoff.Round) (bytes int64) {
	for _, v := range r.Volumes {
		bytes += v.ChangedBytes
	}
	return bytes
}

// complete reports a round that did not bring everything.
func complete(r handoff.Round) error {
	var errs []error
	for _, v := range r.Volumes {
		if !v.Receipt.Proved {
			errs = append(errs, fmt.Errorf("volume %s is not proved (%s)", v.Volume, v.Receipt.File))
		}
		for _, p := range v.Restless {
			errs = append(errs, fmt.Errorf("volume %s: %s changed whenever it was read, although the source was stopped: %s", v.Volume, p.Path, p.Advice))
		}
	}
	return errors.Join(errs...)
}

// release opens the cluster's fence. Before that the source is asked once more:
// a kill may have left a long time since it was stopped.
func (s *Switcher) release(ctx context.Context, j *handoff.Switch, _ *Report) (step, error) {
	if err := s.quiet(ctx); err != nil {
		return nil, fmt.Errorf("the cluster is not opened: %w", err)
	}
	began := s.Now()
	first := !j.Opened
	if !first && s.Source != nil {
		// A way back whose journal could not be written gave the source back.
		fenced, err := s.Source.Fenced(ctx)
		if err == nil && !fenced {
			err = errors.New("it was given back meanwhile, and what it has may be newer")
		}
		if err != nil {
			return nil, fmt.Errorf("the cluster is not opened: the fence of the source: %w", err)
		}
	}
	j.Opened, j.Written = true, j.Round
	if err := s.enter(j, handoff.SwitchReleasing); err != nil {
		return nil, err
	}
	if err := s.Fence.Release(ctx); err != nil {
		return nil, fmt.Errorf("start the workloads: %w", err)
	}
	if j.Served.IsZero() {
		j.Ready = s.Now()
	}
	if took := s.did(j, began, handoff.SwitchStep{Name: stepRelease, Down: true}); first {
		j.Learnt.Start = took
	}
	return s.check, nil
}

// check looks at what serves. The downtime ends with the first smoke check that
// does well, and where there is none, when all workloads were ready.
func (s *Switcher) check(ctx context.Context, j *handoff.Switch, r *Report) (step, error) {
	began := s.Now()
	if err := s.enter(j, handoff.SwitchChecking); err != nil {
		return nil, err
	}
	seen := time.Time{}
	smokes, err := s.Checks.Smoke(ctx, func() {
		if seen.IsZero() {
			seen = s.Now()
		}
	})
	r.After = append(r.After, smokes...)
	if err != nil {
		return nil, err
	}
	if bad := faults(smokes); bad != "" {
		return nil, errors.New(bad)
	}
	if j.Served.IsZero() {
		if j.Served = seen; seen.IsZero() {
			j.Served = j.Ready
		}
		j.Learnt.Smoke = max(0, j.Served.Sub(began))
	}
	s.did(j, began, handoff.SwitchStep{Name: stepSmoke, Detail: details(smokes)})
	return s.data, nil
}

// data has the applications' tools look at their data, and ends the cutover.
func (s *Switcher) data(ctx context.Context, j *handoff.Switch, r *Report) (step, error) {
	began := s.Now()
	checks, err := s.Checks.Data(ctx)
	r.After = append(r.After, checks...)
	if err != nil {
		return nil, err
	}
	if bad := faults(checks); bad != "" {
		return nil, errors.New(bad)
	}
	s.did(j, began, handoff.SwitchStep{Name: stepData, Detail: details(checks)})
	return nil, s.enter(j, handoff.SwitchServing)
}

// why is the cause of an end of ctx, where that is what err tells.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
