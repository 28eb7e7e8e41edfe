package upload

import (
	"context"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/oci"
)

// contents lists the blobs of all seeds, and of what the rounds since brought.
func contents(ctx context.Context, env *pipeline.Env, seeds handoff.Seeds) (*carrier.Shipment, error) {
	dir := env.Workspace.Path(seeds.Layout)
	layout, err := oci.Open(dir)
	if err != nil {
		return nil, err
	}
	rounds, err := lineage.Rounds(env.Workspace, seeds)
	if err != nil {
		return nil, err
	}
	out := carrier.NewShipment(dir)
	for _, want := range seeds.Seeds {
		l, err := lineage.Open(ctx, layout, want, rounds)
		if err != nil {
			return nil, err
		}
		out.Add(l.Seed.Blobs(), "seed of volume "+want.Volume)
		out.Name(l.Seed.Manifest)
		for _, d := range l.Deltas {
			out.Add(d.Blobs(), "delta of volume "+want.Volume)
		}
	}
	return out, nil
}
