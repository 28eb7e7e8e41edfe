package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// filled reports whether a directory holds a whole copy, of whatever round.
func filled(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, copier.Marker))
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("volume: %w", err)
	}
	return content(dir)
}

// catchUp brings the volumes that had rounds up to the newest one, and returns the
// receipts in the order of the plan. What is as it should be already is read back
// where nothing proves it.
func (r *run) catchUp(ctx context.Context, list []handoff.ReceiptFile) ([]handoff.ReceiptFile, error) {
	if len(r.behind) == 0 {
		return list, nil
	}
	files := map[string]handoff.ReceiptFile{}
	for _, f := range list {
		files[f.Volume] = f
	}
	for _, l := range r.behind {
		volume := l.Seed.Config.Volume
		file, err := r.update(ctx, volume, l)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", volume, err)
		}
		files[volume] = file
	}
	out := []handoff.ReceiptFile{}
	for _, v := range r.volumes {
		if f, ok := files[v.Name]; ok {
			out = append(out, f)
		}
	}
	return out, nil
}

func (r *run) update(ctx context.Context, volume string, l *lineage.Lineage) (handoff.ReceiptFile, error) {
	dir := r.Workspace.Path(workspace.Receipts)
	o := delta.ApplyOptions{
		Dir: r.Workspace.Path(workspace.Volumes, volume), Listing: filepath.Join(dir, receipts.Listing(volume)), Seed: l.Seed, Deltas: l.Deltas,
		Copy: copier.Options{Workers: runtime.GOMAXPROCS(0), NotCompared: r.options.NotCompared},
	}
	if last, err := receipts.Newest(r.Workspace, volume); err == nil {
		o.Proof = delta.ProofOf(last)
	}
	if err := r.Workspace.Overwrites(); err != nil {
		return handoff.ReceiptFile{}, err
	}
	receipt, err := delta.Apply(ctx, o)
	if err != nil {
		return handoff.ReceiptFile{}, err
	}
	receipt.Listing = receipts.Listing(volume)
	file, err := receipts.Write(dir, receipt)
	if err == nil && !receipt.Proved {
		err = &receipts.DifferError{Receipt: receipt}
	}
	return file, err
}
