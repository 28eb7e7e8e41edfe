package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/stages/cutover"
)

// cutoverOptions are the flags of cutover.
type cutoverOptions struct {
	quiesce     bool
	stopped     bool
	onSource    string
	maxDowntime time.Duration
	dryRun      bool
}

func newCutover(g *globals) *cobra.Command {
	var o cutoverOptions
	cmd := &cobra.Command{
		Use:   "cutover",
		Short: "Switch from the source to the cluster: stop, last round, start, check",
		Long: `Switch from the source to the cluster. Everything that can be checked is checked
first, while the source serves. Then its services are stopped and fenced, its
databases are looked at in their own files, the last round is made and proved, the
workloads start in the cluster, the smoke checks of statelift.yaml are done and the
applications' own tools check their data. The report has the measured downtime
beside the predicted one.

If a step fails, or you interrupt, it goes back by itself: the cluster is held, the
source unfenced and started. After a kill, statelift status says on which side the
truth is; cutover goes on, rollback goes back. Both sides never serve at once.

The commands on the source are yours to grant, with --quiesce; they are shown
before they run, and run behind --on-source, or on this machine without it. Who
stops the services otherwise says so with --stopped, and sees to it that they stay
stopped.

--max-downtime is how long nobody may serve: a longer prediction refuses the
cutover, and one that has not come to the start of the workloads by then goes back.`,
		Example: `  statelift cutover --dry-run --quiesce --on-source 'ssh root@host'
  statelift cutover --quiesce --on-source 'ssh root@host' --max-downtime 5m
  statelift cutover                          go on after a kill`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(o.check(), g.patience.check()); err != nil {
				return err
			}
			return g.printSwitch(g.cutover(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.quiesce, "quiesce", false, "stop, fence and, on the way back, start the source's services")
	f.BoolVar(&o.stopped, "stopped", false, "you vouch that nothing serves on the source and nothing will: no command is run there")
	f.StringVar(&o.onSource, "on-source", "", "what commands on the source are run with, as 'ssh root@host' (default this machine)")
	f.DurationVar(&o.maxDowntime, "max-downtime", 0, "how long nobody may serve (default no limit)")
	f.BoolVar(&o.dryRun, "dry-run", false, "only check, and show the commands that would be run on the source")
	g.patience.register(cmd)
	g.patience.registerCluster(cmd)
	return cmd
}

func (o cutoverOptions) check() error {
	switch {
	case o.quiesce && o.stopped:
		return errUsage{errors.New("--quiesce and --stopped: either statelift stops the source, or you did")}
	case o.stopped && o.onSource != "":
		return errUsage{errors.New("--on-source is for the commands of --quiesce: with --stopped there are none")}
	case o.maxDowntime < 0:
		return errUsage{fmt.Errorf("--max-downtime %s: it cannot be negative", o.maxDowntime)}
	}
	return nil
}

// with completes the flags from the journal of a cutover that goes on.
func (o cutoverOptions) with(j handoff.Switch) (stages.SwitchOptions, error) {
	s := stages.SwitchOptions{Quiesce: o.quiesce, OnSource: o.onSource}
	if !j.State.Settled() || j.State == handoff.SwitchServing || j.State == handoff.SwitchAccepted {
		if !j.State.Settled() && (o.quiesce && !j.Quiesce || o.stopped && j.Quiesce) {
			return s, &pipeline.Blocked{
				Question: "the cutover under way was begun the other way, --quiesce or --stopped, and goes on as it was begun",
				Where:    "statelift cutover without that flag, or statelift rollback and a new cutover",
			}
		}
		s.Quiesce = j.Quiesce
		if o.onSource == "" {
			s.OnSource = j.OnSource
		}
		return s, nil
	}
	if !o.quiesce && !o.stopped {
		return s, &pipeline.Blocked{
			Question: "the source must not serve while the cluster does: statelift stops and fences its services (--dry-run shows the commands), or you have stopped them and see to it that they stay so",
			Where:    "--quiesce [--on-source 'ssh root@host'], or --stopped",
		}
	}
	return s, nil
}

func (g *globals) cutover(ctx context.Context, o cutoverOptions) (*cutover.Report, error) {
	return g.switching(ctx, o.with, func(p *stages.SwitchParts) (*cutover.Report, error) {
		how := cutover.Options{Quiesce: p.Options.Quiesce, OnSource: p.Options.OnSource, MaxDowntime: o.maxDowntime}
		if o.dryRun {
			return g.dryCutover(ctx, p, how)
		}
		return p.Switcher.Cutover(ctx, how)
	})
}

// dryCutover checks, and shows what would be run on the source: to stop and fence
// it, and to take both back.
func (g *globals) dryCutover(ctx context.Context, p *stages.SwitchParts, how cutover.Options) (*cutover.Report, error) {
	r, err := p.Switcher.DryRun(ctx, how)
	if p.Source == nil || r == nil {
		return r, err
	}
	commands, sourceErr := p.Source.Commands(ctx)
	for _, c := range commands {
		r.Commands = append(r.Commands, fmt.Sprintf("to %s: %s", c.What, c))
	}
	return r, errors.Join(err, sourceErr)
}
