package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// rehearsal has the volumes in directories of the workspace.
type rehearsal struct{ *run }

func newRehearsal(r *run) far { return rehearsal{r} }

func (h rehearsal) begin(context.Context) error {
	for _, v := range h.volumes {
		if _, err := os.Stat(h.Workspace.Path(workspace.Volumes, v.Name)); err != nil {
			return fmt.Errorf("volume %s: %w\nstatelift run fills it again", v.Name, err)
		}
	}
	return nil
}

func (h rehearsal) end(context.Context) error { return nil }

// behind looks at the receipt only: what somebody did to a directory is for
// verify.
func (h rehearsal) behind(_ context.Context, v *volume) (bool, error) {
	receipt, err := h.receipt(v)
	return err != nil || !covers(receipt, v), nil
}

// receipt is that of the volume, whatever round it is of.
func (h rehearsal) receipt(v *volume) (handoff.Receipt, error) {
	var receipt handoff.Receipt
	data, err := os.ReadFile(h.Workspace.Path(workspace.Receipts, v.before.File))
	if err == nil && oci.Sum(data) != v.before.SHA256 {
		err = errors.New("it is another one")
	}
	if err == nil {
		err = json.Unmarshal(data, &receipt)
	}
	if err != nil {
		return handoff.Receipt{}, fmt.Errorf("receipt of volume %s: %w", v.Name, err)
	}
	receipt.Mark = v.before.Mark
	return receipt, nil
}

func (h rehearsal) apply(ctx context.Context, v *volume) (handoff.Receipt, error) {
	o := delta.ApplyOptions{
		Dir:     h.Workspace.Path(workspace.Volumes, v.Name),
		Listing: h.Workspace.Path(workspace.Receipts, receipts.Listing(v.Name)),
		Seed:    v.lineage.Seed, Deltas: v.lineage.Deltas,
		Copy: copier.Options{Workers: runtime.GOMAXPROCS(0), Progress: h.Progress.Add},
	}
	// Without a receipt, everything is read back.
	if receipt, err := h.receipt(v); err == nil {
		o.Proof = delta.ProofOf(receipt)
	}
	receipt, err := delta.Apply(ctx, o)
	if err != nil {
		return receipt, err
	}
	receipt.Listing = receipts.Listing(v.Name)
	return receipt, nil
}

// covers reports whether a receipt is of the volume's lineage.
func covers(r handoff.Receipt, v *volume) bool {
	want := v.lineage.Digests()
	if !r.Proved || r.Seed != v.seed.Digest || len(r.Deltas) != len(want) {
		return false
	}
	for i := range want {
		if r.Deltas[i] != want[i] {
			return false
		}
	}
	return true
}
