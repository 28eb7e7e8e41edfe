package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

const aDelta = "delta"

func (m Made) seed(volume string) (handoff.Seed, bool) {
	for _, s := range m.Seeds.Seeds {
		if s.Volume == volume {
			return s, true
		}
	}
	return handoff.Seed{}, false
}

// lineage opens what the newest state of a volume is made of.
func (r *run) lineage(ctx context.Context, seed handoff.Seed) (*lineage.Lineage, error) {
	layout, err := oci.Open(r.Workspace.Path(r.made.Seeds.Layout))
	if err != nil {
		return nil, err
	}
	return lineage.Open(ctx, layout, seed, r.made.Rounds)
}

// deltas reads every blob that the rounds have brought to a volume.
func (r *run) deltas(ctx context.Context, layout *oci.Layout, volume string, l *lineage.Lineage) {
	if len(l.Deltas) == 0 {
		return
	}
	blobs, bytes := map[oci.Digest]bool{}, int64(0)
	var faults []error
	for _, d := range l.Deltas {
		for _, b := range d.Blobs() {
			if !blobs[b.Digest] {
				blobs[b.Digest] = true
				bytes += b.Size
			}
		}
		faults = append(faults, r.whole(ctx, layout, d))
	}
	r.check(aDelta, volume, errors.Join(faults...), "%d rounds: %d blobs with %d bytes, the newest tree is %s", len(l.Deltas), len(blobs), bytes, l.Tree)
}

// whole reads the blobs of one delta; the layout's reader compares the digests.
func (r *run) whole(ctx context.Context, layout *oci.Layout, d *delta.Delta) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.workers)
	for _, b := range d.Blobs() {
		group.Go(func() error {
			content, err := layout.Open(ctx, b.Digest, b.Size)
			if err != nil {
				return err
			}
			defer content.Close()
			_, err = io.Copy(io.Discard, content)
			return err
		})
	}
	return group.Wait()
}

// written says that the receipt of a volume in a cluster is not about what it is by
// now.
func (r *run) written() error {
	if j := r.made.Switch; j.State.Truth() == handoff.SourceSide && j.WrittenSince(r.made.Rounds.Rounds) {
		return errors.New("a cutover that was taken back let the cluster write to it: statelift sync brings it up to the source")
	}
	return nil
}

// afterRounds compares a volume with its newest state: by its receipt, and in a
// rehearsal by reading it.
func (r *run) afterRounds(ctx context.Context, l *lineage.Lineage, want handoff.Seed) error {
	receipt, err := receipts.Newest(r.Workspace, want.Volume)
	if err != nil {
		return err
	}
	var faults []error
	if !receipt.Proved || receipt.Seed != want.Digest || receipt.SourceTree != receipt.CopyTree || len(receipt.NotCompared) == 0 && receipt.CopyTree != l.Tree {
		faults = append(faults, fmt.Errorf("the receipt of volume %s proves nothing of the last round, whose tree is %s", want.Volume, l.Tree))
	}
	if sum, err := sumFile(r.Workspace.Path(workspace.Receipts, receipt.Listing)); err != nil || sum != receipt.ListingSHA {
		faults = append(faults, errors.Join(fmt.Errorf("listing %s has SHA-256 %q, the receipt says %s", receipt.Listing, sum, receipt.ListingSHA), err))
	}
	if r.made.Copies.Target != rehearsal {
		return errors.Join(append(faults, r.written())...)
	}
	now, err := delta.Prove(ctx, delta.ApplyOptions{
		Dir: r.Workspace.Path(workspace.Volumes, want.Volume), Listing: filepath.Join(r.temp, "listing"), Seed: l.Seed, Deltas: l.Deltas,
		Copy: copier.Options{Workers: r.workers, NotCompared: receipt.NotCompared, Proved: r.Progress.Add},
	})
	if err != nil {
		return errors.Join(append(faults, err)...)
	}
	for _, d := range now.Differences[:min(len(now.Differences), maxFaults)] {
		faults = append(faults, fmt.Errorf("%s: %s is %q, was %q", d.Path, d.What, d.Copy, d.Source))
	}
	if !now.Proved {
		faults = append(faults, fmt.Errorf("%d differences to the last round", now.DifferenceCount))
	}
	return errors.Join(faults...)
}
