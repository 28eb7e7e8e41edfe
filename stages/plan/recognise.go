package plan

import (
	"context"
	"path"
	"slices"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// recognised are the host's applications: profiles by unit, and those that run
// in the process of another one.
type recognised struct {
	byUnit   map[string]*profile.Profile
	unitless []*profile.Profile
}

func (p *planner) recognise(ctx context.Context) (recognised, error) {
	r := recognised{byUnit: map[string]*profile.Profile{}}
	profiles := slices.DeleteFunc(slices.Clone(p.profiles), func(q profile.Profile) bool {
		return slices.Contains(p.decisions.ProfilesOff, q.Name)
	})
	var failed error
	host := profile.Runnable{
		Scripts: p.host.scripts,
		Files: func(glob string) []hostpath.Path {
			list, err := p.host.matching(ctx, glob, 4)
			if err != nil {
				failed = err
			}
			return list
		},
	}
	for _, name := range p.host.unitNames {
		host.Units = append(host.Units, p.host.units[name])
	}
	for _, name := range sortedKeys(p.host.packages) {
		host.Packages = append(host.Packages, facts.Package{Name: name})
	}
	for _, m := range profile.Find(profiles, host) {
		if m.Unit == "" {
			r.unitless = append(r.unitless, m.Profile)
		} else {
			r.byUnit[m.Unit] = m.Profile
		}
	}
	for _, use := range p.decisions.Use {
		if q, ok := profile.Generic(p.profiles, use.Profile); ok {
			r.byUnit[use.Unit] = q
		}
	}
	return r, failed
}

// matching lists paths that match a glob, at most limit.
func (h *host) matching(ctx context.Context, glob string, limit int) ([]hostpath.Path, error) {
	return h.cat.Glob(ctx, claim.NewPattern(hostpath.Path(glob)), limit)
}

func matchKey(pattern, key string) bool { return profile.MatchKey(pattern, key) }

// glob is path.Match; a pattern that is none matches nothing.
func glob(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
