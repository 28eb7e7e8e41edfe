// Package lineage opens what the newest state of a volume is made of: its seed, and
// the deltas of the sync rounds since, in their order.
package lineage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Rounds reads the rounds that go on from these seeds; none when there was none,
// or when the seeds were made anew since.
func Rounds(w workspace.Workspace, seeds handoff.Seeds) (handoff.Rounds, error) {
	rounds, err := pipeline.Read(w, handoff.RoundsKey)
	if errors.Is(err, pipeline.ErrNoHandoff) {
		return handoff.Rounds{}, nil
	}
	return rounds.Of(seeds.Seeds), err
}

// Objects is what is in the store after the rounds that go on from these objects.
func Objects(w workspace.Workspace, first handoff.Objects) (handoff.Objects, error) {
	rounds, err := pipeline.Read(w, handoff.RoundsKey)
	if errors.Is(err, pipeline.ErrNoHandoff) {
		return first, nil
	}
	return rounds.Objects(first), err
}

// Lineage is that of one volume.
type Lineage struct {
	Seed   *seed.Seed
	Deltas []*delta.Delta
	Tree   string // digest of the newest state's tree
	// Receipt names that of the newest round, "" without one.
	Receipt handoff.ReceiptFile
}

// Digests are those of the deltas.
func (l *Lineage) Digests() []string {
	var out []string
	for _, d := range l.Deltas {
		out = append(out, string(d.Manifest.Digest))
	}
	return out
}

// Open opens the seed of a volume and the deltas that the rounds name after it.
// An error says what is not in the layout.
func Open(ctx context.Context, layout *oci.Layout, want handoff.Seed, rounds handoff.Rounds) (*Lineage, error) {
	d, err := seed.Find(layout, want.Volume)
	if err != nil {
		return nil, err
	}
	if string(d.Digest) != want.Digest {
		return nil, fmt.Errorf("%s has the seed %s of volume %s, not %s: run the stage seed again", layout, d.Digest, want.Volume, want.Digest)
	}
	l := &Lineage{Tree: want.Tree}
	if l.Seed, err = seed.Open(ctx, layout, d); err != nil {
		return nil, err
	}
	tree, deltas, receipt := rounds.Newest(want.Volume)
	if tree != "" {
		l.Tree, l.Receipt = tree, receipt
	}
	for _, digest := range deltas {
		one, err := openDelta(ctx, layout, oci.Digest(digest))
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", want.Volume, err)
		}
		l.Deltas = append(l.Deltas, one)
	}
	return l, nil
}

func openDelta(ctx context.Context, layout *oci.Layout, digest oci.Digest) (*delta.Delta, error) {
	name, err := carrier.BlobFile(layout.String(), digest)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	return delta.Open(ctx, layout, oci.Descriptor{MediaType: oci.MediaIndex, Digest: digest, Size: fi.Size()})
}
