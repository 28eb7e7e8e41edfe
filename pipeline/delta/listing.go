package delta

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/snapshot"
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

// listing calls each with the paths after all deltas, in order, and tap, unless
// it is nil, with those after n of them. It fails unless they are what the tree
// digest says: only then is what was called for right. Names right in the root
// that the volume had at any time go to names.
func (c chain) listing(ctx context.Context, each func(*snapshot.Item) error, n int, tap func(*snapshot.Item) error, names map[string]bool) error {
	raw, err := c.seed.Listing(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	note := func(p hostpath.Path) {
		if p != hostpath.Root && strings.IndexByte(string(p[1:]), '/') < 0 {
			names[string(p[1:])] = true
		}
	}
	next := noted(lines(raw), note)
	if n == 0 {
		next = tapped(next, tap)
	}
	for k, d := range c.deltas {
		changes, closer, err := d.changes(ctx)
		if err != nil {
			return d.wrap(err)
		}
		defer closer.Close()
		next = (&overlay{below: next, changes: changes, note: note}).next
		if k+1 == n {
			next = tapped(next, tap)
		}
	}
	sum := sha256.New()
	var order tree.Order
	for {
		i, err := next()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if i == nil {
			break
		}
		if err := order.Next(i.Path(), i.Type()); err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		sum.Write(i.Line())
		if err := each(i); err != nil {
			return err
		}
	}
	if got, want := hex.EncodeToString(sum.Sum(nil)), c.tree(len(c.deltas)); got != want {
		return fmt.Errorf("after %d deltas the tree digest is %s and should be %s: %w", len(c.deltas), got, want, ErrFormat)
	}
	return nil
}

// items yields paths in order, nil after the last.
type items func() (*snapshot.Item, error)

// maxLine bounds a line of a listing, as in package tree.
const maxLine = 4 << 20

// lines yields the lines of a listing.
func lines(r io.Reader) items {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), maxLine)
	in.Split(wholeLines)
	return func() (*snapshot.Item, error) {
		if !in.Scan() {
			return nil, in.Err()
		}
		line := make([]byte, len(in.Bytes())+1)
		copy(line, in.Bytes())
		line[len(line)-1] = '\n'
		i, err := snapshot.OfLine(line)
		if err != nil {
			return nil, fmt.Errorf("listing: %w: %w", ErrFormat, err)
		}
		return i, nil
	}
}

func noted(next items, note func(hostpath.Path)) items {
	return func() (*snapshot.Item, error) {
		i, err := next()
		if i != nil {
			note(i.Path())
		}
		return i, err
	}
}

func tapped(next items, tap func(*snapshot.Item) error) items {
	if tap == nil {
		return next
	}
	return func() (*snapshot.Item, error) {
		i, err := next()
		if i != nil {
			err = tap(i)
		}
		return i, err
	}
}

// overlay is a listing with changes.
type overlay struct {
	below   items
	changes *changeReader
	note    func(hostpath.Path)
	i       *snapshot.Item
	c       *change
	begun   bool
}

func (o *overlay) next() (*snapshot.Item, error) {
	if !o.begun {
		o.begun = true
		if err := o.advance(true, true); err != nil {
			return nil, err
		}
	}
	for o.i != nil || o.c != nil {
		order := 0
		switch {
		case o.i == nil:
			order = 1
		case o.c == nil:
			order = -1
		default:
			order = hostpath.Compare(o.i.Path(), o.c.path)
		}
		i, c := o.i, o.c
		if err := o.advance(order <= 0, order >= 0); err != nil {
			return nil, err
		}
		switch {
		case order < 0:
			return i, nil
		case !c.gone:
			now := snapshot.Of(c.record, nil)
			return &now, nil
		case order > 0:
			return nil, fmt.Errorf("%s is gone, and was not there: %w", c.path, ErrFormat)
		}
	}
	return nil, nil
}

func (o *overlay) advance(i, c bool) (err error) {
	if i {
		if o.i, err = o.below(); err != nil {
			return err
		}
	}
	if c {
		if o.c, err = o.changes.read(); o.c != nil {
			o.note(o.c.path)
		}
	}
	return err
}
