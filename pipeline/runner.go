package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Runner runs stages in their order.
type Runner struct {
	Stages  []Stage
	Granted Effect
	// Version is the program's: what another version wrote is stale.
	Version string
	Env     Env // Ledger is replaced by each stage's own part of it
	// Ledgers gives the ledger of a stage.
	Ledgers func(stage string) Ledger
	// Observe is told when a stage begins and ends. It may be nil.
	Observe func(Event)
}

// Event is one change of a run.
type Event struct {
	Stage   string        `json:"stage"`
	State   State         `json:"state"`
	Why     string        `json:"why,omitempty"` // why it runs, or why it could not
	Elapsed time.Duration `json:"elapsedNanoseconds,omitempty"`
}

// State is where a stage is.
type State string

// The states.
const (
	Running State = "running"
	Fresh   State = "fresh" // done before, nothing it depends on changed
	Done    State = "done"
	Stale   State = "stale" // done before, but something it depends on changed
	Pending State = "pending"
	Failed  State = "failed"
	Partial State = "incomplete" // done as far as possible
)

// Run brings every stage up to and including until (all when it is empty) up to
// date. It returns the first error of a stage; when all stages ended and some
// were incomplete, an *Incomplete with all reasons.
func (r *Runner) Run(ctx context.Context, until string) error {
	if err := r.check(until); err != nil {
		return err
	}
	var incomplete []string
	for _, s := range r.Stages {
		if err := ctx.Err(); err != nil {
			return err
		}
		reasons, err := r.bring(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, placed(r.Env.Workspace.Dir, err))
		}
		incomplete = append(incomplete, reasons...)
		if s.Name == until {
			break
		}
	}
	if len(incomplete) > 0 {
		return &Incomplete{Because: incomplete}
	}
	return nil
}

// check refuses, before any work, what the run would refuse on the way.
func (r *Runner) check(until string) error {
	found := until == ""
	for _, s := range r.Stages {
		if missing := s.Effects &^ r.Granted; missing != 0 {
			return fmt.Errorf("stage %s touches %s, which was not granted", s.Name, missing)
		}
		if s.Name == until {
			found = true
			break
		}
	}
	if !found {
		return fmt.Errorf("there is no stage %q", until)
	}
	return nil
}

// bring makes one stage up to date and returns why it is incomplete, if it is.
func (r *Runner) bring(ctx context.Context, s Stage) (incomplete []string, err error) {
	env := r.env(s)
	why, err := r.stale(ctx, s, env)
	if err != nil {
		return nil, err
	}
	if why == "" {
		r.observe(Event{Stage: s.Name, State: Fresh})
		return nil, nil
	}
	return r.perform(ctx, s, why)
}

// perform runs one stage and writes its hand-off.
func (r *Runner) perform(ctx context.Context, s Stage, why string) (incomplete []string, err error) {
	env := r.env(s)
	r.observe(Event{Stage: s.Name, State: Running, Why: why})
	started := time.Now()
	// The provenance is taken before the stage runs: what changes meanwhile
	// makes the result stale, not wrong.
	e, err := r.provenance(s)
	if err != nil {
		return nil, err
	}
	data, err := s.run(ctx, env)
	var inc *Incomplete
	switch {
	case errors.As(err, &inc):
		e.Incomplete = inc.Because
	case err != nil:
		r.observe(Event{Stage: s.Name, State: Failed, Why: err.Error(), Elapsed: time.Since(started)})
		return nil, err
	}
	e.Data = data
	if err := e.write(env.Workspace, s.Writes); err != nil {
		return nil, err
	}
	state := Done
	if inc != nil {
		state = Partial
	}
	r.observe(Event{Stage: s.Name, State: state, Elapsed: time.Since(started)})
	return e.Incomplete, nil
}

func (r *Runner) env(s Stage) *Env { return r.EnvOf(s.Name) }

// EnvOf is what a stage of that name gets, also one that is no stage of a run.
func (r *Runner) EnvOf(stage string) *Env {
	env := r.Env
	env.Log = env.Log.With("stage", stage)
	env.Ledger, env.Ledgers = r.Ledgers(stage), r.Ledgers
	return &env
}

func (r *Runner) observe(e Event) {
	if r.Observe != nil {
		r.Observe(e)
	}
}

func (r *Runner) provenance(s Stage) (envelope, error) {
	e := envelope{
		Statelift: r.Version, Stage: s.Name, Version: s.Version, Schema: s.schema,
		Options: digestOf(s.Options), Reads: map[string]string{},
	}
	for _, name := range s.Reads {
		in, err := readEnvelope(r.Env.Workspace, name)
		if err != nil {
			return e, err
		}
		pick := s.parts[name]
		if pick == nil {
			e.Reads[name] = digestOf(in.Data)
			continue
		}
		if e.Reads[name], err = pick(in.Data); err != nil {
			return e, err
		}
	}
	return e, nil
}

// stale says why a stage must run, and "" when it need not.
func (r *Runner) stale(ctx context.Context, s Stage, env *Env) (string, error) {
	why, err := r.staleRecord(s)
	if err != nil || why != "" || s.recheck == nil {
		return why, err
	}
	why, err = s.recheck(ctx, env)
	if err != nil {
		return "", fmt.Errorf("look again at what was made: %w", err)
	}
	return why, nil
}

func (r *Runner) staleRecord(s Stage) (string, error) {
	have, err := readEnvelope(r.Env.Workspace, s.Writes)
	if errors.Is(err, ErrNoHandoff) {
		return "it was not done yet", nil
	}
	if err != nil {
		return err.Error(), nil
	}
	want, err := r.provenance(s)
	if err != nil {
		return "", err
	}
	switch {
	case have.Statelift != want.Statelift:
		return fmt.Sprintf("statelift %s made it, this is %s", have.Statelift, want.Statelift), nil
	case have.Version != want.Version || have.Schema != want.Schema || have.Stage != want.Stage:
		return "the stage itself changed", nil
	case have.Options != want.Options:
		return "its options changed", nil
	case len(have.Incomplete) > 0:
		return "it was incomplete: " + have.Incomplete[0], nil
	}
	for _, name := range s.Reads {
		if have.Reads[name] != want.Reads[name] {
			return name + " changed", nil
		}
	}
	return "", nil
}

// Look says what of the named stage's work is not up to date or not there any more,
// "" when all is. It asks the outside, too, and runs nothing.
func (r *Runner) Look(ctx context.Context, name string) (stale string, err error) {
	for _, s := range r.Stages {
		if s.Name == name {
			return r.stale(ctx, s, r.env(s))
		}
	}
	return "", fmt.Errorf("there is no stage %q", name)
}

// Standing is what status tells of one stage.
type Standing struct {
	Stage      string   `json:"stage"`
	State      State    `json:"state"` // fresh, stale, pending, incomplete
	Why        string   `json:"why,omitempty"`
	Incomplete []string `json:"incomplete,omitempty"`
}

// Standings tells where each stage is, from the records alone: nothing outside
// the workspace is asked.
func (r *Runner) Standings() ([]Standing, error) {
	var out []Standing
	behind := ""
	for _, s := range r.Stages {
		st := Standing{Stage: s.Name, State: Fresh}
		have, err := readEnvelope(r.Env.Workspace, s.Writes)
		switch {
		case errors.Is(err, ErrNoHandoff):
			st.State = Pending
		case err != nil:
			st.State, st.Why = Stale, err.Error()
		case behind != "":
			st.State, st.Why = Stale, behind+" comes first"
		default:
			why, err := r.staleRecord(s)
			if err != nil {
				return nil, err
			}
			if why != "" {
				st.State, st.Why = Stale, why
			}
			if len(have.Incomplete) > 0 {
				st.State = Partial
			}
		}
		st.Incomplete = have.Incomplete
		if st.State != Fresh && behind == "" {
			behind = s.Name
		}
		out = append(out, st)
	}
	return out, nil
}

// Validate reports a list of stages in which one reads what none before it
// writes, or two write the same.
func Validate(stages []Stage) error {
	written := map[string]string{}
	for _, s := range stages {
		for _, name := range s.Reads {
			if written[name] == "" {
				return fmt.Errorf("stage %s reads %s, which no stage before it writes", s.Name, name)
			}
		}
		if by := written[s.Writes]; by != "" {
			return fmt.Errorf("stages %s and %s both write %s", by, s.Name, s.Writes)
		}
		written[s.Writes] = s.Name
	}
	return nil
}

// Only runs the stage with that name, fresh or not, on what the stages before
// it wrote; none of those is run.
func (r *Runner) Only(ctx context.Context, name string) error {
	for _, s := range r.Stages {
		if s.Name != name {
			continue
		}
		if missing := s.Effects &^ r.Granted; missing != 0 {
			return fmt.Errorf("stage %s touches %s, which was not granted", s.Name, missing)
		}
		incomplete, err := r.perform(ctx, s, "it was asked for")
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, placed(r.Env.Workspace.Dir, err))
		}
		if len(incomplete) > 0 {
			return &Incomplete{Because: incomplete}
		}
		return nil
	}
	return fmt.Errorf("there is no stage %q", name)
}
