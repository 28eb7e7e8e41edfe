package seed

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// entries are what is in the volume's seed, depth first: its root, everything
// below it of class volume, and the directories on the way there whatever their
// class. Of a volume within this one that has a seed itself only the directory
// is here, as the mount point. What belongs to the volume and what does not goes
// to the scope, for the sync rounds.
func entries(ctx context.Context, cat *catalog.Catalog, v handoff.Volume, all []handoff.Volume, scope *delta.Scope) iter.Seq2[tree.Entry, error] {
	inner := innerVolumes(v, all)
	return func(yield func(tree.Entry, error) bool) {
		first := true
		var way []tree.Entry // directories that may turn out to be on the way
		for e, err := range cat.Entries(ctx, catalog.Filter{Under: v.Path}) {
			if err == nil && first && (e.Path != v.Path || e.Type != tree.Directory) {
				err = fmt.Errorf("volume %s: %s is not a directory of the inventory", v.Name, v.Path)
			}
			if err != nil {
				yield(tree.Entry{}, err)
				return
			}
			for n := len(way); n > 0 && !e.Path.Within(way[n-1].Path); n = len(way) {
				way = way[:n-1]
			}
			switch {
			case below(e.Path, inner):
				continue
			case !first && e.Class != claim.Volume:
				scope.Set(e.Path.Below(v.Path), delta.Out)
				if e.Type == tree.Directory {
					way = append(way, e.Entry.Entry)
				}
				continue
			}
			first = false
			for _, dir := range way {
				scope.Set(dir.Path.Below(v.Path), delta.Only)
				if !yield(dir, nil) {
					return
				}
			}
			way = way[:0]
			rule := delta.In
			if slices.Contains(inner, e.Path) {
				rule = delta.Only
			}
			scope.Set(e.Path.Below(v.Path), rule)
			if !yield(e.Entry.Entry, nil) {
				return
			}
		}
	}
}

func innerVolumes(v handoff.Volume, all []handoff.Volume) []hostpath.Path {
	var inner []hostpath.Path
	for _, w := range all {
		if w.Seed && w.Path != v.Path && w.Path.Within(v.Path) {
			inner = append(inner, w.Path)
		}
	}
	return inner
}

// below reports whether p lies in one of the directories, and is none itself.
func below(p hostpath.Path, dirs []hostpath.Path) bool {
	for _, d := range dirs {
		if p != d && p.Within(d) {
			return true
		}
	}
	return false
}
