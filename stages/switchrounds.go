package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/cluster/warmup"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/stages/cutover"
	"github.com/statelift/statelift/stages/sync"
)

// rounder makes the rounds of a cutover in one session.
type rounder struct {
	*far
	session *sync.Session
}

func (r *rounder) Open(ctx context.Context) (err error) {
	if r.session == nil {
		r.session, err = Sync(r.Deps, false).Open(ctx, r.env("sync"))
	}
	return err
}

func (r *rounder) Round(ctx context.Context, final bool) (handoff.Round, error) {
	if err := r.Open(ctx); err != nil {
		return handoff.Round{}, err
	}
	return r.session.Round(ctx, final)
}

// fresh is how old the last round may be, and how long it may have taken, without
// another one before the final one.
const fresh = time.Minute

// Due goes by the last round.
func (r *rounder) Due(context.Context) (string, error) {
	made, journal, err := r.history()
	if err != nil {
		return "", err
	}
	if len(made) == 0 {
		return "there was none since the first copy", nil
	}
	last := made[len(made)-1]
	age, took := time.Since(last.Began).Round(time.Second), last.Ended.Sub(last.Began).Round(time.Second)
	switch {
	case journal.WrittenSince(made):
		return "an earlier cutover let the cluster write to the volumes", nil
	case took > fresh && age > fresh:
		return fmt.Sprintf("round %d took %s, and meanwhile the source went on", last.Number, took), nil
	case age > fresh:
		return fmt.Sprintf("round %d was begun %s ago", last.Number, age), nil
	}
	return "", nil
}

func (f *far) history() ([]handoff.Round, handoff.Switch, error) {
	made, err := pipeline.Read(f.runner.Env.Workspace, handoff.RoundsKey)
	if err != nil && !errors.Is(err, pipeline.ErrNoHandoff) {
		return nil, handoff.Switch{}, err
	}
	j, err := journal{f.runner.Env.Workspace}.Read()
	return made.Rounds, j, err
}

// Close takes away what was there for rounds only: of this call, or of one that was
// killed.
func (r *rounder) Close(ctx context.Context) error {
	if r.session != nil {
		return r.session.Close(ctx)
	}
	if r.rehearsal() {
		return nil
	}
	made, err := cluster.OpenMade(ctx, r.env("deploy").Ledger)
	if err != nil || !slices.ContainsFunc(made.All(), func(t cluster.Thing) bool { return t.Brief && t.Context == r.Context }) {
		return err
	}
	f, err := r.fence(ctx)
	if err != nil {
		return err
	}
	return f.Owner.RemoveBrief(ctx)
}

// Warm tries the start of the workloads. In a rehearsal none starts.
func (f *far) Warm(ctx context.Context) (most time.Duration, checks []handoff.Check, err error) {
	if f.rehearsal() {
		return 0, nil, nil
	}
	in, err := f.fence(ctx)
	if err != nil {
		return 0, nil, err
	}
	_, before, err := f.history()
	if err != nil {
		return 0, nil, err
	}
	warmer := warmup.Warmer{Runner: &copyjob.Runner{Waiter: in.Waiter, Owner: in.Owner}, Plan: f.plan, Known: before.Learnt.Start > 0}
	results, err := warmer.Warm(ctx)
	for _, r := range results {
		most = max(most, r.Took)
		c := handoff.Check{What: "start", Name: r.Workload, OK: r.Err == nil, Detail: fmt.Sprintf("a Pod with its images starts and ends in %s", r.Took.Round(100*time.Millisecond))}
		if r.Pulled > 0 {
			c.Detail += fmt.Sprintf(", after the images came in %s", r.Pulled.Round(100*time.Millisecond))
		}
		if r.Err != nil {
			c.Detail = r.Err.Error()
		}
		checks = append(checks, c)
	}
	return most, checks, err
}

// Costs are what a switch takes beside its final round, before anything was tried
// for it: by what earlier cutovers took, and by the rounds, whose shortest Job says
// how long a Pod takes at most to start. stops says that it stops the source.
func Costs(d Deps, plan handoff.Plan, learnt handoff.SwitchCosts, rounds []handoff.Round, stops bool) sync.Costs {
	p := cutover.Predict(d.basis(plan, learnt, rounds, stops))
	stop, start := p.Around()
	return sync.Costs{Stop: stop, Start: start}
}

func (d Deps) basis(plan handoff.Plan, learnt handoff.SwitchCosts, rounds []handoff.Round, stops bool) cutover.Basis {
	b := cutover.Basis{Learnt: learnt, Quiesce: stops, Cluster: d.Context != "", MovesOut: movesOut(plan), Smoke: len(d.Decisions.Smoke) > 0}
	for _, r := range rounds {
		for _, v := range r.Volumes {
			if v.Apply > 0 && (b.Pod == 0 || v.Apply < b.Pod) {
				b.Pod, b.PodBy = v.Apply, "the shortest Job of the rounds"
			}
		}
	}
	return b
}

// predict goes by the rounds, by what the last cutover took, and by what was tried.
func (f *far) predict(tried cutover.Basis) (cutover.Prediction, error) {
	made, _, err := f.history()
	if err != nil {
		return cutover.Prediction{}, err
	}
	b := f.basis(f.plan, tried.Learnt, made, tried.Quiesce)
	b.Ask, b.Running = tried.Ask, tried.Running
	if tried.Pod > 0 {
		b.Pod, b.PodBy = tried.Pod, tried.PodBy
	}
	p := sync.Predict(made, time.Now(), sync.Costs{})
	b.Known, b.Final, b.FinalBy = p.Known, p.Final, p.Rounds
	if !p.Known {
		b.FinalBy = p.Why
	}
	return cutover.Predict(b), nil
}
