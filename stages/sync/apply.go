package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/receipts"
)

// send brings what is new to where the cluster finds it, volume by volume, and
// confirmed by digest. What an earlier round sent is asked for, too: a volume that
// lost its content is made again from all of it.
func (r *run) send(ctx context.Context) error {
	if r.options.Context == "" {
		return nil
	}
	place, err := carrier.ParsePlace(r.upload.Seeds)
	if err != nil {
		return fmt.Errorf("seeds: %w", err)
	}
	to, err := carrier.OpenCarrier(ctx, place, r.options.Talk)
	if err != nil {
		return err
	}
	defer to.Close()
	var total int64
	list := make([]*carrier.Shipment, len(r.volumes))
	for i, v := range r.volumes {
		list[i] = carrier.NewShipment(r.Workspace.Path(r.seeds.Layout))
		for _, d := range v.lineage.Deltas {
			list[i].Add(d.Blobs(), "delta of volume "+v.Name)
		}
		_, n := list[i].Totals()
		total += n
	}
	r.Progress.Begin("deltas", "bytes", total)
	defer r.Progress.End()
	for i, v := range r.volumes {
		began := time.Now()
		if err := list[i].Send(ctx, to, carrier.Sending{Ledger: r.Ledger, Log: r.Log, Sent: r.Progress.Add}); err != nil {
			return err
		}
		if v.round.Delta != "" {
			v.round.Send = time.Since(began)
		}
	}
	return nil
}

// apply brings the volumes up to date that the round concerns, several at once.
// One that fails lets the others come to their end.
func (r *run) apply(ctx context.Context) error {
	var list []*volume
	var total int64
	for _, v := range r.volumes {
		behind := v.round.Delta != "" || r.written || r.unrecorded(v)
		if !behind {
			var err error
			if behind, err = r.far.behind(ctx, v); err != nil {
				return err
			}
		}
		if !behind {
			v.round.Receipt = v.before
			continue
		}
		list = append(list, v)
		total += v.round.ChangedBytes
	}
	if len(list) > 0 {
		if err := r.Workspace.Overwrites(); err != nil {
			return err
		}
	}
	r.Progress.Begin("volumes", "bytes", total)
	defer r.Progress.End()
	errs := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(r.options.Parallel)
	for i, v := range list {
		group.Go(func() error {
			if err := r.update(ctx, v); err != nil {
				errs[i] = fmt.Errorf("volume %s: %w", v.Name, err)
			}
			return nil
		})
	}
	return errors.Join(append(errs, group.Wait(), ctx.Err())...)
}

// unrecorded reports whether the receipt of a volume is another one than was
// recorded: a round that was cut short wrote it. One more is made, so that the two
// agree again.
func (r *run) unrecorded(v *volume) bool {
	_, err := receipts.Newest(r.Workspace, v.Name)
	return errors.Is(err, receipts.ErrOther)
}

func (r *run) update(ctx context.Context, v *volume) error {
	began := time.Now()
	receipt, err := r.far.apply(ctx, v)
	if err != nil {
		return err
	}
	v.round.Apply = time.Since(began)
	r.Log.Info("volume is up to date", "volume", v.Name, "proved", receipt.Proved, "took", v.round.Apply.Round(time.Millisecond))
	return r.keep(v, receipt)
}
