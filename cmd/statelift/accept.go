package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/stages/cutover"
)

func newAccept(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "accept",
		Short: "Make the cutover final: there is no way back after it",
		Long: `Make the cutover final. What serves goes on as it is; the source stays stopped and
fenced, and statelift does not start it any more: rollback and sync are refused from
then on. This cannot be undone.`,
		Example: "  statelift accept -w lift",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.printSwitch(g.accept(cmd.Context()))
		},
	}
}

func (g *globals) accept(ctx context.Context) (r *cutover.Report, err error) {
	l, err := g.open(ctx, request{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	l.runner.Granted |= pipeline.Irreversible
	return stages.Accept(l.runner)
}
