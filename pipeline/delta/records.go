package delta

import (
	"context"
	"fmt"

	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// Records calls each with the records of a volume after all deltas since the
// seed, in the order of a listing. What it called for counts when it returns nil:
// then the records are those of the newest delta's tree digest.
func Records(ctx context.Context, s *seed.Seed, deltas []*Delta, each func(tree.Record) error) error {
	c := chain{s, deltas}
	if err := c.check(); err != nil {
		return err
	}
	return c.listing(ctx, func(i *snapshot.Item) error {
		r, err := i.Record()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return each(r)
	}, 0, nil, map[string]bool{})
}
