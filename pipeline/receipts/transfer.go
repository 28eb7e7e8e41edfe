package receipts

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
)

// Transfer is the name of the file of a workload's receipt.
func Transfer(workload string) string { return file("database-of-" + workload) }

// WriteTransfer writes the receipt of a workload whose databases were moved into
// another server, and says where it is.
func WriteTransfer(dir string, receipt handoff.TransferReceipt) (handoff.ReceiptFile, error) {
	data, err := json.MarshalIndent(receipt, "", "  ")
	if err != nil {
		return handoff.ReceiptFile{}, fmt.Errorf("receipt of %s: %w", receipt.Workload, err)
	}
	data = append(data, '\n')
	name := Transfer(receipt.Workload)
	if err := atomicfile.Write(filepath.Join(dir, name), data, 0o600); err != nil {
		return handoff.ReceiptFile{}, fmt.Errorf("receipt of %s: %w", receipt.Workload, err)
	}
	return handoff.ReceiptFile{Volume: receipt.Workload, File: name, SHA256: oci.Sum(data), Proved: receipt.Proved}, nil
}
