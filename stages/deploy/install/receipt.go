package install

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

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
