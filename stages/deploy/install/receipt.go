package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/deploy/receipts"
)

// copyContainer is the container of a copy Job's Pod.
const copyContainer = "copy"

// lastWords are what a copy writes as its termination message.
type lastWords struct {
	Volume      string `json:"volume"`
	Seed        string `json:"seed"`
	CopyTree    string `json:"copyTree"`
	Proved      bool   `json:"proved"`
	Differences int64  `json:"differences"`
}

// shortReceipt is the termination message of a copy that came to its end; with
// another end it is the reason, and no receipt.
func shortReceipt(p *corev1.Pod) (s lastWords, ok bool) {
	for _, c := range p.Status.ContainerStatuses {
		if c.Name != copyContainer || c.State.Terminated == nil {
			continue
		}
		err := json.Unmarshal([]byte(c.State.Terminated.Message), &s)
		return s, err == nil && s.Seed != "" && s.CopyTree != ""
	}
	return s, false
}

// The lines of a copy's log that are meant for this program.
const (
	receiptLine  = "receipt: "
	progressLine = "progress: "
)

// readReceipt finds the receipt in the log of a Pod.
func (r *run) readReceipt(ctx context.Context, pod string) (receipt handoff.Receipt, err error) {
	found := ""
	err = r.cluster.Lines(ctx, pod, copyContainer, false, func(line string) {
		if text, ok := strings.CutPrefix(line, receiptLine); ok {
			found = text
		}
	})
	if err != nil {
		return receipt, err
	}
	if found == "" {
		return receipt, errLost{fmt.Sprintf("the log of Pod %s holds no receipt", pod)}
	}
	if err := json.Unmarshal([]byte(found), &receipt); err != nil {
		return receipt, fmt.Errorf("the receipt in the log of Pod %s: %w", pod, err)
	}
	return receipt, nil
}

// checkReceipt takes nobody's word: what a Pod says of itself must agree in both
// places, and be about this volume, this seed and its tree.
func (r *run) checkReceipt(ctx context.Context, receipt handoff.Receipt, s lastWords, v *volume) error {
	if err := checkWords(receipt, s, v); err != nil {
		return err
	}
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

func checkWords(receipt handoff.Receipt, s lastWords, v *volume) error {
	switch {
	case receipt.Seed != s.Seed, receipt.CopyTree != s.CopyTree, receipt.Proved != s.Proved, receipt.DifferenceCount != s.Differences:
		return errors.New("the receipt in the log is not the one of the termination message")
	case receipt.Volume != v.Name:
		return fmt.Errorf("the receipt is of volume %s", receipt.Volume)
	case receipt.Seed != v.seed.Digest:
		return fmt.Errorf("the receipt is of seed %s, not of %s", receipt.Seed, v.seed.Digest)
	case receipt.Proved && (receipt.DifferenceCount > 0 || receipt.CopyTree != receipt.SourceTree):
		return errors.New("the receipt contradicts itself: it is called proved and names differences")
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
