package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/stages/cutover"
)

// readSwitch reads the journal of the switch; it is zero when there is none.
func readSwitch(w workspace.Workspace) (handoff.Switch, error) {
	j, err := pipeline.Read(w, handoff.SwitchKey)
	if errors.Is(err, pipeline.ErrNoHandoff) {
		return handoff.Switch{}, nil
	}
	return j, err
}

// standingOf is what status tells of the switch; nil when none was begun.
func standingOf(w workspace.Workspace) (*cutover.Report, error) {
	j, err := readSwitch(w)
	if err != nil || j.State == "" {
		return nil, err
	}
	return cutover.Of(j), nil
}

// refuse says why a command must not run while the switch is where it is.
func refuse(w workspace.Workspace, c handoff.Guarded) error {
	j, err := readSwitch(w)
	if err != nil {
		return err
	}
	return j.Refuse(c)
}

// refuseRun keeps a run from filling volumes and applying workloads while the
// switch says otherwise: after a way back, only a held one leaves the truth at the
// source.
func refuseRun(l *lift) error {
	j, err := readSwitch(l.ws)
	if err != nil {
		return err
	}
	if err := j.Refuse(handoff.GuardedRun); err != nil {
		return err
	}
	if j.State == handoff.SwitchReturned && l.request.Context != "" && !l.request.held() {
		return &pipeline.Blocked{Question: "run would start workloads, and " + j.Standing(), Where: "statelift run --hold"}
	}
	return nil
}

// switching opens the workspace for a command of the switch. how gets the journal
// and says with what the switch is done.
func (g *globals) switching(ctx context.Context, how func(handoff.Switch) (stages.SwitchOptions, error), do func(*stages.SwitchParts) (*cutover.Report, error)) (r *cutover.Report, err error) {
	l, err := g.open(ctx, request{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	j, err := readSwitch(l.ws)
	if err != nil {
		return nil, err
	}
	o, err := how(j)
	if err != nil {
		return nil, err
	}
	if o.Quiesce {
		l.runner.Granted |= pipeline.Source
	}
	o.Show = l.deps.Show
	// What watches a cluster ends with the command, not with an interrupt: the way
	// back needs it.
	steady, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	parts, err := stages.Switch(steady, l.deps, l.runner, o)
	if err != nil {
		return nil, err
	}
	return do(parts)
}

// printSwitch prints a report, also beside an error.
func (g *globals) printSwitch(r *cutover.Report, err error) error {
	if r == nil {
		return err
	}
	return errors.Join(g.print(r, func(w io.Writer) error { return writeSwitch(w, r) }), err)
}

func writeSwitch(w io.Writer, r *cutover.Report) error {
	if err := writeChecks(w, append(append([]handoff.Check{}, r.Before...), r.After...)); err != nil {
		return err
	}
	if len(r.Steps) > 0 {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "STEP\tTOOK\tPREDICTED\tSERVES\tDETAIL\tPREDICTED BY")
		for _, s := range r.Steps {
			serves := "one side"
			if s.Down {
				serves = "nobody"
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, took(s.Took), took(s.Predicted), serves, s.Detail, s.By)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	if r.Downtime > 0 {
		fmt.Fprintf(w, "downtime %s, predicted %s, granted %s\n", took(r.Downtime), took(r.Predicted), took(r.Granted))
	}
	writeChanges(w, r.Changes)
	for _, c := range r.Commands {
		fmt.Fprintf(w, "on the source, %s\n", c)
	}
	_, err := fmt.Fprintln(w, r.Says)
	return err
}

func writeChecks(w io.Writer, checks []handoff.Check) error {
	if len(checks) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "CHECK\tOF\tVERDICT\tDETAIL")
	for _, c := range checks {
		verdict := "well"
		if !c.OK {
			verdict = "NOT WELL"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", c.What, c.Name, verdict, strings.ReplaceAll(c.Detail, "\n", "; "))
	}
	return tw.Flush()
}

// shownChanges is how many paths of a volume are told on a terminal.
const shownChanges = 10

func writeChanges(w io.Writer, list []handoff.VolumeChanges) {
	for _, v := range list {
		n := v.Added + v.Altered + v.Dressed + v.Removed
		if v.Outside != "" {
			writeOutside(w, v)
			continue
		}
		if n == 0 {
			fmt.Fprintf(w, "volume %s: nothing was written in the cluster\n", v.Volume)
			continue
		}
		fmt.Fprintf(w, "volume %s: in the cluster %d paths were added, %d altered, %d dressed otherwise, %d removed (%s)\n", v.Volume, v.Added, v.Altered, v.Dressed, v.Removed, v.File)
		for _, c := range v.First[:min(len(v.First), shownChanges)] {
			fmt.Fprintf(w, "  %s %s\n", c.What, c.Path)
		}
		if more := n - shownChanges; more > 0 {
			fmt.Fprintf(w, "  … and %d more\n", more)
		}
		if v.Archive != "" {
			fmt.Fprintf(w, "  brought back in %s (sha256:%s)\n", v.Archive, v.ArchiveSHA256)
		}
	}
}

// writeOutside tells of a database outside the cluster: what was written there
// stays there, and is not at the source.
func writeOutside(w io.Writer, v handoff.VolumeChanges) {
	if n := v.Added + v.Altered + v.Removed; n == 0 {
		fmt.Fprintf(w, "databases of %s at %s: nothing was written since they were moved\n", v.Volume, v.Outside)
		return
	}
	fmt.Fprintf(w, "databases of %s at %s: %d tables were added, %d altered, %d removed since they were moved (%s); what was written there is not at the source\n",
		v.Volume, v.Outside, v.Added, v.Altered, v.Removed, v.File)
	for _, c := range v.First[:min(len(v.First), shownChanges)] {
		fmt.Fprintf(w, "  %s %s: %d rows, %d before\n", c.What, c.Path, c.Rows, c.RowsBefore)
	}
	if more := v.Added + v.Altered + v.Removed - shownChanges; more > 0 {
		fmt.Fprintf(w, "  … and %d more\n", more)
	}
}

// took is a duration for people, "-" for none.
func took(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return lasted(d)
}
