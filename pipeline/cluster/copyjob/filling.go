package copyjob

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Filling is what the ledger of deploy knows of one volume in a cluster.
type Filling struct {
	Claim types.UID `json:"claim"` // of the PersistentVolumeClaim
	Seed  string    `json:"seed"`
	Job   types.UID `json:"job,omitempty"` // that fills it
	// Shards is the Job whose Pods fill it side by side before that; Shared is true
	// when it has come to its end.
	Shards types.UID `json:"shards,omitempty"`
	Shared bool      `json:"shared,omitempty"`
	// Round is the Job that brings it up to a round after the seed.
	Round types.UID `json:"round,omitempty"`
	// Receipt is there when the copy was read back.
	Receipt *handoff.Receipt `json:"receipt,omitempty"`
	// Served is true from the moment when the workloads may write to it.
	Served bool `json:"served,omitempty"`
}

// Proved reports whether the volume holds what its receipt says.
func (f Filling) Proved() bool { return f.Receipt != nil && f.Receipt.Proved }

// Fillings are those of one cluster and namespace, in the ledger of deploy.
type Fillings struct {
	Ledger  pipeline.Ledger
	Cluster *cluster.Cluster
}

func (f Fillings) item(volume string) string { return "volume " + f.Cluster.String() + "/" + volume }

// Lookup returns the zero Filling for a volume that nobody has begun to fill.
func (f Fillings) Lookup(ctx context.Context, volume string) (Filling, error) {
	var out Filling
	mark, ok, err := f.Ledger.Lookup(ctx, f.item(volume))
	if err != nil || !ok {
		return out, err
	}
	if err := json.Unmarshal([]byte(mark), &out); err != nil {
		return out, fmt.Errorf("ledger: volume %s: %w", volume, err)
	}
	return out, nil
}

// Keep writes it down.
func (f Fillings) Keep(ctx context.Context, volume string, filling Filling) error {
	data, err := json.Marshal(filling)
	if err != nil {
		return fmt.Errorf("ledger: volume %s: %w", volume, err)
	}
	return f.Ledger.Commit(ctx, f.item(volume), string(data))
}
