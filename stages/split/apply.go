package split

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/tree"
)

// applyProfiles makes the claims of the profiles of all services and of the
// applications that run inside them.
func (s *run) applyProfiles(ctx context.Context) error {
	for _, svc := range s.host.services {
		if svc.profile != nil {
			if err := s.applyProfile(ctx, svc.profile, svc.name, svc.from); err != nil {
				return err
			}
		}
	}
	for _, e := range s.host.embedded {
		for _, serves := range e.serves {
			if err := s.applyProfile(ctx, e.profile, serves, e.from); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *run) applyProfile(ctx context.Context, p *profile.Profile, serves string, from claim.Evidence) error {
	base := claim.Claim{By: "profile " + p.Name, Authority: claim.ByProfile, Serves: serves}
	for _, pc := range p.Paths {
		targets, err := s.targets(ctx, p, pc, from)
		if err != nil {
			return err
		}
		for _, t := range targets {
			if err := s.profileClaim(ctx, base, pc, t); err != nil {
				return err
			}
		}
	}
	s.settingScopes(p, serves)
	for _, c := range p.Config {
		s.scopes = append(s.scopes, scope{path: hostpath.Path(c), serves: serves, by: base.By, authority: claim.ByProfile,
			why: "configuration of " + p.Title, from: from})
	}
	for _, f := range p.Secrets.Files {
		s.scopes = append(s.scopes, scope{path: hostpath.Path(f), serves: serves, by: base.By, authority: claim.ByProfile, secret: true,
			why: "a file of " + p.Title + " that holds credentials", from: from})
	}
	return s.rewrites(ctx, p, base)
}

// target is one place that an entry of a profile speaks of.
type target struct {
	path hostpath.Path
	from claim.Evidence
}

func (s *run) targets(ctx context.Context, p *profile.Profile, pc profile.Path, from claim.Evidence) ([]target, error) {
	if pc.Path != "" {
		if pc.Reach == claim.Glob || !claim.IsGlob(hostpath.Path(pc.Path)) {
			return []target{{hostpath.Path(pc.Path), from}}, nil
		}
		list, err := s.view.glob(ctx, hostpath.Path(pc.Path), maxTargets)
		if err != nil {
			return nil, err
		}
		var out []target
		for _, n := range list {
			out = append(out, target{n.path, from})
		}
		return out, nil
	}
	var out []target
	for _, set := range s.host.settings {
		if set.Profile != p.Name || !profile.MatchKey(pc.Setting, set.Key) {
			continue
		}
		path, ok := lastPath(set.Value)
		if !ok {
			continue
		}
		out = append(out, target{path, at(set.Source, set.Key+" = "+set.Value)})
	}
	if len(out) == 0 && pc.Default != "" {
		return []target{{hostpath.Path(pc.Default), claim.Evidence{Fact: "the default, since no configuration says otherwise"}}}, nil
	}
	return out, nil
}

// maxTargets bounds the places that one entry of a profile can name by a glob.
const maxTargets = 10_000

// profileClaim claims one target, where it really is: a setting may name a link.
func (s *run) profileClaim(ctx context.Context, c claim.Claim, pc profile.Path, t target) error {
	c.Class, c.Reach, c.Path, c.When = pc.Class, cmp.Or(pc.Reach, claim.Tree), t.path, pc.When
	c.Reason, c.Confidence, c.Evidence = pc.Reason, pc.Confidence, []claim.Evidence{t.from}
	if c.Reach == claim.Glob {
		s.claims.add(c)
		return nil
	}
	if pc.Below != "" {
		c.Path = c.Path.Join(pc.Below)
	}
	if real := s.real(c.Path); real != c.Path {
		c.Evidence = append(c.Evidence, claim.Evidence{Path: c.Path, Fact: "a link on the way leads to " + real.String()})
		c.Path = real
	}
	n, exists, err := s.view.at(ctx, c.Path)
	if err != nil {
		return err
	}
	// A tree is a directory: for the file that a setting names, it is the
	// directory that holds it.
	parent := pc.Parent || exists && n.typ == tree.Regular && c.Reach == claim.Tree && c.Class == claim.Volume
	if parent {
		c.Path = c.Path.Dir()
	}
	if pc.Setting != "" && (neverClaimed(c.Path) || slices.Contains(pc.Unless, string(c.Path))) {
		return nil
	}
	switch {
	case exists && !parent && n.shipped() && (c.Class == claim.Config || c.Class == claim.Secret):
		return nil // as its package shipped it: image
	case !parent && (c.Class == claim.Config || c.Class == claim.Secret):
		s.scopes = append(s.scopes, scope{path: c.Path, serves: c.Serves, by: c.By, authority: c.Authority, secret: c.Class == claim.Secret, why: c.Reason, from: t.from})
		return nil
	case pc.Code:
		c.Authority = claim.ByUnit // what is said of a part outweighs what is seen of the whole
		return s.divide(ctx, division{claim: c})
	}
	s.claims.add(c)
	return nil
}

// real is where a path leads after all links, also when its last parts are not
// there: /var/run/x is /run/x.
func (s *run) real(p hostpath.Path) hostpath.Path {
	rest := ""
	for d := p; ; d = d.Dir() {
		if real, err := s.root.Resolve(d); err == nil {
			return real.Join(rest)
		}
		if d == hostpath.Root {
			return p
		}
		rest = d.Base() + "/" + rest
	}
}

// settingScopes takes the files that a profile's configuration names: they serve
// the service, whatever the profile knows about the setting.
func (s *run) settingScopes(p *profile.Profile, serves string) {
	for _, set := range s.host.settings {
		if set.Profile != p.Name {
			continue
		}
		keyFile := slices.ContainsFunc(p.Secrets.KeyFiles, func(pattern string) bool { return profile.MatchKey(pattern, set.Key) })
		for _, path := range absolutePaths(set.Value) {
			path = s.real(path)
			if !keyFile && placeOf(path) != inEtc {
				continue
			}
			why := fmt.Sprintf("%s of %s names it", lastPart(set.Key), p.Title)
			s.scopes = append(s.scopes, scope{path: path, exact: true, serves: serves, by: "profile " + p.Name, authority: claim.ByProfile,
				secret: keyFile, why: why, from: at(set.Source, set.Key)})
		}
		if set.Source.Path != "" {
			s.scopes = append(s.scopes, scope{path: set.Source.Path, exact: true, serves: serves, by: "profile " + p.Name, authority: claim.ByProfile,
				why: "configuration that " + p.Title + " reads", from: claim.Evidence{Path: set.Source.Path}})
		}
	}
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// rewrites keeps configuration that the service itself writes out of ConfigMaps,
// which are read-only: the directory that holds it becomes a volume.
func (s *run) rewrites(ctx context.Context, p *profile.Profile, c claim.Claim) error {
	for _, pattern := range p.Rewrites {
		list, err := s.view.glob(ctx, hostpath.Path(pattern), maxTargets)
		if err != nil {
			return err
		}
		for _, n := range list {
			if n.typ != tree.Regular || neverClaimed(n.path.Dir()) {
				continue
			}
			c.Class, c.Reach, c.Path = claim.Volume, claim.Tree, n.path.Dir()
			c.Reason = fmt.Sprintf("%s itself writes %s, and a ConfigMap is read-only", p.Title, n.path)
			c.Evidence = []claim.Evidence{{Path: n.path, Fact: "rewritten by the service"}}
			s.claims.add(c)
		}
	}
	return nil
}

// applyProcesses takes what running services hold open for writing.
func (s *run) applyProcesses(ctx context.Context) error {
	live := map[string]bool{}
	for _, svc := range s.host.services {
		live[svc.name] = true
	}
	for _, p := range s.host.procs {
		if !live[p.Unit] {
			continue
		}
		for _, w := range p.Writing {
			if placeOf(w) != inData || neverClaimed(w.Dir()) {
				continue
			}
			s.claims.add(claim.Claim{
				Class: claim.Volume, Reach: claim.Tree, Path: w.Dir(), Reason: "a running service writes here",
				Evidence:   []claim.Evidence{{Path: w, Fact: fmt.Sprintf("open for writing by %s", p.Unit)}},
				Confidence: claim.Medium, By: "rule process/writes", Authority: claim.ByUnit, Serves: p.Unit,
			})
		}
	}
	return nil
}

// applyRules makes the claims that every host gets.
func (s *run) applyRules(ctx context.Context) error {
	for _, r := range s.rules.Paths {
		if slices.Contains(s.decisions.RulesOff, r.File+"/"+r.Name) {
			continue
		}
		c := claim.Claim{
			Class: r.Class, Reach: cmp.Or(r.Reach, claim.Tree), When: r.When, Reason: r.Reason, Confidence: r.Confidence,
			By: r.By(), Authority: r.Level(),
		}
		for _, p := range r.Paths {
			c.Path = hostpath.Path(p)
			if c.Reach == claim.Tree && claim.IsGlob(c.Path) {
				if err := s.each(ctx, c); err != nil {
					return err
				}
				continue
			}
			s.claims.add(c)
		}
	}
	return nil
}

// each makes one claim for each directory that a pattern matches.
func (s *run) each(ctx context.Context, c claim.Claim) error {
	list, err := s.view.glob(ctx, c.Path, maxChildren)
	if err != nil {
		return err
	}
	when, err := claim.ParseCondition(c.When)
	if err != nil {
		return err
	}
	c.When = ""
	for _, n := range list {
		if n.typ == tree.Directory && when.Holds(n.subject()) {
			c.Path = n.path
			s.claims.add(c)
		}
	}
	return nil
}
