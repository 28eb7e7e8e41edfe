package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/stages/cutover"
	"github.com/statelift/statelift/stages/source"
)

// statusReport is what `statelift status --json` prints.
type statusReport struct {
	Workspace string              `json:"workspace"`
	Source    string              `json:"source,omitempty"`
	Busy      bool                `json:"busy"` // another statelift is at work
	Stages    []pipeline.Standing `json:"stages"`
	Next      string              `json:"next,omitempty"`
	Questions []handoff.Question  `json:"questions,omitempty"` // of the plan, unanswered
	Blocks    []string            `json:"blocks,omitempty"`    // what stands between this run and success
	// Switch says where the switch from the source to the cluster stands; nil before
	// the first cutover.
	Switch *cutover.Report `json:"switch,omitempty"`
	// Cluster is what this workspace made there.
	Cluster []clusterThing `json:"cluster,omitempty"`
	problems
}

func newStatus(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "What is done, what is next, what blocks",
		Long:    "Print where each stage of the workspace stands, from its records alone, and what\nit made in a cluster, which is asked whether that is still there. Nothing is run.",
		Example: "  statelift status -w lift\n  statelift status --json | jq -r .next",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := g.status(cmd.Context())
			if err != nil {
				return err
			}
			return g.print(r, r.write)
		},
	}
}

func (g *globals) status(ctx context.Context) (*statusReport, error) {
	ws, err := g.existing()
	if err != nil {
		return nil, err
	}
	r := &statusReport{Workspace: ws.Dir, problems: readProblems(ws)}
	release, lockErr := ws.Lock()
	if lockErr == nil {
		release() // nobody waits for a look
	}
	// One that cannot be locked for another reason (a read-only file system) is
	// still there to look at.
	r.Busy = errors.Is(lockErr, workspace.ErrLocked)
	req, err := recall(ws)
	if err != nil {
		return nil, err
	}
	r.Source = source.Redact(req.Source)
	choices, err := readDecisions(ws)
	if err != nil {
		r.Blocks = append(r.Blocks, err.Error())
	}
	deps, err := req.deps(choices, false)
	if err != nil {
		return nil, err
	}
	runner := pipeline.Runner{
		Stages: stages.All(deps), Version: programVersion(), Env: pipeline.Env{Workspace: ws},
	}
	if r.Stages, err = runner.Standings(); err != nil {
		return nil, err
	}
	for _, s := range r.Stages {
		if s.State != pipeline.Fresh && r.Next == "" {
			r.Next = s.Stage
		}
		r.block(s.Incomplete...)
	}
	if p, err := pipeline.Read(ws, handoff.PlanKey); err == nil {
		r.Questions = p.Questions
	}
	if v, err := pipeline.Read(ws, handoff.VerdictsKey); err == nil {
		r.block(v.Incomplete...)
	}
	if r.Switch, err = standingOf(ws); err != nil {
		return nil, err
	}
	var notes []string
	if r.Cluster, notes, err = inClusters(ctx, ws); err != nil {
		return nil, err
	}
	r.block(notes...)
	return r, nil
}

// block adds reasons that are not there yet: what one stage could not take, the
// last one tells again.
func (r *statusReport) block(reasons ...string) {
	for _, b := range reasons {
		if !slices.Contains(r.Blocks, b) {
			r.Blocks = append(r.Blocks, b)
		}
	}
}

func (r *statusReport) write(w io.Writer) error {
	fmt.Fprintf(w, "workspace %s, source %s\n\n", r.Workspace, r.Source)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range r.Stages {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", s.Stage, s.State, s.Why)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	switch {
	case r.Busy:
		fmt.Fprintln(w, "\nanother statelift is at work here")
	case r.Next != "":
		fmt.Fprintf(w, "\nnext: %s (statelift run -w %s)\n", r.Next, r.Workspace)
	default:
		fmt.Fprintln(w, "\neverything is done")
	}
	if r.Switch != nil {
		fmt.Fprintf(w, "switch: %s\n", r.Switch.Says)
	}
	for _, b := range r.Blocks {
		fmt.Fprintf(w, "blocks: %s\n", b)
	}
	if n := len(r.Questions); n > 0 {
		fmt.Fprintf(w, "%d questions of the plan are open; defaults hold (statelift plan shows them)\n", n)
	}
	r.problems.write(w)
	return writeThings(w, r.Cluster)
}
