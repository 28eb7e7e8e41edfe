// Package receipts keeps the receipts of the volumes in the workspace: one JSON
// file per volume, beside it the listing of what was read back.
package receipts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
)

// Listing is the name of the file that lists what was read back of a volume,
// see [handoff.Receipt.Listing].
func Listing(volume string) string { return volume + ".listing" }

func file(volume string) string { return volume + ".json" }

// Write writes a receipt into dir, whole or not at all, and says where it is. The
// file is without the receipt's mark, which differs from run to run.
func Write(dir string, receipt handoff.Receipt) (handoff.ReceiptFile, error) {
	mark := receipt.Mark
	receipt.Mark = 0
	data, err := json.MarshalIndent(receipt, "", "  ")
	if err != nil {
		return handoff.ReceiptFile{}, fmt.Errorf("receipt of volume %s: %w", receipt.Volume, err)
	}
	data = append(data, '\n')
	name := file(receipt.Volume)
	if err := atomicfile.Write(filepath.Join(dir, name), data, 0o600); err != nil {
		return handoff.ReceiptFile{}, fmt.Errorf("receipt of volume %s: %w", receipt.Volume, err)
	}
	return handoff.ReceiptFile{Volume: receipt.Volume, File: name, SHA256: oci.Sum(data), Proved: receipt.Proved, Mark: mark}, nil
}

// Prune removes the files in dir of volumes that have no receipt in keep: those
// that there are no more.
func Prune(dir string, keep []handoff.ReceiptFile) error {
	names := map[string]bool{}
	for _, k := range keep {
		names[file(k.Volume)], names[Listing(k.Volume)] = true, true
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("receipts: %w", err)
	}
	for _, e := range list {
		if names[e.Name()] || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("receipts: %w", err)
		}
	}
	return nil
}
