package plan

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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
	type sum struct {
		claim.Claim
		first, files, bytes int64
	}
	sums := map[int64]*sum{}
	for _, c := range p.host.claims {
		if c.Confidence == claim.Low {
			sums[c.ID] = &sum{Claim: c}
		}
	}
	low := func(_ claim.Class, id int64) bool { return sums[id] != nil }
	for e, err := range p.host.cat.Sizes(ctx, low) {
		if err != nil {
			return err
		}
		s := sums[e.Claim]
		if s.first == 0 {
			s.first = e.ID
		}
		if e.File {
			s.files++
			s.bytes += e.Bytes
		}
	}
	list := slices.DeleteFunc(slices.Collect(maps.Values(sums)), func(s *sum) bool { return s.first == 0 })
	slices.SortFunc(list, func(a, b *sum) int { return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.first, b.first)) })
	for _, s := range list[:min(len(list), maxLook)] {
		p.plan.Look = append(p.plan.Look, handoff.Look{
			Path: s.Path, Class: s.Class, Files: s.files, Bytes: s.bytes, Confidence: s.Confidence, Reason: s.Reason,
		})
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
	o := &p.plan.Objects
	objects := func(class claim.Class, _ int64) bool { return class == claim.Object }
	for e, err := range p.host.cat.Sizes(ctx, objects) {
		if err != nil {
			return err
		}
		o.Entries++
		if e.File {
			o.Files++
			o.Bytes += e.Bytes
			o.Largest = max(o.Largest, e.Size)
		}
	}
	return nil
}
