package split

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/strictyaml"
	"github.com/statelift/statelift/pipeline/tree"
)

// applyDecisions makes the claims of statelift.yaml. What does not fit the host
// is an error with the line: a decision that silently does nothing is none.
func (s *run) applyDecisions(ctx context.Context) error {
	faults := []error{s.checkNames()}
	r, err := s.resolver()
	if err != nil {
		return err
	}
	for _, a := range s.decisions.Accept {
		n, ok, err := s.view.at(ctx, a.Path)
		switch {
		case err != nil:
			return err
		case !ok:
			faults = append(faults, &strictyaml.Error{File: s.decisions.File, Line: int(a.Line), Text: fmt.Sprintf("%s is not on the host", a.Path)})
		case n.typ == tree.Regular && n.problem == "":
			s.claims.add(s.without(a))
		}
	}
	for _, d := range s.decisions.Paths {
		c := claim.Claim{
			Class: d.Class, Reach: d.Reaches(), Path: d.Path, Reason: d.Reason, By: s.decisions.At(d.Line), Authority: claim.ByUser,
			Evidence: []claim.Evidence{{Fact: s.decisions.At(d.Line)}},
		}
		if c.Reason == "" {
			c.Reason = "you decided so"
		}
		switch d.Class {
		case claim.Config, claim.Secret:
			c.When = "type=f" // nothing else can be in a ConfigMap or Secret
		case claim.Object:
			c.When = "type=f,d,l,p"
		case claim.Image:
			c.When = "type=f,d,l,p,c,b" // tar(5) has no sockets: they stay ephemeral
		}
		n, err := s.decided(ctx, d)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		for _, other := range r.Claimants(n.subject()) {
			if other.Serves != "" {
				c.Serves = other.Serves
				break
			}
		}
		s.claims.add(c)
		if n.fs != "" && (d.Class == claim.Drop || d.Class == claim.Ephemeral || d.Class == claim.Share) {
			s.overrule(n, c)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return &pipeline.InputError{What: "your decisions", Err: err}
	}
	return nil
}

// without is for a file of which only its reader found that it cannot be read:
// an I/O error shows with the content. Named itself, it is not tried again.
func (s *run) without(a decisions.Accept) claim.Claim {
	c := claim.Claim{
		Class: claim.Unreadable, Reach: claim.Exact, Path: a.Path, Authority: claim.ByNature, By: s.decisions.At(a.Line),
		Reason: a.Reason, Evidence: []claim.Evidence{{Fact: s.decisions.At(a.Line)}},
	}
	if c.Reason == "" {
		c.Reason = "you do without it"
	}
	return c
}

// overrule lets the user decide about another file system, of which nothing was
// read: its claim by nature goes.
func (s *run) overrule(n node, c claim.Claim) {
	i := slices.IndexFunc(s.claims.list, func(k claim.Claim) bool {
		return k.Authority == claim.ByNature && k.Reach == claim.Exact && k.Path == n.path
	})
	if i >= 0 {
		id := s.claims.list[i].ID
		c.Authority, c.Reach, c.Path, c.ID = claim.ByNature, claim.Exact, n.path, id
		s.claims.list[i] = c
	}
}

// decided finds a path that the decision is about.
func (s *run) decided(ctx context.Context, d decisions.Path) (node, error) {
	fault := func(format string, args ...any) error {
		return &strictyaml.Error{File: s.decisions.File, Line: int(d.Line), Text: fmt.Sprintf(format, args...)}
	}
	if d.Reaches() == claim.Glob {
		return s.decidedGlob(ctx, d, fault)
	}
	n, ok, err := s.view.at(ctx, d.Path)
	switch {
	case err != nil:
		return node{}, err
	case !ok:
		return node{}, fault("%s is not on the host", d.Path)
	case d.Class == claim.Volume && n.typ != tree.Directory && !s.inVolume(d.Path):
		return node{}, fault("%s is no directory: a volume is one, name the directory that holds it", d.Path)
	case n.typ == tree.Socket && (d.Class == claim.Image || d.Class == claim.Object || d.Class == claim.Config || d.Class == claim.Secret):
		return node{}, fault("%s is a socket: it cannot be %s, the service that listens makes it again", d.Path, d.Class)
	case d.Class == claim.Share && !s.onShare(n):
		return node{}, fault("%s is on no network share of the host: its data must go somewhere else", d.Path)
	}
	return n, nil
}

func (s *run) decidedGlob(ctx context.Context, d decisions.Path, fault func(string, ...any) error) (node, error) {
	var first node
	found := false
	err := s.view.walk(ctx, claim.Base(d.Path), math.MaxInt, func(n node) bool {
		if !found && claim.MatchGlob(d.Path, n.path) {
			first, found = n, true
		}
		return !found
	})
	switch {
	case err != nil:
		return node{}, err
	case !found:
		return node{}, fault("nothing on the host matches %s", d.Path)
	case d.Class == claim.Share:
		return node{}, fault("a share is named by its mount point, not by a pattern")
	}
	return first, nil
}

// inVolume is true for a path below another decision that makes a volume.
func (s *run) inVolume(p hostpath.Path) bool {
	return slices.ContainsFunc(s.decisions.Paths, func(d decisions.Path) bool {
		return d.Class == claim.Volume && d.Reaches() == claim.Tree && p != d.Path && p.Within(d.Path)
	})
}

func (s *run) onShare(n node) bool {
	for _, f := range s.host.fstab {
		if f.Network() && n.path.Within(f.Target) {
			return true
		}
	}
	return n.fs != ""
}

// checkNames finds units, rules and profiles that are not there.
func (s *run) checkNames() error {
	var faults []error
	fault := func(line strictyaml.Line, format string, args ...any) {
		faults = append(faults, &strictyaml.Error{File: s.decisions.File, Line: max(int(line), 1), Text: fmt.Sprintf(format, args...)})
	}
	known := map[string]bool{}
	for _, u := range s.host.units {
		known[u.Name] = true
	}
	for _, x := range s.host.scripts {
		known[profile.ScriptUnit(x)] = true
	}
	for _, c := range s.host.crons {
		known[profile.CronUnit(c)] = true
	}
	for _, u := range s.decisions.Units {
		if !known[u.Unit] {
			fault(u.Line, "the host has no unit %s", u.Unit)
		}
	}
	for _, use := range s.decisions.Use {
		if !known[use.Unit] {
			fault(0, "profiles.use: the host has no unit %s", use.Unit)
		}
		if _, ok := profile.Generic(s.profiles, use.Profile); !ok {
			fault(0, "profiles.use: there is no profile %q", use.Profile)
		}
	}
	for _, name := range s.decisions.ProfilesOff {
		if _, ok := profile.Generic(s.profiles, name); !ok {
			fault(0, "profiles.off: there is no profile %q", name)
		}
	}
	for _, name := range s.decisions.RulesOff {
		if !slices.ContainsFunc(s.rules.Paths, func(r profile.Rule) bool { return r.File+"/"+r.Name == name }) &&
			!slices.ContainsFunc(s.rules.Units, func(r profile.UnitRule) bool { return r.File+"/"+r.Name == name }) {
			fault(0, "rules.off: there is no rule %q", name)
		}
	}
	return errors.Join(faults...)
}

func sortedPaths(m map[hostpath.Path]bool) []hostpath.Path {
	var out []hostpath.Path
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, hostpath.Compare)
	return out
}
