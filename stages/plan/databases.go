package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// maxDatabases bounds what one glob finds in a volume.
const maxDatabases = 1000

// findDatabases finds the databases in volumes by their markers, and judges each
// from its own files.
func (p *planner) findDatabases(ctx context.Context) error {
	for _, v := range p.plan.Volumes {
		if !v.Seed {
			continue
		}
		d, _ := p.volumeDecision(v.Path)
		for _, box := range slices.Concat(v.Writers, v.Readers) {
			c, ok := p.container(box)
			if !ok {
				continue
			}
			prof, ok := profile.Generic(p.profiles, c.Profile)
			if !ok {
				continue
			}
			dirs, err := p.marked(ctx, v, prof.Data.Store)
			if err != nil {
				return err
			}
			for _, dir := range dirs {
				p.plan.Databases = append(p.plan.Databases, handoff.Database{
					Volume: v.Name, Root: v.Path, Path: dir, Engine: prof.Data.Store.Engine, Profile: prof.Name, Unit: c.Unit, Consistent: d.Consistent,
					Backup: prof.Data.Backup.Tool,
				})
			}
		}
	}
	slices.SortFunc(p.plan.Databases, func(a, b handoff.Database) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Engine, b.Engine))
	})
	p.plan.Databases = slices.CompactFunc(p.plan.Databases, func(a, b handoff.Database) bool { return a.Path == b.Path && a.Engine == b.Engine })
	return datastore.Look(ctx, p.host.root, p.plan.Databases)
}

// container finds WORKLOAD/CONTAINER.
func (p *planner) container(box string) (handoff.Container, bool) {
	workload, name, _ := strings.Cut(box, "/")
	for _, w := range p.pods {
		if w.Name != workload {
			continue
		}
		for _, s := range w.services {
			if s.box.Name == name {
				return s.box, true
			}
		}
	}
	return handoff.Container{}, false
}

// marked are the directories of the volume that hold a marker of the store.
// Volumes within this one find their own.
func (p *planner) marked(ctx context.Context, v handoff.Volume, store profile.Store) ([]hostpath.Path, error) {
	var out []hostpath.Path
	for _, marker := range store.Markers {
		found, err := p.host.cat.Glob(ctx, claim.NewPattern(claim.Literal(v.Path).Join("**", marker)), maxDatabases)
		if err != nil {
			return nil, fmt.Errorf("databases of volume %s: %w", v.Name, err)
		}
		for _, dir := range found {
			for range strings.Count(marker, "/") + 1 {
				dir = dir.Dir()
			}
			if p.innermost(dir) == v.Path && !slices.Contains(out, dir) {
				out = append(out, dir)
			}
		}
	}
	// The append-only files of Redis are in a directory of its directory.
	return slices.DeleteFunc(slices.Clone(out), func(dir hostpath.Path) bool {
		return slices.ContainsFunc(out, func(o hostpath.Path) bool { return o != dir && dir.Within(o) })
	}), nil
}

// innermost is the path of the deepest volume that holds the path.
func (p *planner) innermost(path hostpath.Path) hostpath.Path {
	var best hostpath.Path
	for _, v := range p.plan.Volumes {
		if path.Within(v.Path) && len(v.Path) > len(best) {
			best = v.Path
		}
	}
	return best
}
