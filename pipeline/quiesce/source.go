package quiesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline/profile"
)

// Source is a source on which the actions are done.
type Source struct {
	Actions Actions
	Runner  Runner
	// Show is told each command that changes the source before it is run; nil shows
	// nothing. What only asks is not shown.
	Show func(Command)
}

// Command is one command that changes the source.
type Command struct {
	What string // for people
	Argv []string
}

// String is the command as sh(1) reads it.
func (c Command) String() string { return Quote(c.Argv) }

// A command that does not come to its end, behind a connection that hangs, keeps
// nobody waiting for ever.
const (
	answerTime = time.Minute      // for a question
	changeTime = 2 * time.Minute  // for a change of files
	beginTime  = 20 * time.Minute // for a start, with the recovery of a database
)

// bound is ctx with that much time from now on.
func bound(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, most, fmt.Errorf("it has not ended after %s: does the source answer?", most))
}

func (s *Source) run(ctx context.Context, most time.Duration, c Command) error {
	ctx, end := bound(ctx, most)
	defer end()
	if s.Show != nil {
		s.Show(c)
	}
	_, err := s.Runner.Run(ctx, c.Argv)
	if err != nil {
		return fmt.Errorf("%s: %w", c.What, err)
	}
	return nil
}

// manager makes the commands of one init system.
type manager interface {
	stop(t target, mark []string) Command
	start(name string) Command
	fence(names []string) Command
	unfence(names []string) Command
}

func (s *survey) manager() manager {
	if s.systemd {
		return systemd{}
	}
	return sysv{}
}

// Standing is how the services of a source stand.
type Standing struct {
	Running int      // services that Stop would stop
	Notes   []string // for people: what there is nothing to stop of, and why
}

// Reach asks, without changing anything, whether the source answers, whether what
// runs the commands there is root, whether all services are found, and how they
// stand.
func (s *Source) Reach(ctx context.Context) (Standing, error) {
	now, err := s.Actions.ask(ctx, s.Runner)
	if err != nil {
		return Standing{}, err
	}
	if !now.root {
		return Standing{}, errors.New("the commands on the source are not root's: they could not stop its services")
	}
	targets, err := s.Actions.targets(now)
	standing := Standing{Notes: s.Actions.notes(now)}
	for _, t := range targets {
		if t.running || t.mute {
			standing.Running++
		}
	}
	return standing, err
}

// find asks the source, and finds all services there.
func (s *Source) find(ctx context.Context) (*survey, []target, error) {
	now, err := s.Actions.ask(ctx, s.Runner)
	if err != nil {
		return nil, nil, err
	}
	targets, err := s.Actions.targets(now)
	return now, targets, err
}

// Commands are what Stop, Fence, Unfence and Start would do now, in this order.
func (s *Source) Commands(ctx context.Context) ([]Command, error) {
	now, targets, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	m := now.manager()
	var out, starts []Command
	for _, t := range targets {
		if mark := now.marking(t); len(mark) > 0 {
			out = append(out, m.stop(t, mark))
			for _, name := range mark {
				starts = append(starts, m.start(name))
			}
		}
	}
	slices.Reverse(starts)
	names := namesOf(targets)
	out = append(out, m.fence(names), m.unfence(names))
	return append(out, starts...), nil
}

// Running names the services that run, and what of them is left: processes of
// their programs, jobs that cron started.
func (s *Source) Running(ctx context.Context) ([]string, error) {
	now, targets, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	return now.busy(targets), nil
}

// Stop stops the services, one tier after the other, and returns when nothing of
// them runs. What did not run before is not marked to be started.
func (s *Source) Stop(ctx context.Context) error {
	now, _, err := s.find(ctx)
	if err != nil {
		return err
	}
	for _, tier := range profile.Tiers() {
		part := s.Actions.of(tier)
		targets, _ := part.targets(now) // what is missing was said
		if err := s.stopTier(ctx, part, now, targets); err != nil {
			return err
		}
	}
	return nil
}

// stopTier gives the commands and waits. A command that failed counts only when
// something runs in the end: an init script may give up before the service ends.
func (s *Source) stopTier(ctx context.Context, part Actions, now *survey, targets []target) error {
	var failed error
	var grace int64
	for _, t := range targets {
		mark := now.marking(t)
		if len(mark) == 0 && len(now.busy([]target{t})) == 0 {
			continue
		}
		grace = max(grace, t.GraceSeconds, minGraceSeconds)
		if err := s.run(ctx, time.Duration(max(t.GraceSeconds, minGraceSeconds))*time.Second+changeTime, now.manager().stop(t, mark)); err != nil {
			if exit := (*ExitError)(nil); !errors.As(err, &exit) {
				return err
			}
			failed = errors.Join(failed, err)
		}
	}
	if grace == 0 {
		return nil
	}
	busy, err := s.await(ctx, part, time.Duration(grace)*time.Second, func(now *survey, targets []target) []string { return now.busy(targets) })
	if err != nil {
		return errors.Join(err, failed)
	}
	if len(busy) > 0 {
		return errors.Join(fmt.Errorf("%s still runs %d s after it was told to stop", strings.Join(busy, ", "), grace), failed)
	}
	return nil
}

// minGraceSeconds is for services that name no time: that of systemd (
// systemd-system.conf(5), DefaultTimeoutStopSec=).
const minGraceSeconds = 90

// await asks until nothing is left, or the time is over.
func (s *Source) await(ctx context.Context, part Actions, most time.Duration, left func(*survey, []target) []string) ([]string, error) {
	for began := time.Now(); ; {
		now, err := part.ask(ctx, s.Runner)
		if err != nil {
			return nil, err
		}
		targets, _ := part.targets(now) // Reach and Stop speak of what is missing
		rest := left(now, targets)
		if len(rest) == 0 || time.Since(began) > most {
			return rest, nil
		}
		select {
		case <-ctx.Done():
			return rest, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// pause is between two questions.
const pause = 300 * time.Millisecond

// Fence keeps the services from being started by anybody, also at a boot. It stops
// nothing.
func (s *Source) Fence(ctx context.Context) error {
	now, targets, err := s.find(ctx)
	if err != nil || len(targets) == 0 {
		return err
	}
	return s.run(ctx, changeTime, now.manager().fence(namesOf(targets)))
}

// Unfence takes the fence away. What was disabled or masked before still is.
func (s *Source) Unfence(ctx context.Context) error {
	now, err := s.Actions.ask(ctx, s.Runner)
	if err != nil {
		return err
	}
	targets, _ := s.Actions.targets(now) // what is not there has no fence
	names := slices.DeleteFunc(namesOf(targets), func(name string) bool { return !now.fenced[name] })
	if len(names) == 0 {
		return nil
	}
	return s.run(ctx, changeTime, now.manager().unfence(names))
}

// Start starts what Stop stopped, in the reverse order, and returns when it runs.
// The fence must be gone.
func (s *Source) Start(ctx context.Context) error {
	now, err := s.Actions.ask(ctx, s.Runner)
	if err != nil {
		return err
	}
	targets, _ := s.Actions.targets(now) // what is not there was not stopped
	names := namesOf(targets)
	slices.Reverse(names)
	names = slices.DeleteFunc(names, func(name string) bool { return !now.marks[name] })
	if len(names) == 0 {
		return nil
	}
	var failed error
	for _, name := range names {
		if err := s.run(ctx, beginTime, now.manager().start(name)); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	down, err := s.await(ctx, s.Actions, startTime, func(now *survey, targets []target) []string { return now.down(targets, names) })
	if err != nil {
		return errors.Join(err, failed)
	}
	if len(down) > 0 {
		return errors.Join(fmt.Errorf("%s does not run after it was started", strings.Join(down, ", ")), failed)
	}
	return s.run(ctx, changeTime, Command{What: "forget what was stopped", Argv: []string{"sh", "-c", unmarkScript, "unmark", strings.Join(names, " ")}})
}

// startTime is how long a service that was started may take to run.
const startTime = 60 * time.Second

// of are the services of one tier.
func (a Actions) of(tier profile.Tier) Actions {
	var out Actions
	for _, s := range a.Services {
		if s.Tier == tier {
			out.Services = append(out.Services, s)
		}
	}
	return out
}

// namesOf are the targets with what would start them, in the order in which they
// are stopped: what would start a service again goes before it.
func namesOf(targets []target) []string {
	var out []string
	for _, t := range targets {
		for _, name := range append(slices.Clone(t.also), t.name) {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// marking are those names of the target that are to be started again.
func (s *survey) marking(t target) []string {
	var out []string
	for _, name := range t.also {
		if s.units[name].runs() {
			out = append(out, name)
		}
	}
	if t.running || t.mute && !t.shielded && !s.marks[t.name] {
		out = append(out, t.name)
	}
	return out
}

// down are those of the names that do not run.
func (s *survey) down(targets []target, names []string) []string {
	var out []string
	for _, t := range targets {
		if slices.Contains(names, t.name) && !t.running && !t.mute {
			out = append(out, t.name)
		}
		for _, name := range t.also {
			if slices.Contains(names, name) && !s.units[name].runs() {
				out = append(out, name)
			}
		}
	}
	return out
}
