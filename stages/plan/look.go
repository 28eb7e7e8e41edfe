package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// maxPatched and maxLook keep lists that people read short.
const (
	maxPatched = 1000
	maxLook    = 200
)

// lookAround gathers what a person should see: claims of low confidence with
// what they hold, packaged files that somebody patched, places that name the
// host, what goes to the object store.
func (p *planner) lookAround(ctx context.Context) error {
	p.findMentions()
	p.kernelRisks()
	for _, step := range []func(context.Context) error{p.findLow, p.findPatched, p.sumObjects} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) findLow(ctx context.Context) error {
	rows, err := p.host.cat.Query(ctx, `SELECT p.claim, sum(e.type='f'), sum(CASE WHEN e.type='f' AND e.link IS NULL THEN e.size ELSE 0 END), min(e.id)
		FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last
		WHERE p.claim IN (SELECT id FROM claims WHERE confidence = 'low') GROUP BY p.claim ORDER BY 3 DESC, 4 LIMIT ?`, maxLook)
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, first int64
		var l handoff.Look
		if err := rows.Scan(&id, &l.Files, &l.Bytes, &first); err != nil {
			return fmt.Errorf("inventory: %w", err)
		}
		c, ok := p.host.claim(id)
		if !ok {
			continue
		}
		l.Path, l.Class, l.Confidence, l.Reason = c.Path, c.Class, c.Confidence, c.Reason
		p.plan.Look = append(p.plan.Look, l)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	for _, v := range p.plan.Volumes {
		if v.Owner == "" {
			p.plan.Look = append(p.plan.Look, handoff.Look{
				Path: v.Path, Class: claim.Volume, Files: v.Files, Bytes: v.Bytes, Confidence: v.Confidence,
				Reason: "no workload is known to use it; it is kept as a volume that nothing mounts",
			})
		}
	}
	slices.SortStableFunc(p.plan.Look, func(a, b handoff.Look) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), hostpath.Compare(a.Path, b.Path))
	})
	return nil
}

func (p *planner) findPatched(ctx context.Context) error {
	rows, err := p.host.cat.Query(ctx, `SELECT e.path FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last
		WHERE e.state = 'changed' AND p.class = 'image' ORDER BY e.id LIMIT ?`, maxPatched)
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var path []byte
		if err := rows.Scan(&path); err != nil {
			return fmt.Errorf("inventory: %w", err)
		}
		p.plan.Patched = append(p.plan.Patched, hostpath.Path(path))
	}
	return rows.Err()
}

func (p *planner) sumObjects(ctx context.Context) error {
	rows, err := p.host.cat.Query(ctx, `SELECT count(*), coalesce(sum(e.type='f'),0),
		coalesce(sum(CASE WHEN e.type='f' AND e.link IS NULL THEN e.size ELSE 0 END),0), coalesce(max(CASE WHEN e.type='f' THEN e.size ELSE 0 END),0)
		FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last WHERE p.class = 'object'`)
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		o := &p.plan.Objects
		if err := rows.Scan(&o.Entries, &o.Files, &o.Bytes, &o.Largest); err != nil {
			return fmt.Errorf("inventory: %w", err)
		}
	}
	return rows.Err()
}
