package split

import (
	"context"
	"fmt"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// spare keeps code out of volumes that are ones only by default: /srv/www is not
// a volume as a whole when the site in /srv/www/site is code. The directories on
// the way stay in the image, what stands beside them is volume as before.
func (s *run) spare(ctx context.Context) error {
	r, err := s.resolver()
	if err != nil {
		return err
	}
	onTheWay, spared := map[hostpath.Path]bool{}, map[hostpath.Path]claim.Claim{}
	for _, c := range s.claims.list {
		if c.Class != claim.Image || c.Reach != claim.Tree || !aboutAnApplication(c) {
			continue
		}
		for _, a := range ancestors(c.Path) {
			n, ok, err := s.view.at(ctx, a)
			if err != nil {
				return err
			}
			if w, _ := r.Winner(n.subject()); ok && w.Class == claim.Volume && w.Authority <= claim.ByDefault {
				spared[a] = w
			}
			onTheWay[a] = true
		}
		onTheWay[c.Path] = true
	}
	names := map[hostpath.Path]bool{}
	for a := range spared {
		names[a] = true
	}
	for _, a := range sortedPaths(names) {
		if err := s.spareBeside(ctx, a, spared[a], onTheWay); err != nil {
			return err
		}
	}
	return nil
}

func aboutAnApplication(c claim.Claim) bool {
	if c.Authority == claim.ByUser {
		return true
	}
	for _, by := range []string{"profile ", "unit ", "init script ", "cron ", "rule application/"} {
		if strings.HasPrefix(c.By, by) {
			return true
		}
	}
	return false
}

// ancestors are the directories above p, the root left out, from the top.
func ancestors(p hostpath.Path) []hostpath.Path {
	var out []hostpath.Path
	for d := p.Dir(); d != hostpath.Root; d = d.Dir() {
		out = append([]hostpath.Path{d}, out...)
	}
	return out
}

func (s *run) spareBeside(ctx context.Context, dir hostpath.Path, w claim.Claim, onTheWay map[hostpath.Path]bool) error {
	s.claims.add(claim.Claim{
		Class: claim.Image, Reach: claim.Exact, Path: dir, Authority: claim.ByHost, By: "rule data/spared", Confidence: claim.Medium,
		Reason: "code of an application lies below, which a volume here would hide", Evidence: []claim.Evidence{{Path: dir}},
	})
	list, _, err := s.view.children(ctx, dir, maxChildren)
	if err != nil {
		return err
	}
	for _, n := range list {
		if n.typ != tree.Directory || onTheWay[n.path] || n.fs != "" || s.shareTarget(n.path) {
			continue
		}
		c := w
		c.Reach, c.Path, c.When, c.Authority = claim.Tree, n.path, "", claim.ByDefault
		c.Reason = fmt.Sprintf("%s; beside code of an application", w.Reason)
		s.claims.add(c)
	}
	return nil
}
