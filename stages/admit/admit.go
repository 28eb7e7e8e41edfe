package admit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hotbackup"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name: "admit", Summary: "stops before any work when the cluster cannot serve the plan, or a database cannot be copied as it is, with the choices",
		Effects: pipeline.Local, Resumes: "judging again", Version: 2,
	}
}

// Options decide about the result.
type Options struct {
	// Hold says that a cutover makes a consistent copy later.
	Hold bool `json:"hold,omitempty"`
	// Backup says that databases that run are copied by their own means.
	Backup bool `json:"backup,omitempty"`
}

// Stage is the gate.
type Stage struct {
	options Options
	ask     Ask
}

// Ask asks the source whether a database can be copied while it runs; when not, the
// error is a [*hotbackup.Refusal].
type Ask func(ctx context.Context, d handoff.Database) error

// New makes the stage.
func New(o Options) *Stage { return &Stage{options: o} }

// WithBackups gives the stage what asks, for Options.Backup.
func (s *Stage) WithBackups(ask Ask) *Stage {
	s.ask = ask
	return s
}

// Rehearsal is the target of a run without a cluster.
const Rehearsal = "rehearsal"

// Run lets a plan pass that its target can serve, and whose databases are a copy
// when they are copied. Otherwise the error is a [pipeline.Blocked] with every
// block and its choices. The databases are looked at once more: since the plan was
// made they may have been stopped, or started.
func (s *Stage) Run(ctx context.Context, _ *pipeline.Env, plan handoff.Plan, target handoff.Target, source handoff.Source) (handoff.Admission, error) {
	name := Rehearsal
	if target.Context != "" {
		name = target.Context + "/" + target.Namespace
	}
	blocks := slices.DeleteFunc(slices.Clone(plan.Blocks), func(b handoff.Block) bool { return b.About == datastore.About })
	databases, err := s.databases(ctx, plan, source)
	if err != nil {
		return handoff.Admission{}, err
	}
	if blocks = append(blocks, databases...); len(blocks) > 0 {
		return handoff.Admission{}, &pipeline.Blocked{Question: question(name, blocks)}
	}
	return handoff.Admission{Target: name}, nil
}

// databases are the blocks of the databases as they are now.
func (s *Stage) databases(ctx context.Context, plan handoff.Plan, source handoff.Source) ([]handoff.Block, error) {
	if s.options.Hold && !s.options.Backup || len(plan.Databases) == 0 {
		return nil, nil
	}
	root, err := rootfs.Open(source.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	list, err := datastore.Running(ctx, root, plan.Databases)
	if err != nil || !s.options.Backup {
		return datastore.Blocks(list), err
	}
	return s.backups(ctx, list)
}

// backups are the blocks of databases that their own means cannot copy now.
func (s *Stage) backups(ctx context.Context, list []handoff.Database) (out []handoff.Block, err error) {
	for _, d := range list {
		err := s.ask(ctx, d)
		refused := (*hotbackup.Refusal)(nil)
		if err != nil && !errors.As(err, &refused) {
			return nil, err
		}
		if refused == nil {
			continue
		}
		d.Backup = "" // it was asked for
		for _, b := range datastore.Blocks([]handoff.Database{d}) {
			b.Text += fmt.Sprintf("; and %s cannot copy it while it runs: %s", refused.Tool, refused.Why)
			if refused.Remedy != "" {
				b.Choices = append([]string{refused.Remedy}, b.Choices...)
			}
			out = append(out, b)
		}
	}
	return out, nil
}

// question is all blocks, numbered, each with its choices.
func question(name string, blocks []handoff.Block) string {
	return name + " cannot serve this plan as it is, and nothing was begun:\n" + handoff.BlocksText(blocks)
}
