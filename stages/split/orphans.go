package split

import (
	"context"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// orphans finds data that nobody claims in directories that stay in the image,
// as those of packages do: the directory that holds it becomes a volume. A file
// beside others that belong to the image cannot, since the mount would hide them;
// it is kept as an object.
func (s *run) orphans(ctx context.Context) error {
	r, err := s.resolver()
	if err != nil {
		return err
	}
	dirs := map[hostpath.Path]bool{}
	visit := func(n node) bool {
		if len(dirs) >= maxOrphans {
			return false
		}
		w, _ := r.Winner(n.subject())
		if n.typ == tree.Directory {
			return w.Class == claim.Image
		}
		if w.Class == claim.Volume && n.typ == tree.Regular {
			dirs[n.path.Dir()] = true
		}
		return true
	}
	for _, top := range []hostpath.Path{"/var", "/root", "/home", "/srv", "/opt", "/mnt", "/media"} {
		if err := s.view.walk(ctx, top, maxConfig, visit); err != nil {
			return err
		}
		n, ok, err := s.view.at(ctx, top)
		if err != nil {
			return err
		}
		if ok {
			visit(n)
		}
	}
	top, _, err := s.view.children(ctx, hostpath.Root, maxList)
	if err != nil {
		return err
	}
	for _, n := range top {
		if n.typ == tree.Regular {
			visit(n)
		}
	}
	for _, dir := range sortedPaths(dirs) {
		if err := s.orphanage(ctx, r, dir); err != nil {
			return err
		}
	}
	return nil
}

// maxOrphans bounds the directories that are looked at.
const maxOrphans = 10_000

func (s *run) orphanage(ctx context.Context, r *claim.Resolver, dir hostpath.Path) error {
	list, more, err := s.view.children(ctx, dir, maxList)
	if err != nil {
		return err
	}
	hides := more || tooHigh(dir)
	for _, n := range list {
		if n.typ == tree.Directory {
			continue
		}
		if w, _ := r.Winner(n.subject()); w.Class == claim.Image || w.Class == claim.Config || w.Class == claim.Secret {
			hides = true
		}
	}
	c := claim.Claim{
		Class: claim.Volume, Reach: claim.Exact, Path: dir, Authority: claim.ByHost, Confidence: claim.Low, By: "rule data/orphans",
		Reason:   "it holds data that nobody claims; unknown data is never dropped",
		Evidence: []claim.Evidence{{Path: dir, Fact: "files that no package owns and no rule knows"}},
	}
	if hides {
		c.Class, c.Reach, c.Path, c.When = claim.Object, claim.Glob, claim.Literal(dir).Join("*"), "type=f package="
		c.Authority = claim.ByDefault
		c.Reason = "data that nobody claims beside files that stay in the image: kept as an object, for a volume would hide them"
	}
	s.claims.add(c)
	return nil
}

// tooHigh directories hold what everybody needs: no volume hides them.
func tooHigh(dir hostpath.Path) bool {
	switch dir {
	case "/root", "/var/mail", "/var/spool/mail", "/srv", "/mnt", "/media", "/var/local", "/var/opt":
		return false
	}
	return neverClaimed(dir)
}
