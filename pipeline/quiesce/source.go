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
	// Note is told, for people, which service did not end as it is meant to; nil is
	// told nothing.
	Note func(string)
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
	stop(t target, m mark) Command
	start(name string) Command
	fence(targets []target) Command
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
	var out []Command
	marks := map[string]mark{}
	for _, t := range targets {
		if mark := now.marking(t); len(mark) > 0 {
			out = append(out, m.stop(t, mark))
			marks[t.name] = mark
		}
	}
	out = append(append(out, now.fences(targets)...), now.unfences(targets, func(string) bool { return true })...)
	for _, name := range order(targets, marks) {
		out = append(out, m.start(name))
	}
	return out, nil
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

// Fenced reports whether the fence of all services, and of what starts them, is
// there.
func (s *Source) Fenced(ctx context.Context) (bool, error) {
	now, targets, err := s.find(ctx)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(targets, func(t target) bool { return !now.fenced[t.name] }), nil
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
	var told []target
	var failed error
	var grace time.Duration
	for _, t := range targets {
		mark := now.marking(t)
		if len(mark) == 0 && len(now.busy([]target{t})) == 0 {
			continue
		}
		told = append(told, t)
		most := time.Duration(max(t.GraceSeconds, minGraceSeconds)) * time.Second
		grace = max(grace, most)
		if now.systemd && len(mark) == 0 {
			continue // it is a job that ends by itself, or what a unit has left
		}
		if err := s.run(ctx, most+changeTime, now.manager().stop(t, mark)); err != nil {
			if exit := (*ExitError)(nil); !errors.As(err, &exit) {
				return err
			}
			failed = errors.Join(failed, err)
		}
	}
	if grace == 0 {
		return nil
	}
	if failed != nil && now.systemd {
		now, err := part.ask(ctx, s.Runner)
		if err != nil {
			return errors.Join(err, failed)
		}
		if refused := now.refused(told); len(refused) > 0 {
			return errors.Join(fmt.Errorf("%s runs on after it was told to stop", strings.Join(refused, ", ")), failed)
		}
	}
	began := time.Now()
	now, busy, err := s.await(ctx, part, grace, func(now *survey, targets []target) []string { return now.busy(targets) })
	if err != nil {
		return errors.Join(err, failed)
	}
	if len(busy) > 0 {
		return errors.Join(fmt.Errorf("%s still runs %s after it was told to stop", strings.Join(busy, ", "), time.Since(began).Round(time.Second)), failed)
	}
	for _, t := range told {
		if note := now.ended(t); note != "" && s.Note != nil {
			s.Note(note)
		}
	}
	return nil
}

// minGraceSeconds is for services that name no time: that of systemd (
// systemd-system.conf(5), DefaultTimeoutStopSec=).
const minGraceSeconds = 90

// await asks until nothing is left, or the time is over.
func (s *Source) await(ctx context.Context, part Actions, most time.Duration, left func(*survey, []target) []string) (*survey, []string, error) {
	for began := time.Now(); ; {
		now, err := part.ask(ctx, s.Runner)
		if err != nil {
			return nil, nil, err
		}
		targets, _ := part.targets(now) // Reach and Stop speak of what is missing
		rest := left(now, targets)
		if len(rest) == 0 || time.Since(began) > most {
			return now, rest, nil
		}
		select {
		case <-ctx.Done():
			return now, rest, context.Cause(ctx)
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
	return s.runAll(ctx, now.fences(targets))
}

// Unfence takes the fence away. What was disabled or masked before still is.
func (s *Source) Unfence(ctx context.Context) error {
	now, err := s.Actions.ask(ctx, s.Runner)
	if err != nil {
		return err
	}
	targets, _ := s.Actions.targets(now) // what is not there has no fence
	return s.runAll(ctx, now.unfences(targets, func(name string) bool { return now.fenced[name] }))
}

func (s *Source) runAll(ctx context.Context, commands []Command) error {
	for _, c := range commands {
		if err := s.run(ctx, changeTime, c); err != nil {
			return err
		}
	}
	return nil
}

// Start starts what Stop stopped, in the reverse order, and returns when it runs.
// The fence must be gone. What did not run before, and is started because something
// else wants it, is stopped again.
func (s *Source) Start(ctx context.Context) error {
	before, err := s.Actions.ask(ctx, s.Runner)
	if err != nil {
		return err
	}
	targets, _ := s.Actions.targets(before) // what is not there was not stopped
	names := order(targets, before.marks)
	if len(names) == 0 {
		return nil
	}
	m := before.manager()
	var failed error
	for _, name := range names {
		if err := s.run(ctx, beginTime, m.start(name)); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	now, down, err := s.await(ctx, s.Actions, startTime, func(now *survey, targets []target) []string { return now.down(targets, names) })
	if err != nil {
		return errors.Join(err, failed)
	}
	if len(down) > 0 {
		return errors.Join(fmt.Errorf("%s does not run after it was started", strings.Join(down, ", ")), failed)
	}
	targets, _ = s.Actions.targets(now)
	for _, t := range targets {
		if slices.Contains(names, t.name) || before.units[t.name].runs() || !now.pulled(t) {
			continue
		}
		if err := s.run(ctx, beginTime, m.stop(t, nil)); err != nil {
			return err
		}
	}
	return s.run(ctx, changeTime, Command{What: "forget what was stopped", Argv: []string{"sh", "-c", unmarkScript, "unmark", strings.Join(before.marked(targets), " ")}})
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
