package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/handoff"
)

func newPlan(g *globals) *cobra.Command {
	var req request
	cmd := &cobra.Command{
		Use:   "plan [SOURCE]",
		Short: "Dry run: scan, split, plan, report; touches only the workspace",
		Long: `Scan SOURCE, decide for every path where it belongs, and write the plan and the
report. Nothing outside the workspace is written, and no network is used unless
SOURCE is a URL or a cluster is named with --context: that one is looked at, and
the report says whether it can serve the plan. When it cannot, each block is
listed with its choices, and the exit code is 4. Without SOURCE the plan is made
again with the statelift.yaml of the workspace.`,
		Example: `  statelift plan /
  statelift plan /srv/old-host -w lift && xdg-open lift/report.html
  statelift plan --json host.tar.gz | jq .volumes`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				req.Source = args[0]
			}
			if err := checkFar(req); err != nil {
				return err
			}
			p, err := g.plan(cmd.Context(), req)
			if p != nil {
				err = errors.Join(g.print(p, p.write), err)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&req.Checksum, "checksum", "", "what the archive must be: sha256:HEX")
	targetFlags(cmd, &req)
	return cmd
}

// planSummary is what `statelift plan --json` prints: the plan, and what the scan
// could not understand.
type planSummary struct {
	handoff.Plan
	problems
	dir    string
	report handoff.Report
}

// plan does the work of the command. The plan is nil when none came of it.
func (g *globals) plan(ctx context.Context, req request) (_ *planSummary, err error) {
	l, err := g.open(ctx, req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := refuse(l.ws, handoff.GuardedPlan); err != nil {
		return nil, err
	}
	if err := l.reach(ctx, ""); err != nil {
		return nil, err
	}
	// Of the cluster it looks at the target only.
	l.runner.Granted &= pipeline.Local | pipeline.Cluster
	runErr := l.runner.Run(ctx, "report")
	var incomplete *pipeline.Incomplete
	if runErr != nil && !errors.As(runErr, &incomplete) {
		return nil, runErr
	}
	p := &planSummary{problems: readProblems(l.ws), dir: l.ws.Dir}
	if p.Plan, err = pipeline.Read(l.ws, handoff.PlanKey); err != nil {
		return nil, errors.Join(runErr, err)
	}
	if l.request.held() || l.request.quiesces() {
		// The cutover takes databases consistently, or their own means do.
		p.Blocks = slices.DeleteFunc(p.Blocks, func(b handoff.Block) bool { return b.About == datastore.About })
	}
	p.report, err = pipeline.Read(l.ws, handoff.ReportKey)
	return p, errors.Join(runErr, err, p.blocked(l.request.Context))
}

// blocked is what a person must decide before a run into the cluster does any
// work; nil when there is nothing.
func (p *planSummary) blocked(contextName string) error {
	if len(p.Blocks) == 0 {
		return nil
	}
	target := contextName + "/" + p.Into
	if contextName == "" {
		target = "a rehearsal"
	}
	return &pipeline.Blocked{
		Question: fmt.Sprintf("%s cannot serve this plan as it is: %d things to decide, each with its choices, are in the plan and the report", target, len(p.Blocks)),
		Where:    "statelift.yaml, or the command line",
	}
}

func (p *planSummary) write(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n\n", p.Name, p.Host.PrettyName)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WORKLOAD\tKIND\tCONTAINERS\tVERDICT")
	for _, wl := range p.Workloads {
		var names []string
		for _, c := range wl.Containers {
			names = append(names, c.Name)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", wl.Name, wl.Kind, strings.Join(names, ","), wl.Verdict.School)
	}
	fmt.Fprintln(tw)
	fmt.Fprintln(tw, "VOLUME\tPATH\tDATA\tREQUEST\tACCESS")
	for _, v := range p.Volumes {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", v.Name, v.Path, bytesize.Text(v.Bytes), bytesize.Text(v.Request), v.AccessMode)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := writeBalance(w, p.Balance); err != nil {
		return err
	}
	if n := len(p.Questions); n > 0 {
		fmt.Fprintf(w, "\n%d questions for you; until they are answered in statelift.yaml the defaults hold:\n", n)
		for _, q := range p.Questions {
			fmt.Fprintf(w, "  %s: %s [%s]\n", q.ID, q.Text, q.Default)
		}
	}
	p.problems.write(w)
	if n := len(p.Blocks); n > 0 {
		into := ""
		if p.Into != "" {
			into = " into namespace " + p.Into
		}
		fmt.Fprintf(w, "\n%d things stand in the way of a run%s:\n%s\n", n, into, handoff.BlocksText(p.Blocks))
	}
	for _, f := range p.report.Files {
		fmt.Fprintf(w, "\nreport: %s", filepath.Join(p.dir, f.Name))
	}
	_, err := fmt.Fprintln(w)
	return err
}
