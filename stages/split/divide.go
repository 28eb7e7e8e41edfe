package split

import (
	"context"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// division is a tree in which code and data may stand side by side.
type division struct {
	claim claim.Claim // of the whole tree, when nothing tells its parts apart
}

// uses notes that a service has something below the root of an application.
func (s *run) uses(svc service, p hostpath.Path, from claim.Evidence) {
	root, ok := applicationRootOf(p)
	if !ok {
		return
	}
	if s.users == nil {
		s.users = map[hostpath.Path][]use{}
	}
	if !slices.ContainsFunc(s.users[root], func(u use) bool { return u.serves == svc.name }) {
		s.users[root] = append(s.users[root], use{svc.name, from})
	}
}

// use is who runs something of an application's tree.
type use struct {
	serves string
	from   claim.Evidence
}

func applicationRootOf(p hostpath.Path) (hostpath.Path, bool) {
	for _, base := range []hostpath.Path{"/opt", "/srv", "/usr/local/lib", "/usr/local/share"} {
		if p.Within(base) && p != base {
			first, _, _ := strings.Cut(string(p.Below(base))[1:], "/")
			return base.Join(first), true
		}
	}
	return "", false
}

func (s *run) applicationRoot(p hostpath.Path) bool {
	root, ok := applicationRootOf(p)
	return ok && root == p && p.Within("/opt")
}

// applications divides what is under /opt and /var/www, and what services use
// under /srv.
func (s *run) applications(ctx context.Context) error {
	if err := s.applicationConfig(ctx); err != nil {
		return err
	}
	for _, d := range []struct{ glob, rule, reason string }{
		{"/opt/*", "rule application/opt", "an application in /opt whose code and data are not told apart"},
		{"/var/www/*", "rule application/www", "a site in /var/www whose code and data are not told apart"},
	} {
		list, err := s.view.glob(ctx, hostpath.Path(d.glob), maxTargets)
		if err != nil {
			return err
		}
		for _, n := range list {
			c := claim.Claim{
				Class: claim.Volume, Reach: claim.Tree, Path: n.path, Confidence: claim.Low, By: d.rule, Authority: claim.ByDefault,
				Reason: d.reason + ": refactor it, or name its parts in " + s.decisions.File,
			}
			if n.typ != tree.Directory {
				c.Class, c.Reason, c.Confidence = claim.Image, "a file beside applications", claim.Medium
				s.claims.add(c)
				continue
			}
			if err := s.divideFor(ctx, c, s.users[n.path]); err != nil {
				return err
			}
		}
	}
	for _, root := range sortedRoots(s.users) {
		if !root.Within("/srv") {
			continue
		}
		c := claim.Claim{
			Class: claim.Volume, Reach: claim.Tree, Path: root, Confidence: claim.Low, By: "rule application/srv", Authority: claim.ByUnit,
			Reason: "data in /srv that a service uses",
		}
		if err := s.divideFor(ctx, c, s.users[root]); err != nil {
			return err
		}
	}
	return nil
}

// divideFor divides a tree once, and says of each part whom it serves.
func (s *run) divideFor(ctx context.Context, c claim.Claim, users []use) error {
	if len(users) == 0 {
		return s.divide(ctx, division{claim: c})
	}
	evidence := c.Evidence
	c.Serves, c.Evidence = users[0].serves, append(slices.Clone(evidence), users[0].from)
	claims, scopes := len(s.claims.list), len(s.scopes)
	if err := s.divide(ctx, division{claim: c}); err != nil {
		return err
	}
	claimsEnd, scopesEnd := len(s.claims.list), len(s.scopes)
	for _, u := range users[1:] {
		for _, k := range s.claims.list[claims:claimsEnd] {
			k.Serves, k.Evidence = u.serves, slices.Clone(k.Evidence)
			k.Evidence[len(evidence)] = u.from
			s.claims.add(k)
		}
		for _, k := range s.scopes[scopes:scopesEnd] {
			k.serves = u.serves
			s.scopes = append(s.scopes, k)
		}
	}
	return nil
}

func sortedRoots(m map[hostpath.Path][]use) []hostpath.Path {
	var out []hostpath.Path
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, hostpath.Compare)
	return out
}

// Bounds of what a judgement about one tree reads.
const (
	maxDepth  = 4
	maxList   = 500
	maxSample = 1000
)

// divide claims the parts of a tree: code is image, data is volume, caches are
// ephemeral. Where a directory holds code and data of its own that cannot be told
// apart, the whole of it is what d says.
func (s *run) divide(ctx context.Context, d division) error {
	n, ok, err := s.view.at(ctx, d.claim.Path)
	if err != nil || !ok || n.typ != tree.Directory || n.fs != "" {
		return err
	}
	if n.pkg != "" && d.claim.Path.Within("/usr") && !d.claim.Path.Within("/usr/local") {
		return nil // a package's own directory
	}
	return s.divideDir(ctx, d, n, 0)
}

// part is one child of a directory with what was seen of it.
type part struct {
	node
	kind    nameClass
	descend bool // code in which there is data, too
	why     string
}

func (s *run) divideDir(ctx context.Context, d division, dir node, depth int) error {
	list, more, err := s.view.children(ctx, dir.path, maxList)
	if err != nil {
		return err
	}
	var parts []part
	code := 0
	for _, n := range list {
		if s.shareTarget(n.path) || n.fs != "" {
			continue
		}
		p, err := s.judgePart(ctx, n, dir, depth)
		if err != nil {
			return err
		}
		parts = append(parts, p)
		if p.kind == codeName || p.descend {
			code++
		}
	}
	c := d.claim
	c.Path = dir.path
	switch {
	case len(list) == 0 && c.Class == claim.Image:
		return s.add(c)
	case code == 0:
		if c.Class == claim.Image && !more {
			c.Class, c.Confidence, c.Reason = claim.Volume, claim.Medium, c.Reason+", in which there is no code"
		}
		return s.add(c)
	case more || mixedFiles(parts):
		c.Confidence = claim.Low
		c.Evidence = append(slices.Clone(c.Evidence), claim.Evidence{Path: dir.path, Fact: "programs and data are in one directory"})
		return s.add(c)
	}
	whole := c
	whole.Class, whole.Reason = claim.Image, "code of an application"
	if c.Class == claim.Image {
		whole.Reason = c.Reason
	}
	whole.Confidence = claim.Medium
	if err := s.add(whole); err != nil {
		return err
	}
	for _, p := range parts {
		if err := s.dividePart(ctx, d, p, depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *run) add(c claim.Claim) error {
	s.claims.add(c)
	return nil
}

// mixedFiles reports whether files of data lie directly in a directory of code.
func mixedFiles(parts []part) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.typ == tree.Regular && p.kind == dataName })
}

func (s *run) dividePart(ctx context.Context, d division, p part, depth int) error {
	c := d.claim
	c.Path, c.Evidence = p.path, append(slices.Clone(c.Evidence), claim.Evidence{Path: p.path, Fact: p.why})
	c.Confidence = claim.Medium
	switch {
	case p.typ != tree.Directory:
		return nil
	case p.kind == dataName:
		c.Class, c.Reason = claim.Volume, "data of an application beside its code: "+p.why
	case p.kind == cacheName:
		c.Class, c.Reason = claim.Ephemeral, "a cache of an application: "+p.why
	case p.kind == logName:
		c.Class, c.Reason, c.When = claim.Ephemeral, "logs of an application, which belong on standard output", "type!=f"
		old := c
		old.Class, old.Reason, old.When = claim.Object, "a log up to today, kept as history", "type=f"
		if err := s.add(old); err != nil {
			return err
		}
	case p.kind == confName:
		if c.Serves != "" {
			s.scopes = append(s.scopes, scope{path: p.path, serves: c.Serves, by: c.By, authority: claim.ByUnit, confidence: claim.Medium,
				why: "configuration of an application", from: claim.Evidence{Path: p.path, Fact: p.why}})
		}
		return nil
	case p.descend && depth < maxDepth:
		sub := d
		sub.claim.Path = p.path
		return s.divideDir(ctx, sub, p.node, depth+1)
	default:
		return nil
	}
	return s.add(c)
}

// namedAs finds a claim of a service on the very directory, made before.
func (s *run) namedAs(p hostpath.Path) (string, bool) {
	for _, c := range s.claims.list {
		if c.Path == p && c.Class == claim.Volume && c.Authority >= claim.ByUnit && len(c.Evidence) > 0 {
			return c.Evidence[0].String(), true
		}
	}
	return "", false
}

func (s *run) shareTarget(p hostpath.Path) bool {
	return slices.ContainsFunc(s.host.fstab, func(f facts.Fstab) bool { return f.Target == p && s.mountPoint(f) })
}
