package receipts

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Newest reads the receipt of a volume as it is after the last sync round, and
// after the first copy when there was none. One that somebody changed is an error.
func Newest(w workspace.Workspace, volume string) (r handoff.Receipt, err error) {
	file, err := newest(w, volume)
	if err != nil {
		return r, err
	}
	name := w.Path(workspace.Receipts, file.File)
	data, err := os.ReadFile(name)
	if err != nil {
		return r, fmt.Errorf("receipt: %w", err)
	}
	if oci.Sum(data) != file.SHA256 {
		return r, fmt.Errorf("%s is another one than that of the last round", name)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// newest names the receipt.
func newest(w workspace.Workspace, volume string) (handoff.ReceiptFile, error) {
	rounds, err := pipeline.Read(w, handoff.RoundsKey)
	if err != nil && !errors.Is(err, pipeline.ErrNoHandoff) {
		return handoff.ReceiptFile{}, err
	}
	seeds, err := pipeline.Read(w, handoff.SeedsKey)
	if err != nil {
		return handoff.ReceiptFile{}, err
	}
	if _, _, file := rounds.Of(seeds.Seeds).Newest(volume); file.File != "" {
		return file, nil
	}
	copies, err := pipeline.Read(w, handoff.CopiesKey)
	if err != nil {
		return handoff.ReceiptFile{}, err
	}
	for _, f := range copies.Receipts {
		if f.Volume == volume {
			return f, nil
		}
	}
	return handoff.ReceiptFile{}, fmt.Errorf("volume %s has no receipt", volume)
}
