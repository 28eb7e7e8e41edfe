package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// runOptions are the flags of run.
type runOptions struct {
	request
	until   string
	hold    bool
	quiesce bool
}

// runSummary is what `statelift run --json` prints.
type runSummary struct {
	Workspace string            `json:"workspace"`
	Report    string            `json:"report,omitempty"`
	Balance   *handoff.Balance  `json:"balance,omitempty"`
	Copies    *handoff.Copies   `json:"copies,omitempty"`
	Verdicts  *handoff.Verdicts `json:"verdicts,omitempty"`
	problems
}

func newRun(g *globals) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [SOURCE]",
		Short: "Run the whole pipeline; without SOURCE, go on with the workspace",
		Long: `Run the whole pipeline on SOURCE: / for the running system, a directory with a
root file system, or a tar archive (plain, gzip, zstd or xz), here or behind a
URL. Without SOURCE it goes on with what the workspace remembers: what was
confirmed is not done again.

Without --registry and --store the run is a rehearsal: images in images/, objects
in store/, volumes in volumes/, with the same code and the same proofs. With
--context it goes into that cluster: the target is looked at first, volumes are
filled and proved by Jobs there, and only then do the workloads start. That needs
a --registry which the cluster can pull from. With --hold they do not start: no Pod
of theirs does, whoever scales them up, before statelift cutover opens the fence;
statelift sync brings the volumes up to date until then. The workspace remembers
that it is held; --hold=false gives that up.

A database that runs is no copy when its files are copied. With --quiesce its own
means make one on the source (pg_basebackup, mariadb-backup, BGSAVE), below
/var/lib/statelift/backups, from which the volume is filled; afterwards it is
removed. The commands are yours to grant: they are shown before they run, behind
--on-source, or on this machine without it. The workspace remembers both;
--quiesce=false gives that up.

Credentials come from the environment (AWS_ACCESS_KEY_ID and the like) and from
the registry's usual files, never from the command line.`,
		Example: `  statelift run /srv/old-host
  statelift run / --until plan
  statelift run /mnt/host --quiesce --on-source 'ssh root@host'
  statelift run host.tar.zst --checksum sha256:4f1c…
  statelift run --context prod --namespace shop --registry registry.example/lift /srv/old-host
  statelift run --store 's3://lift/objects?endpoint=https://s3.example' --registry registry.example/lift /srv/old-host`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Source = args[0]
			}
			if cmd.Flags().Changed("hold") {
				o.Hold = &o.hold
			}
			if cmd.Flags().Changed("quiesce") {
				o.Quiesce = &o.quiesce
			}
			if err := errors.Join(checkFlags(o), checkFar(o.request), g.patience.check()); err != nil {
				return err
			}
			summary, err := g.run(cmd.Context(), o)
			if summary != nil {
				err = errors.Join(g.print(summary, summary.write), err)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.until, "until", "", "stop after this stage (statelift stages lists them)")
	// It fails for a flag that is not there; the test of the completion sees that.
	_ = cmd.RegisterFlagCompletionFunc("until", cobra.FixedCompletions(stageNames(), cobra.ShellCompDirectiveNoFileComp))
	f.StringVar(&o.Checksum, "checksum", "", "what the archive must be: sha256:HEX")
	f.BoolVar(&o.hold, "hold", false, "leave the workloads at zero, behind a fence, until statelift cutover starts them")
	f.BoolVar(&o.quiesce, "quiesce", false, "copy databases that run by their own means, with commands on the source")
	f.StringVar(&o.OnSource, "on-source", "", "what commands on the source are run with, as 'ssh root@host' (default this machine)")
	g.patience.register(cmd)
	g.patience.registerCluster(cmd)
	farFlags(cmd, &o.request)
	return cmd
}

// run does the work of the command. The summary is nil when nothing came of it.
func (g *globals) run(ctx context.Context, o runOptions) (_ *runSummary, err error) {
	l, err := g.open(ctx, o.request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := refuseRun(l); err != nil {
		return nil, err
	}
	if err := l.reach(ctx, o.until); err != nil {
		return nil, err
	}
	if l.request.quiesces() {
		l.runner.Granted |= pipeline.Source
	}
	runErr := l.runner.Run(ctx, o.until)
	var incomplete *pipeline.Incomplete
	if runErr != nil && !errors.As(runErr, &incomplete) {
		return nil, runErr
	}
	s := &runSummary{Workspace: l.ws.Dir, problems: readProblems(l.ws)}
	if p, err := pipeline.Read(l.ws, handoff.PlanKey); err == nil {
		s.Balance = &p.Balance
	}
	if r, err := pipeline.Read(l.ws, handoff.ReportKey); err == nil && len(r.Files) > 0 {
		s.Report = filepath.Join(l.ws.Dir, r.Files[0].Name)
	}
	if o.until != "" {
		return s, runErr
	}
	if c, err := pipeline.Read(l.ws, handoff.CopiesKey); err == nil {
		s.Copies = &c
	}
	v, err := pipeline.Read(l.ws, handoff.VerdictsKey)
	if err != nil {
		return s, errors.Join(runErr, err)
	}
	s.Verdicts = &v
	return s, errors.Join(runErr, verdictError(v))
}

func checkFlags(o runOptions) error {
	if o.until == "" {
		return nil
	}
	for _, s := range stageNames() {
		if s == o.until {
			return nil
		}
	}
	return errUsage{fmt.Errorf("--until %s: there is no such stage (%s)", o.until, strings.Join(stageNames(), ", "))}
}

func (s *runSummary) write(w io.Writer) error {
	if s.Balance != nil {
		if err := writeBalance(w, *s.Balance); err != nil {
			return err
		}
	}
	if s.Verdicts != nil {
		fmt.Fprintln(w)
		if err := writeVerdicts(w, *s.Verdicts); err != nil {
			return err
		}
	}
	s.problems.write(w)
	if s.Report != "" {
		fmt.Fprintf(w, "\nreport: %s\n", s.Report)
	}
	return nil
}
