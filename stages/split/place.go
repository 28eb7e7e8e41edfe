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
	"github.com/statelift/statelift/pipeline/layer"
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
	p.finishVolumes(&out)
	return out, p.balance(ctx, &out)
}

// placer is the pass over all entries.
type placer struct {
	*run
	resolver *claim.Resolver
	out      *catalog.Placement
	split    handoff.Split
	root     int  // index of the volume that the pass is in, -1 outside
	mounted  bool // the volume has the claim for what is below its mount
	tally    map[claim.Class]*handoff.ClassTally
	sums     digests
}

// maxUnreadable is how many unreadable paths are named.
const maxUnreadable = 1000

func (p *placer) pass(ctx context.Context) error {
	p.root, p.sums = -1, digests{}
	p.tally = map[claim.Class]*handoff.ClassTally{}
	for _, c := range claim.Classes() {
		p.tally[c] = &handoff.ClassTally{Class: c}
	}
	return p.view.stream(ctx, func(batch []node) error {
		for i := range batch {
			if err := p.one(ctx, &batch[i]); err != nil {
				return err
			}
		}
		p.env.Progress.Add(int64(len(batch)))
		return nil
	})
}

func (p *placer) one(ctx context.Context, e *node) error {
	if p.root >= 0 && !e.path.Within(p.split.Volumes[p.root].Path) {
		p.root = -1
	}
	c, err := p.decide(ctx, e)
	if err != nil {
		return err
	}
	if err := p.out.Place(ctx, e.id, c.Class, c.ID); err != nil {
		return err
	}
	p.sums.add(e, c)
	p.account(e, c)
	return nil
}

// decide finds the claim that wins, and makes the claims that follow from where
// volumes are.
func (p *placer) decide(ctx context.Context, e *node) (claim.Claim, error) {
	c, ok := p.resolver.Winner(e.subject())
	if !ok {
		return c, fmt.Errorf("%s: no claim reaches it", e.path)
	}
	if c.Class == claim.Unreadable {
		return p.unread(ctx, e, c)
	}
	if p.root >= 0 {
		if c.Class == claim.Image && c.Authority == claim.ByUser {
			return c, p.hidden(e, c)
		}
		if c.Class == claim.Volume || p.mounted {
			return c, nil
		}
		return p.below(ctx, e, c)
	}
	switch {
	case c.Class == claim.Image && layer.Whiteout(e.path):
		return p.whiteout(ctx, e)
	case c.Class != claim.Volume:
		return c, nil
	case e.typ == tree.Directory:
		p.open(e, c)
		return c, nil
	}
	return p.lone(ctx, e, c)
}

// whiteout keeps a path out of the image that it cannot be in.
func (p *placer) whiteout(ctx context.Context, e *node) (claim.Claim, error) {
	k := claim.Claim{
		Class: claim.Unreadable, Reach: claim.Exact, Path: e.path, Authority: claim.ByNature, By: whiteoutRule,
		Reason: "a name that begins with .wh. deletes in a layer of an image (OCI image-spec layer.md), so this path can be in none: give it another class under paths in " +
			p.decisions.File + ", or accept it there by name",
	}
	return p.late(ctx, k)
}

const whiteoutRule = "rule nature/whiteout"

// unread lets the user throw away what could not be read. No rule may: what an
// unreadable directory holds is unknown, whatever such directories usually hold.
func (p *placer) unread(ctx context.Context, e *node, c claim.Claim) (claim.Claim, error) {
	if e.fs != "" || p.root >= 0 {
		return c, nil
	}
	rest := p.resolver.Claimants(e.subject())[1:]
	if len(rest) == 0 || rest[0].Authority != claim.ByUser || rest[0].Class != claim.Drop && rest[0].Class != claim.Ephemeral {
		return c, nil
	}
	k := rest[0].Claim
	k.Reach, k.Path, k.When, k.Authority = claim.Exact, e.path, "", claim.ByNature
	k.Reason = "it could not be read, and need not be: " + k.Reason
	return p.late(ctx, k)
}

func (p *placer) open(e *node, c claim.Claim) {
	p.split.Volumes = append(p.split.Volumes, handoff.VolumeRoot{
		Path: e.path, UID: e.uid, GID: e.gid, Mode: e.mode, Claim: c.ID, Confidence: c.Confidence, Reason: c.Reason,
	})
	p.root, p.mounted = len(p.split.Volumes)-1, false
}

// below makes the claim for everything below the volume's root, which its mount
// would hide, when the first such entry comes.
func (p *placer) below(ctx context.Context, e *node, c claim.Claim) (claim.Claim, error) {
	root := p.split.Volumes[p.root].Path
	k := claim.Claim{
		Class: claim.Volume, Reach: claim.Tree, Path: root, Authority: claim.ByMount, By: "rule mount/below",
		Reason:   fmt.Sprintf("below the root of the volume %s, whose mount hides what an image has there", root),
		Evidence: []claim.Evidence{{Path: root, Fact: "root of a volume"}},
	}
	if _, err := p.late(ctx, k); err != nil {
		return c, err
	}
	p.mounted = true
	c, _ = p.resolver.Winner(e.subject())
	return c, nil
}

// hidden is the error for a decision that cannot come true: an image cannot show
// what lies below the mount of a volume.
func (p *placer) hidden(e *node, c claim.Claim) error {
	v := p.split.Volumes[p.root]
	return &pipeline.InputError{What: c.By, Err: fmt.Errorf("%s cannot be image: it is below the volume %s (%s), whose mount would hide it; decide about %s first", e.path, v.Path, v.Reason, v.Path)}
}

// lone is a path of data that is in no directory of a volume.
func (p *placer) lone(ctx context.Context, e *node, c claim.Claim) (claim.Claim, error) {
	if c.Authority == claim.ByUser {
		return c, &pipeline.InputError{What: c.By, Err: fmt.Errorf("%s is no directory, and in no volume: name the directory that holds it", e.path)}
	}
	k := claim.Claim{
		Class: claim.Object, Reach: claim.Exact, Path: e.path, Authority: claim.ByMount, By: "rule mount/lone", Confidence: claim.Low,
		Reason:   "data in a directory that stays in the image, and a volume is a whole directory: kept as an object; " + c.Reason,
		Evidence: c.Evidence, Serves: c.Serves,
	}
	if e.typ != tree.Regular {
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

func (p *placer) account(e *node, c claim.Claim) {
	t := p.tally[c.Class]
	t.Entries++
	if e.typ == tree.Regular {
		t.Files++
		if e.link == 0 {
			t.Bytes += e.size
			t.Allocated += e.allocated
		}
	}
	if c.Class == claim.Unreadable {
		list := &p.split.Accepted
		if _, ok := p.decisions.Accepts(e.path); !ok {
			p.split.UnreadableCount++
			list = &p.split.Unreadable
		}
		if len(*list) < maxUnreadable {
			*list = append(*list, e.path)
			if c.By == whiteoutRule && list == &p.split.Unreadable {
				p.split.Whiteouts = append(p.split.Whiteouts, e.path)
			}
			if e.problem == catalog.ProblemChanged && list == &p.split.Unreadable {
				p.split.Changed = append(p.split.Changed, e.path)
			}
		}
	}
	if p.root < 0 || c.Class != claim.Volume {
		return
	}
	v := &p.split.Volumes[p.root]
	v.Entries++
	v.Bytes += e.bytes()
	if e.typ != tree.Regular {
		return
	}
	v.Files++
	if e.size < 4096 {
		v.SmallFiles++
	}
	v.Largest = max(v.Largest, e.size)
	if looksLikeCode(e) {
		v.Code++
	}
}

// looksLikeCode is true for programs and sources by name and mode.
func looksLikeCode(e *node) bool {
	kind := nameKind(e.path.Base(), tree.Regular)
	switch strings.ToLower(extension(e.path)) {
	case ".svg", ".ico", ".html", ".htm", ".css", ".ttf", ".woff", ".woff2", ".eot", ".map":
		return false // content as often as code
	}
	return kind == codeName || kind == anyName && e.mode&0o111 != 0
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

// balance sets what was placed against the source, which is counted on its own.
func (p *placer) balance(ctx context.Context, out *handoff.Split) error {
	for _, c := range claim.Classes() {
		out.Balance.Classes = append(out.Balance.Classes, *p.tally[c])
	}
	total, err := p.cat.Total(ctx)
	if err != nil {
		return err
	}
	out.Balance.Total = handoff.ClassTally(total)
	if !out.Balance.Even() {
		return errors.New("the classes do not add up to the source: this is a bug of statelift")
	}
	return nil
}
