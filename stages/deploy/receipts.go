package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/workspace"
)

// receipt writes the receipt, which the end of the stage flushes.
func (r *run) receipt(receipt handoff.Receipt) (handoff.ReceiptFile, error) {
	data, err := json.MarshalIndent(receipt, "", "  ")
	if err != nil {
		return handoff.ReceiptFile{}, fmt.Errorf("receipt of volume %s: %w", receipt.Volume, err)
	}
	data = append(data, '\n')
	name := receipt.Volume + ".json"
	temp := r.Workspace.Path(workspace.Receipts, ".new-"+name)
	err = os.WriteFile(temp, data, 0o600)
	if err == nil {
		err = os.Rename(temp, r.Workspace.Path(workspace.Receipts, name))
	}
	if err != nil {
		return handoff.ReceiptFile{}, fmt.Errorf("receipt of volume %s: %w", receipt.Volume, err)
	}
	return handoff.ReceiptFile{Volume: receipt.Volume, File: name, SHA256: oci.Sum(data), Proved: receipt.Proved}, nil
}

// dropOthers removes receipts of volumes that there are no more.
func (r *run) dropOthers(keep []handoff.ReceiptFile) error {
	names := map[string]bool{}
	for _, k := range keep {
		names[k.Volume+".json"], names[k.Volume+".listing"] = true, true
	}
	dir := r.Workspace.Path(workspace.Receipts)
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
