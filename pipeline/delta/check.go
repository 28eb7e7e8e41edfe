package delta

import (
	"context"

	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// Check reads the lists of changes of all deltas since the seed, and compares the
// listing that they lead to with its digest. It reads no content.
func Check(ctx context.Context, s *seed.Seed, deltas []*Delta) error {
	return Records(ctx, s, deltas, func(tree.Record) error { return nil })
}
