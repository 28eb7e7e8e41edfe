package split

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// place gives every entry its class in one pass, and sums up.
func (s *run) place(ctx context.Context) (handoff.Split, error) {
	r, err := s.resolver()
	if err != nil {
		return handoff.Split{}, err
	}
	w, err := s.cat.BeginPlacement(ctx)
	if err != nil {
		return handoff.Split{}, err
	}
	defer w.Abort()
	for _, c := range s.claims.list {
		if err := w.Claim(ctx, c); err != nil {
			return handoff.Split{}, err
		}
	}
	p := &placer{run: s, resolver: r, out: w}
	s.env.Progress.Begin("split", "entries", s.view.last)
	err = p.pass(ctx)
	s.env.Progress.End()
	if err != nil {
		return handoff.Split{}, err
	}
	digest, err := w.Commit(ctx)
	if err != nil {
		return handoff.Split{}, err
	}
	out := p.split
	out.Digest = digest
	out.Classes = p.sums.hex()
	out.Claims = len(s.claims.list)
	out.Credentials = s.found
	out.Ephemeral, err = s.ephemeral(ctx)
	if err != nil {
		return handoff.Split{}, err
	}
	for _, a := range s.decisions.Accept {
		out.Accepted = append(out.Accepted, a.Path)
	}
	p.finishVolumes(&out)
	return out, s.balance(ctx, &out)
}

// placer is the pass over all entries.
type placer struct {
	*run
	resolver *claim.Resolver
	out      *catalog.Placement
	split    handoff.Split
	root     int  // index of the volume that the pass is in, -1 outside
	mounted  bool // the volume has the claim for what is below its mount
	sums     digests
	count    int64
}

// maxUnreadable is how many unreadable paths are named.
const maxUnreadable = 1000

func (p *placer) pass(ctx context.Context) error {
	p.root, p.sums = -1, digests{}
	for e, err := range p.cat.Entries(ctx, catalog.Filter{}) {
		if err != nil {
			return err
		}
		if p.root >= 0 && !e.Path.Within(p.split.Volumes[p.root].Path) {
			p.root = -1
		}
		c, err := p.decide(ctx, e.Entry)
		if err != nil {
			return err
		}
		if err := p.out.Place(ctx, e.ID, c.Class, c.ID); err != nil {
			return err
		}
		p.count++
		if p.count%1024 == 0 {
			p.env.Progress.Add(1024)
		}
		p.sums.add(e.Entry, c)
		p.account(e.Entry, c)
	}
	p.env.Progress.Add(p.count % 1024)
	return nil
}

// decide finds the claim that wins, and makes the claims that follow from where
// volumes are.
func (p *placer) decide(ctx context.Context, e catalog.Entry) (claim.Claim, error) {
	c, ok := p.resolver.Winner(e.Subject())
	if !ok {
		return c, fmt.Errorf("%s: no claim reaches it", e.Path)
	}
	if p.root >= 0 {
		if c.Class == claim.Volume || p.mounted {
			return c, nil
		}
		return p.below(ctx, e, c)
	}
	switch {
	case c.Class != claim.Volume:
		return c, nil
	case e.Type == tree.Directory:
		p.open(e, c)
		return c, nil
	}
	return p.lone(ctx, e, c)
}

func (p *placer) open(e catalog.Entry, c claim.Claim) {
	p.split.Volumes = append(p.split.Volumes, handoff.VolumeRoot{
		Path: e.Path, UID: e.UID, GID: e.GID, Mode: e.Mode, Claim: c.ID, Confidence: c.Confidence, Reason: c.Reason,
	})
	p.root, p.mounted = len(p.split.Volumes)-1, false
}

// below makes the claim for everything below the volume's root, which its mount
// would hide, when the first such entry comes.
func (p *placer) below(ctx context.Context, e catalog.Entry, c claim.Claim) (claim.Claim, error) {
	root := p.split.Volumes[p.root].Path
	k := claim.Claim{
		Class: claim.Volume, Reach: claim.Tree, Path: root, Authority: claim.ByMount, By: "rule mount/below",
		Reason:   fmt.Sprintf("below the root of the volume %s, whose mount hides what an image has there", root),
		Evidence: []claim.Evidence{{Path: root, Fact: "root of a volume"}},
	}
	k, err := p.late(ctx, k)
	if err != nil {
		return c, err
	}
	p.mounted = true
	c, _ = p.resolver.Winner(e.Subject())
	return c, nil
}

// lone is a path of data that is in no directory of a volume.
func (p *placer) lone(ctx context.Context, e catalog.Entry, c claim.Claim) (claim.Claim, error) {
	if c.Authority == claim.ByUser {
		return c, &pipeline.InputError{What: c.By, Err: fmt.Errorf("%s is no directory, and in no volume: name the directory that holds it", e.Path)}
	}
	k := claim.Claim{
		Class: claim.Object, Reach: claim.Exact, Path: e.Path, Authority: claim.ByMount, By: "rule mount/lone", Confidence: claim.Low,
		Reason:   "data in a directory that stays in the image, and a volume is a whole directory: kept as an object; " + c.Reason,
		Evidence: c.Evidence, Serves: c.Serves,
	}
	if e.Type != tree.Regular {
		k.Class, k.Reason = claim.Image, "a special file or link in a directory that stays in the image"
	}
	return p.late(ctx, k)
}

// late adds a claim that follows from the others.
func (p *placer) late(ctx context.Context, k claim.Claim) (claim.Claim, error) {
	p.claims.add(k)
	k = p.claims.list[len(p.claims.list)-1]
	if err := p.resolver.Add(k); err != nil {
		return k, err
	}
	return k, p.out.Claim(ctx, k)
}

func (p *placer) account(e catalog.Entry, c claim.Claim) {
	if c.Class == claim.Unreadable {
		if _, ok := p.decisions.Accepts(e.Path); !ok {
			p.split.UnreadableCount++
			if len(p.split.Unreadable) < maxUnreadable {
				p.split.Unreadable = append(p.split.Unreadable, e.Path)
			}
		}
	}
	if p.root < 0 || c.Class != claim.Volume {
		return
	}
	v := &p.split.Volumes[p.root]
	v.Entries++
	v.Bytes += e.Bytes()
	if e.Type != tree.Regular {
		return
	}
	v.Files++
	if e.Size < 4096 {
		v.SmallFiles++
	}
	v.Largest = max(v.Largest, e.Size)
	if looksLikeCode(e) {
		v.Code++
	}
}

// looksLikeCode is true for programs and sources by name and mode.
func looksLikeCode(e catalog.Entry) bool {
	kind := nameKind(e.Path.Base(), tree.Regular)
	switch strings.ToLower(extension(e.Path)) {
	case ".svg", ".ico", ".html", ".htm", ".css", ".ttf", ".woff", ".woff2", ".eot", ".map":
		return false // content as often as code
	}
	return kind == codeName || kind == anyName && e.Mode&0o111 != 0
}

func extension(p hostpath.Path) string {
	base := p.Base()
	if i := strings.LastIndexByte(base, '.'); i > 0 {
		return base[i:]
	}
	return ""
}

// finishVolumes says whom a volume serves: everybody who claims a part of it.
func (p *placer) finishVolumes(out *handoff.Split) {
	for i := range out.Volumes {
		v := &out.Volumes[i]
		serves := map[string]bool{}
		for _, c := range p.claims.list {
			if c.Class == claim.Volume && c.Serves != "" && c.Path.Within(v.Path) && c.Reach != claim.Glob {
				serves[c.Serves] = true
			}
		}
		v.Serves = sortedNames(serves)
	}
}

// balance counts the classes and, on its own, the whole.
func (s *run) balance(ctx context.Context, out *handoff.Split) error {
	tallies, err := s.cat.Tallies(ctx)
	if err != nil {
		return err
	}
	total, err := s.cat.Total(ctx)
	if err != nil {
		return err
	}
	by := map[claim.Class]handoff.ClassTally{}
	for _, t := range tallies {
		by[t.Class] = handoff.ClassTally(t)
	}
	for _, c := range claim.Classes() {
		t := by[c]
		t.Class = c
		out.Balance.Classes = append(out.Balance.Classes, t)
	}
	out.Balance.Total = handoff.ClassTally(total)
	if !out.Balance.Even() {
		return errors.New("the classes do not add up to the source: this is a bug of statelift")
	}
	return nil
}
