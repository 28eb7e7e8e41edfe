package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/stages/cutover"
)

// rollbackOptions are the flags of rollback.
type rollbackOptions struct {
	cutover.BackOptions
	onSource string
}

func newRollback(g *globals) *cobra.Command {
	var o rollbackOptions
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Go back to the source, until the cutover is accepted",
		Long: `Go back to the source: the workloads in the cluster are held at zero behind their
fence, the source's services are unfenced and started, and then what was written in
the cluster since the cutover is listed, volume by volume, in changes/. With
--archive DIR what was added and changed there is brought back as a tar archive per
volume, whose digest is compared; unpack it over the volume's root on the source with
tar --same-owner --xattrs --acls -xpf. The next sync, cutover or filling of a volume overwrites it in the cluster.

It can be called at any step of a cutover, after a kill, and again. After statelift
accept there is no way back.`,
		Example: "  statelift rollback\n  statelift rollback --archive /srv/written-in-the-cluster",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.patience.check(); err != nil {
				return err
			}
			if o.Archive != "" && o.NoList {
				return errUsage{errors.New("--archive and --no-list exclude each other")}
			}
			if o.Archive != "" {
				dir, err := filepath.Abs(o.Archive)
				if err != nil {
					return fmt.Errorf("--archive: %w", err)
				}
				o.Archive = dir
			}
			return g.printSwitch(g.rollback(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Archive, "archive", "", "bring what was written in the cluster back into this directory, as VOLUME.tar")
	f.BoolVar(&o.NoList, "no-list", false, "do not list what was written in the cluster")
	f.StringVar(&o.onSource, "on-source", "", "what commands on the source are run with (default as of the cutover)")
	g.patience.registerCluster(cmd)
	return cmd
}

func (g *globals) rollback(ctx context.Context, o rollbackOptions) (*cutover.Report, error) {
	with := func(j handoff.Switch) (stages.SwitchOptions, error) {
		s := stages.SwitchOptions{Quiesce: j.Quiesce, OnSource: j.OnSource}
		if o.onSource != "" {
			s.OnSource = o.onSource
		}
		return s, nil
	}
	return g.switching(ctx, with, func(p *stages.SwitchParts) (*cutover.Report, error) {
		return p.Switcher.Rollback(ctx, o.BackOptions)
	})
}
