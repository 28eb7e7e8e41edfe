package catalog

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/statelift/statelift/pipeline/catalog/pages"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/tree"
)

// run is entries with consecutive IDs that have the same class by the same
// claim.
type run struct {
	first, last int64
	class       claim.Class
	claim       int64
}

// runs reads runs in the order of their IDs, in batches, so that nothing is open
// while the caller works.
type runs struct {
	c     *Catalog
	class claim.Class // "" for all
	from  int64
	batch []run
	ended bool
	held  run
}

func (c *Catalog) runs(class claim.Class, from int64) *runs {
	return &runs{c: c, class: class, from: from}
}

// runBatch bounds the memory of a pass.
const runBatch = 4096

// next is the next run; ok is false after the last one.
func (r *runs) next(ctx context.Context) (_ run, ok bool, err error) {
	if len(r.batch) == 0 && !r.ended {
		if err := r.read(ctx); err != nil {
			return run{}, false, fmt.Errorf("inventory: %w", err)
		}
	}
	if len(r.batch) == 0 {
		return run{}, false, nil
	}
	k := r.batch[0]
	r.batch = r.batch[1:]
	r.from = k.last + 1
	return k, true, nil
}

func (r *runs) read(ctx context.Context) error {
	// The run that the first ID is in may begin before it.
	query, args := `SELECT entry, last, class, claim FROM placements
		WHERE entry >= coalesce((SELECT max(entry) FROM placements WHERE entry <= ?1), 0) AND last >= ?1`, []any{r.from}
	if r.class != "" {
		query, args = query+" AND class = ?2", append(args, string(r.class))
	}
	rows, err := r.c.db.QueryContext(ctx, fmt.Sprintf("%s ORDER BY entry LIMIT %d", query, runBatch), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	r.batch = r.batch[:0]
	for rows.Next() {
		var k run
		if err := rows.Scan(&k.first, &k.last, &k.class, &k.claim); err != nil {
			return err
		}
		r.batch = append(r.batch, k)
	}
	r.ended = len(r.batch) < runBatch
	return rows.Err()
}

// at is the run of an entry, the zero run when it has none. IDs come in rising
// order.
func (r *runs) at(ctx context.Context, id int64) (run, error) {
	for r.held.last < id {
		k, ok, err := r.next(ctx)
		if err != nil {
			return run{}, err
		}
		if !ok {
			k.first, k.last = 0, 1<<63-1
		}
		r.held = k
	}
	if r.held.first == 0 || r.held.first > id {
		return run{}, nil
	}
	return r.held, nil
}

// runAt is the run of one entry, the zero run when it has none.
func (c *Catalog) runAt(ctx context.Context, id int64) (k run, err error) {
	row := c.db.QueryRowContext(ctx, "SELECT entry, last, class, claim FROM placements WHERE entry <= ? ORDER BY entry DESC LIMIT 1", id)
	err = row.Scan(&k.first, &k.last, &k.class, &k.claim)
	if errors.Is(err, sql.ErrNoRows) || err == nil && k.last < id {
		return run{}, nil
	}
	if err != nil {
		return run{}, fmt.Errorf("inventory: %w", err)
	}
	return k, nil
}

// Sized is what sums need of an entry.
type Sized struct {
	ID    int64
	Path  []byte // until the next one is read
	Class claim.Class
	Claim int64
	File  bool  // a regular file
	Size  int64 // of it
	Bytes int64 // as [Entry.Bytes]
}

// Sizes streams the placed entries of which wanted is true, depth first. It is
// the quickest way to add something up.
func (c *Catalog) Sizes(ctx context.Context, wanted func(class claim.Class, claim int64) bool) iter.Seq2[Sized, error] {
	return func(yield func(Sized, error) bool) {
		runs := c.runs("", 1)
		cursor, at := c.entries.From(1), int64(1)
		for {
			k, ok, err := runs.next(ctx)
			if err != nil {
				yield(Sized{}, err)
			}
			if err != nil || !ok {
				return
			}
			if !wanted(k.class, k.claim) {
				continue
			}
			if at != k.first {
				cursor = c.entries.From(k.first)
			}
			for at = k.first; at <= k.last; at++ {
				if at%breath == 0 && ctx.Err() != nil {
					yield(Sized{}, ctx.Err())
					return
				}
				s, err := sized(cursor, k)
				if !yield(s, err) || err != nil {
					return
				}
			}
		}
	}
}

// sized reads the next entry, whose columns stand as in entriesTable.
func sized(cursor *pages.Cursor, k run) (Sized, error) {
	if !cursor.Next() {
		return Sized{}, fmt.Errorf("inventory: %w", cmp.Or(cursor.Err(), pages.ErrMalformed))
	}
	r := &cursor.Record
	r.Skip(1)
	s := Sized{ID: cursor.ID, Class: k.class, Claim: k.claim, Path: r.Bytes()}
	if s.File = string(r.Bytes()) == string(tree.Regular); s.File {
		r.Skip(3)
		s.Size = r.Int()
		r.Skip(13)
		if r.Int() == 0 {
			s.Bytes = s.Size
		}
	}
	if err := r.Err(); err != nil {
		return s, fmt.Errorf("inventory: entry %d: %w", s.ID, err)
	}
	return s, nil
}
