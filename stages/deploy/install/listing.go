package install

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/workspace"
)

// open opens the seed from which the volume is filled there, and the deltas of
// the rounds since.
func (r *run) open(ctx context.Context, v *volume) (*lineage.Lineage, error) {
	if v.lineage != nil {
		return v.lineage, nil
	}
	layout, err := oci.Open(r.Workspace.Path(workspace.Seeds))
	if err != nil {
		return nil, err
	}
	v.lineage, err = lineage.Open(ctx, layout, v.seed, r.rounds)
	return v.lineage, err
}

// writeListing writes the listing of a proved volume beside its receipt.
func (r *run) writeListing(ctx context.Context, v *volume, name string) error {
	l, err := r.open(ctx, v)
	if err != nil {
		return err
	}
	lacking, err := l.WriteListing(ctx, name, v.state.Receipt.NotCompared)
	for _, attribute := range slices.Sorted(maps.Keys(lacking)) {
		if ofTheHost(attribute) {
			continue
		}
		v.lacking = append(v.lacking, fmt.Sprintf("volume %s: no Pod that fits Pod Security baseline may write the extended attribute %s, which %d paths have at the source", v.Name, attribute, lacking[attribute]))
	}
	return err
}

// ofTheHost are attributes that belong to the policy of a machine, not to its
// data: each machine sets its own.
func ofTheHost(attribute string) bool {
	return slices.Contains([]string{"security.selinux", "security.ima", "security.evm"}, attribute)
}
