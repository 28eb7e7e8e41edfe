package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/stages/sync"
)

// syncOptions are the flags of sync.
type syncOptions struct {
	checksum    bool
	maxDowntime time.Duration
}

// syncReport is what `statelift sync --json` prints.
type syncReport struct {
	Workspace string        `json:"workspace"`
	Round     handoff.Round `json:"round"`
	// ChangedBytes and MovedBytes are those of all volumes and objects; Took is the whole round.
	ChangedBytes int64         `json:"changedBytes"`
	MovedBytes   int64         `json:"movedBytes"`
	Took         time.Duration `json:"tookNanoseconds"`
	// Prediction is of a final round that is begun now.
	Prediction  sync.Prediction `json:"prediction"`
	MaxDowntime time.Duration   `json:"maxDowntimeNanoseconds,omitempty"`
	Go          bool            `json:"go"` // the predicted downtime is within MaxDowntime
}

func newSync(g *globals) *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Bring the volumes and objects of a held lift up to what the source is by now",
		Long: `Make one round over all volumes, as often as wanted, while the source serves: what
changed at the source since the last round is read and sent, and every volume that
it concerns is brought up to it and proved, in the cluster by a Job while the
workloads are held at zero (statelift run --hold), in a rehearsal in volumes/.
Files that are objects are brought to the store each as a whole when they changed,
and the index names what is there now.

A path whose size, times and inode are as before is not read, unless --checksum
asks for it; of large files only the blocks that changed travel. A file that
changes while it is read is read again; one that never holds still is named, with
what helps, and keeps the state that it had in the copy: the round is incomplete.

From the rounds so far it says how long the final round of a cutover, and with it
the downtime, would take now, and with --max-downtime whether that is a go:
  final    = fixed cost + changed bytes / throughput
  changed  = rate of change × time since the begin of the last round
  downtime = stop of the source + final + start of the workloads`,
		Example: "  statelift sync -w lift\n  statelift sync --max-downtime 5m --json | jq .go",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.maxDowntime < 0 {
				return errUsage{fmt.Errorf("--max-downtime %s: it cannot be negative", o.maxDowntime)}
			}
			if err := g.patience.check(); err != nil {
				return err
			}
			r, err := g.sync(cmd.Context(), o)
			if r != nil {
				err = errors.Join(g.print(r, r.write), err)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.checksum, "checksum", false, "read every file of the source, also those that look as before")
	f.DurationVar(&o.maxDowntime, "max-downtime", 0, "say go or no go: whether a cutover now would serve again within this time")
	g.patience.register(cmd)
	g.patience.registerCluster(cmd)
	return cmd
}

// sync does the work of the command. The report is nil when there was no round.
func (g *globals) sync(ctx context.Context, o syncOptions) (_ *syncReport, err error) {
	l, err := g.open(ctx, request{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	journal, err := readSwitch(l.ws)
	if err != nil {
		return nil, err
	}
	if err := journal.Refuse(handoff.GuardedSync); err != nil {
		return nil, err
	}
	if err := l.reach(ctx, ""); err != nil {
		return nil, err
	}
	round, err := stages.Sync(l.deps, o.checksum).Round(ctx, l.runner.EnvOf("sync"), false)
	if err != nil {
		return nil, err
	}
	r := &syncReport{Workspace: l.ws.Dir, Round: round, Took: round.Ended.Sub(round.Began), MaxDowntime: o.maxDowntime}
	for _, v := range round.Volumes {
		r.ChangedBytes += v.ChangedBytes
		r.MovedBytes += v.MovedBytes
	}
	if o := round.Objects; o != nil {
		r.ChangedBytes += o.ChangedBytes
		r.MovedBytes += o.ChangedBytes
	}
	rounds, err := pipeline.Read(l.ws, handoff.RoundsKey)
	if err != nil {
		return nil, err
	}
	plan, err := pipeline.Read(l.ws, handoff.PlanKey)
	if err != nil {
		return nil, err
	}
	r.Prediction = sync.Predict(rounds.Rounds, time.Now(), stages.Costs(l.deps, plan, journal.Learnt, rounds.Rounds, l.request.Context != ""))
	r.Go = r.Prediction.Go(o.maxDowntime)
	return r, restless(round)
}

// restless says which paths the round lacks.
func restless(round handoff.Round) error {
	var paths []handoff.Restless
	for _, v := range round.Volumes {
		paths = append(paths, v.Restless...)
	}
	if round.Objects != nil {
		paths = append(paths, round.Objects.Restless...)
	}
	if len(paths) == 0 {
		return nil
	}
	var because []string
	for _, p := range paths {
		because = append(because, fmt.Sprintf("%s did not hold still while it was read: %s", p.Path, p.Advice))
	}
	return &pipeline.Incomplete{Because: because, Listed: "run/rounds.json of the workspace"}
}

func (r *syncReport) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "VOLUME\tLOOKED AT\tADDED\tALTERED\tDRESSED\tRENAMED\tREMOVED\tREAD\tCHANGED\tMOVED\tTOOK")
	for _, v := range r.Round.Volumes {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", v.Volume, v.Looked, v.Added, v.Altered, v.Dressed, v.Renamed, v.Removed,
			bytesize.Text(v.ReadBytes), bytesize.Text(v.ChangedBytes), bytesize.Text(v.MovedBytes), lasted(v.Make+v.Send+v.Apply))
	}
	if o := r.Round.Objects; o != nil {
		sent := bytesize.Text(o.ChangedBytes)
		fmt.Fprintf(tw, "(objects)\t%d\t%d\t%d\t%d\t0\t%d\t%s\t%s\t%s\t%s\n", o.Looked, o.Added, o.Altered, o.Dressed, o.Removed, sent, sent, sent, lasted(o.Took))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "round %d: %s changed, %s moved, in %s; every volume is proved\n", r.Round.Number, bytesize.Text(r.ChangedBytes), bytesize.Text(r.MovedBytes), lasted(r.Took))
	p := r.Prediction
	if p.Rate > 0 {
		fmt.Fprintf(w, "the source changes at %s/s\n", bytesize.Text(int64(p.Rate)))
	}
	_, err := fmt.Fprintf(w, "a cutover now: final round %s, downtime %s (%s)\n", lasted(p.Final), lasted(p.Downtime), p.Why)
	switch {
	case err != nil || r.MaxDowntime == 0:
	case r.Go:
		_, err = fmt.Fprintf(w, "GO: within --max-downtime %s\n", r.MaxDowntime)
	default:
		_, err = fmt.Fprintf(w, "NO GO: more than --max-downtime %s\n", r.MaxDowntime)
	}
	return err
}

// lasted is a duration for people.
func lasted(d time.Duration) string {
	if d > 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
