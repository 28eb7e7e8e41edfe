package receipts

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/workspace"
)

// ErrOther is wrapped when a receipt is not there any more, or is another one
// than was recorded.
var ErrOther = errors.New("is not the receipt that was recorded")

// Newest reads the receipt of a volume as it is after the last sync round, and
// after the first copy when there was none: the one that the last of both wrote.
// One that is gone, that somebody changed, or that is of an earlier round, is
// ErrOther.
func Newest(w workspace.Workspace, volume string) (r handoff.Receipt, err error) {
	known, deltas, err := recorded(w, volume)
	if err != nil {
		return r, err
	}
	name := w.Path(workspace.Receipts, file(volume))
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("receipt: %w: %w", err, ErrOther)
	}
	if err != nil {
		return r, fmt.Errorf("receipt: %w", err)
	}
	sum := oci.Sum(data)
	at := slices.IndexFunc(known, func(f handoff.ReceiptFile) bool { return f.SHA256 == sum })
	if at < 0 {
		return r, fmt.Errorf("%s %w", name, ErrOther)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	r.Mark = known[at].Mark
	if !slices.Equal(r.Deltas, deltas) {
		return r, fmt.Errorf("%s is of an earlier round: it %w", name, ErrOther)
	}
	return r, nil
}

// recorded names the receipts that the last round and the last deploy wrote, and
// the deltas of the newest state.
func recorded(w workspace.Workspace, volume string) (known []handoff.ReceiptFile, deltas []string, err error) {
	rounds, err := pipeline.Read(w, handoff.RoundsKey)
	if err != nil && !errors.Is(err, pipeline.ErrNoHandoff) {
		return nil, nil, err
	}
	seeds, err := pipeline.Read(w, handoff.SeedsKey)
	if err != nil {
		return nil, nil, err
	}
	copies, err := pipeline.Read(w, handoff.CopiesKey)
	if err != nil {
		return nil, nil, err
	}
	_, deltas, newest := rounds.Of(seeds.Seeds).Newest(volume)
	if newest.File != "" {
		known = append(known, newest)
	}
	for _, f := range copies.Receipts {
		if f.Volume == volume {
			known = append(known, f)
		}
	}
	if len(known) == 0 {
		return nil, nil, fmt.Errorf("volume %s has no receipt", volume)
	}
	return known, deltas, nil
}
