package delta

import (
	"context"
	"fmt"
	"io"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// chain is a seed and the deltas since.
type chain struct {
	seed   *seed.Seed
	deltas []*Delta
}

// check makes sure that each delta follows the one before.
func (c chain) check() error {
	from, before := c.seed.Config.Tree, oci.Digest("")
	for i, d := range c.deltas {
		switch {
		case d.Config.Volume != c.seed.Config.Volume:
			return d.wrap(fmt.Errorf("it is of volume %s: %w", d.Config.Volume, ErrFormat))
		case d.Config.Seed != c.seed.Manifest.Digest:
			return d.wrap(fmt.Errorf("it is based on the seed %s: %w", d.Config.Seed, ErrFormat))
		case d.Config.Previous != before || d.Config.From != from:
			return d.wrap(fmt.Errorf("it does not follow what is before it (number %d at place %d): %w", d.Config.Number, i+1, ErrFormat))
		}
		from, before = d.Config.To, d.Manifest.Digest
	}
	return nil
}

// tree is the tree digest after so many deltas.
func (c chain) tree(n int) string {
	if n == 0 {
		return c.seed.Config.Tree
	}
	return c.deltas[n-1].Config.To
}

// at finds after how many deltas a digest is the newest one.
func (c chain) at(newest oci.Digest) (n int, ok bool) {
	if newest == c.seed.Manifest.Digest {
		return 0, true
	}
	for i, d := range c.deltas {
		if d.Manifest.Digest == newest {
			return i + 1, true
		}
	}
	return 0, false
}

// names are those right in the root that the volume had at any time.
func (c chain) names(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	add := func(p hostpath.Path) {
		if p != hostpath.Root && p.Dir() == hostpath.Root {
			names[p.Base()] = true
		}
	}
	err := c.listing(ctx, 0, func(r tree.Record) error {
		add(r.Path)
		return nil
	})
	for _, d := range c.deltas {
		if err == nil {
			err = d.each(ctx, func(ch *change) error {
				add(ch.path)
				return nil
			})
		}
	}
	return names, err
}

// listing calls each with the records after n deltas, in order. It fails unless
// they are what the tree digest says: only then is what was called for right.
func (c chain) listing(ctx context.Context, n int, each func(tree.Record) error) error {
	raw, err := c.seed.Listing(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	lines := tree.NewReader(raw)
	next := func() (*tree.Record, error) {
		r, err := lines.Next()
		if err == io.EOF {
			return nil, nil
		}
		return &r, err
	}
	for _, d := range c.deltas[:n] {
		changes, closer, err := d.changes(ctx)
		if err != nil {
			return d.wrap(err)
		}
		defer closer.Close()
		next = (&overlay{below: next, changes: changes}).next
	}
	sum := tree.NewWriter(io.Discard)
	for {
		r, err := next()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if r == nil {
			break
		}
		if err := sum.Add(*r); err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if err := each(*r); err != nil {
			return err
		}
	}
	totals, err := sum.Close()
	if err == nil && totals.Digest != c.tree(n) {
		err = fmt.Errorf("after %d deltas the tree digest is %s and should be %s: %w", n, totals.Digest, c.tree(n), ErrFormat)
	}
	return err
}

// overlay is a listing with changes.
type overlay struct {
	below   func() (*tree.Record, error)
	changes *changeReader
	r       *tree.Record
	c       *change
	begun   bool
}

func (o *overlay) next() (*tree.Record, error) {
	if !o.begun {
		o.begun = true
		if err := o.advance(true, true); err != nil {
			return nil, err
		}
	}
	for o.r != nil || o.c != nil {
		order := 0
		switch {
		case o.r == nil:
			order = 1
		case o.c == nil:
			order = -1
		default:
			order = hostpath.Compare(o.r.Path, o.c.path)
		}
		r, c := o.r, o.c
		if err := o.advance(order <= 0, order >= 0); err != nil {
			return nil, err
		}
		switch {
		case order < 0:
			return r, nil
		case !c.gone:
			return &c.record, nil
		case order > 0:
			return nil, fmt.Errorf("%s is gone, and was not there: %w", c.path, ErrFormat)
		}
	}
	return nil, nil
}

func (o *overlay) advance(r, c bool) (err error) {
	if r {
		if o.r, err = o.below(); err != nil {
			return err
		}
	}
	if c {
		o.c, err = o.changes.read()
	}
	return err
}
