package scan

import (
	"context"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

// The hand-off names the first of what could be very many; inventory.db has all.
const (
	maxUnreadable = 1000
	maxProblems   = 1000
)

// summary grows into the hand-off while the inventory is written.
type summary struct{ handoff.Inventory }

func newSummary() *summary {
	return &summary{handoff.Inventory{Facts: map[facts.Kind]int{}, States: map[string]handoff.StateTally{}}}
}

func (s *summary) add(e catalog.Entry) {
	s.Entries++
	if e.Problem != "" && len(s.Unreadable) < maxUnreadable {
		s.Unreadable = append(s.Unreadable, e.Path)
	}
	if e.State != "" && e.Type == tree.Regular {
		t := s.States[string(e.State)]
		t.Files++
		t.Bytes += e.Size
		s.States[string(e.State)] = t
	}
}

func (s *summary) fact(f collect.Found) {
	s.Facts[f.Kind]++
	switch d := f.Data.(type) {
	case facts.OS:
		s.OS = d
	case facts.Package:
		s.Packages++
	case facts.Mount:
		s.Mounts = append(s.Mounts, d)
	case facts.Problem:
		if len(s.Problems) < maxProblems {
			s.Problems = append(s.Problems, d)
		}
	}
}

// inventory completes the hand-off with what only the whole inventory tells:
// bytes count a hard-linked inode once.
func (s *summary) inventory(ctx context.Context, digest, name string) (handoff.Inventory, error) {
	s.Digest = digest
	c, err := catalog.Open(ctx, name)
	if err != nil {
		return handoff.Inventory{}, err
	}
	defer c.Close()
	total, err := c.Total(ctx)
	if err != nil {
		return handoff.Inventory{}, err
	}
	s.Entries, s.Files, s.Bytes = total.Entries, total.Files, total.Bytes
	return s.Inventory, nil
}
