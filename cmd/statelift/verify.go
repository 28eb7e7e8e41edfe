package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

func newVerify(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove again everything that was made, wherever it is",
		Long: `Read everything back and compare it with what was read at the source: images are
recomputed, objects and blobs are hashed, volumes are read and compared path by
path. Records of earlier proofs count for nothing.

In a cluster, the workloads are looked at with their probes, the tools of the
applications check their data where the containers run, and the smoke checks of
statelift.yaml are done. With --volumes, Jobs read the volumes there once more
instead, mounted read-only, and compare them with what was read at the source:
that takes workloads that are stopped and have not written since. statelift stops
none; it names those that are in the way.`,
		Example: "  statelift verify -w lift\n  statelift verify --json | jq '.checks[] | select(.ok|not)'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.patience.check(); err != nil {
				return err
			}
			v, err := g.verify(cmd.Context())
			if v != nil {
				err = errors.Join(g.print(v, func(w io.Writer) error { return writeVerdicts(w, *v) }), err)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&g.proveVolumes, "volumes", false, "prove the volumes of a cluster again, while their workloads are stopped")
	g.patience.register(cmd)
	return cmd
}

func (g *globals) verify(ctx context.Context) (_ *handoff.Verdicts, err error) {
	l, err := g.open(ctx, request{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	runErr := l.runner.Only(ctx, "verify")
	var incomplete *pipeline.Incomplete
	if runErr != nil && !errors.As(runErr, &incomplete) {
		return nil, runErr
	}
	v, err := pipeline.Read(l.ws, handoff.VerdictsKey)
	if err != nil {
		return nil, errors.Join(runErr, err)
	}
	return &v, errors.Join(runErr, verdictError(v))
}

// verdictError is nil for a run that is proved and complete.
func verdictError(v handoff.Verdicts) error {
	if !v.Proved {
		return errNotProved
	}
	if len(v.Incomplete) > 0 {
		return &pipeline.Incomplete{Because: v.Incomplete}
	}
	return nil
}

// digests are shortened where all is well; --json has them whole.
var digests = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{52}\b`)

func writeVerdicts(w io.Writer, v handoff.Verdicts) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WHAT\tNAME\tVERDICT\tDETAIL")
	for _, c := range v.Checks {
		verdict, name, detail := "proved", digests.ReplaceAllString(c.Name, "$1…"), digests.ReplaceAllString(c.Detail, "$1…")
		if !c.OK {
			verdict, name, detail = "NOT PROVED", c.Name, c.Detail
		}
		// Several faults of one thing are one line of the table.
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", c.What, name, verdict, strings.ReplaceAll(detail, "\n", "; "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	last := "everything is proved"
	switch {
	case !v.Proved:
		last = "NOT EVERYTHING IS PROVED"
	case len(v.Incomplete) > 0:
		last = "everything that was taken is proved; the run is incomplete"
	}
	_, err := fmt.Fprintln(w, last)
	return err
}
