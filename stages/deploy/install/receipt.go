package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// accept says what is wrong with a receipt that is about the right seed: it must
// be of that seed's tree.
func (r *run) accept(ctx context.Context, v *volume, receipt handoff.Receipt) error {
	want := v.seed.Tree
	if len(receipt.NotCompared) > 0 {
		var err error
		if want, _, err = r.expect(ctx, v, receipt.NotCompared, io.Discard); err != nil {
			return err
		}
	}
	if receipt.SourceTree != want {
		return fmt.Errorf("the receipt is of a source with the tree %s, not %s", receipt.SourceTree, want)
	}
	return nil
}

// writeReceipt writes what the ledger knows of a proof: the receipt, and beside
// it the listing, which for a proved copy is that of the seed.
func (r *run) writeReceipt(ctx context.Context, v *volume) (handoff.ReceiptFile, error) {
	receipt := *v.state.Receipt
	fail := func(err error) (handoff.ReceiptFile, error) {
		return handoff.ReceiptFile{}, fmt.Errorf("receipt of volume %s: %w", v.Name, err)
	}
	receipt.Listing = receipts.Listing(v.Name)
	listing := r.Workspace.Path(workspace.Receipts, receipt.Listing)
	if receipt.Proved {
		if err := r.writeListing(ctx, v, listing); err != nil {
			return fail(err)
		}
	} else if err := os.Remove(listing); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	return receipts.Write(r.Workspace.Path(workspace.Receipts), receipt)
}
