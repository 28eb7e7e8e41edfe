package main

import (
	"context"
	"fmt"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/oci"
)

// What --prove can be.
const (
	proveTouched = "touched"
	proveAll     = "all"
)

// open opens the deltas.
func (o copyOptions) open(ctx context.Context, from carrier.Reader) ([]*delta.Delta, error) {
	var out []*delta.Delta
	for _, digest := range o.deltas {
		d, err := carrier.Describe(ctx, from, oci.Digest(digest))
		if err != nil {
			return nil, fmt.Errorf("delta %s in %s: %w", digest, from, err)
		}
		open, err := delta.Open(ctx, from, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		out = append(out, open)
	}
	return out, nil
}
