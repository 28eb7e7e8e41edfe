package lineage

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// Accept compares a receipt with what was read at the source: with the newest
// state.
func (l *Lineage) Accept(ctx context.Context, receipt handoff.Receipt) error {
	return accept(ctx, l.Seed, l.Deltas, l.Tree, receipt)
}

// AcceptSeed compares a receipt with the seed alone.
func (l *Lineage) AcceptSeed(ctx context.Context, receipt handoff.Receipt) error {
	return accept(ctx, l.Seed, nil, l.Seed.Config.Tree, receipt)
}

func accept(ctx context.Context, s *seed.Seed, deltas []*delta.Delta, want string, receipt handoff.Receipt) error {
	if len(receipt.NotCompared) > 0 {
		var err error
		if want, _, err = list(ctx, s, deltas, receipt.NotCompared, io.Discard); err != nil {
			return err
		}
	}
	if receipt.SourceTree != want {
		return fmt.Errorf("the receipt is of a source with the tree %s, not %s", receipt.SourceTree, want)
	}
	return nil
}

// WriteListing writes the canonical listing (see package tree) that a proved copy
// of the newest state has: without the extended attributes that are not compared.
// It returns how many paths lack which attribute.
func (l *Lineage) WriteListing(ctx context.Context, name string, notCompared []string) (lacking map[string]int, err error) {
	err = atomicfile.WriteTo(name, 0o600, func(w io.Writer) (err error) {
		_, lacking, err = list(ctx, l.Seed, l.Deltas, notCompared, w)
		return err
	})
	return lacking, err
}

// list writes a listing without the extended attributes that are not compared. It
// returns the tree digest and how many paths lack which attribute.
func list(ctx context.Context, s *seed.Seed, deltas []*delta.Delta, notCompared []string, w io.Writer) (digest string, lacking map[string]int, err error) {
	lacking = map[string]int{}
	lines := tree.NewWriter(w)
	err = delta.Records(ctx, s, deltas, func(r tree.Record) error {
		r.Xattrs = slices.DeleteFunc(slices.Clone(r.Xattrs), func(x tree.Xattr) bool {
			drop := matches(notCompared, x.Name)
			if drop {
				lacking[x.Name]++
			}
			return drop
		})
		return lines.Add(r)
	})
	if err != nil {
		return "", nil, err
	}
	totals, err := lines.Close()
	return totals.Digest, lacking, err
}

// matches applies patterns as the copier does.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}
