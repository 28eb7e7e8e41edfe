package catalog

import (
	"context"
	"fmt"

	"github.com/statelift/statelift/pipeline/claim"
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
