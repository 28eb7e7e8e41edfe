package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// streams are where results and messages go.
type streams struct {
	out, err io.Writer
}

// globals are the flags that every command has.
type globals struct {
	streams
	workspace string
	json      bool
	verbose   bool
	patience  patience // of the commands that talk to a far side
	// proveVolumes is of verify: the pipeline is wired before the command runs.
	proveVolumes bool
}

func newRoot(s streams) *cobra.Command {
	g := &globals{streams: s}
	cmd := &cobra.Command{
		Use:   "statelift",
		Short: "Lift the applications of a legacy host into Kubernetes, together with their state",
		Long: `statelift reads a legacy host's file system and configuration, decides for every
path where it belongs, builds container images and manifests, moves the data and
proves that what arrived is what left. Every byte is accounted for, every copy is
proved, every run can be stopped and goes on where it was.

` + exitHelp,
		Example: `  statelift plan /                     look only: the report says what would happen
  statelift run /srv/old-host -w lift  the whole lift, rehearsed on this machine
  statelift run -w lift                go on after a stop
  statelift explain /etc/my.cnf        why does this file go where it goes?`,
		Version:       programVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.SetOut(s.out)
	cmd.SetErr(s.err)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return errUsage{err} })
	flags := cmd.PersistentFlags()
	flags.StringVarP(&g.workspace, "workspace", "w", "statelift", "directory of this lift; made when it is not there")
	flags.BoolVar(&g.json, "json", false, "print the result as JSON")
	flags.BoolVarP(&g.verbose, "verbose", "v", false, "say more on standard error")
	cmd.AddCommand(newPlan(g), newRun(g), newStatus(g), newExplain(g), newAccounts(g), newVerify(g), newSync(g), newClean(g), newStages(g), newCopy(g), newCutover(g), newRollback(g), newAccept(g), newTransfer(g), newFetch(g), newChanges(g))
	for _, c := range cmd.Commands() {
		c.Long += "\n\n" + exitHelp
		c.Args = usageArgs(c.Args)
	}
	return cmd
}

// usageArgs gives a wrong number of arguments the exit code of bad usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return errUsage{err}
		}
		return nil
	}
}

// version is set by the linker (make build).
var version string

// programVersion is what made a workspace: another version makes it anew.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// print writes a result: v as JSON with --json, else what text writes.
func (g *globals) print(v any, text func(io.Writer) error) error {
	if !g.json {
		return text(g.out)
	}
	enc := json.NewEncoder(g.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

func (g *globals) logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if g.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
