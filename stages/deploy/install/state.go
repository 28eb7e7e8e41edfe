package install

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/handoff"
)

// filling is what the ledger knows of one volume.
type filling struct {
	Claim types.UID `json:"claim"` // of the PersistentVolumeClaim
	Seed  string    `json:"seed"`
	Job   types.UID `json:"job,omitempty"` // that fills it
	// Shards is the Job whose Pods fill it side by side before that; Shared is true
	// when it has come to its end.
	Shards types.UID `json:"shards,omitempty"`
	Shared bool      `json:"shared,omitempty"`
	// Receipt is there when the copy was read back.
	Receipt *handoff.Receipt `json:"receipt,omitempty"`
	// Served is true from the moment when the workloads may write to it.
	Served bool `json:"served,omitempty"`
}

func (f filling) proved() bool { return f.Receipt != nil && f.Receipt.Proved }

func (r *run) fillingItem(volume string) string {
	return "volume " + r.cluster.String() + "/" + volume
}

func (r *run) filling(ctx context.Context, volume string) (filling, error) {
	var f filling
	mark, ok, err := r.Ledger.Lookup(ctx, r.fillingItem(volume))
	if err != nil || !ok {
		return f, err
	}
	if err := json.Unmarshal([]byte(mark), &f); err != nil {
		return f, fmt.Errorf("ledger: volume %s: %w", volume, err)
	}
	return f, nil
}

func (r *run) keep(ctx context.Context, volume string, f filling) error {
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("ledger: volume %s: %w", volume, err)
	}
	return r.Ledger.Commit(ctx, r.fillingItem(volume), string(data))
}
