package claim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Resolver finds the claims on a path and which of them wins. Its memory grows
// with the claims, not with the paths. It is not safe for concurrent use.
type Resolver struct {
	all    []held
	elems  []string // of the path that was asked last
	exact  map[hostpath.Path][]int
	trees  map[hostpath.Path][]int
	globs  map[hostpath.Path][]int // by the literal directory above the pattern
	every  []int
	mounts map[hostpath.Path]int // a volume's root → the claim of its mount

	// The claims that reach what lies directly in the directory that was asked
	// last: depth first, the next path is most often its neighbour.
	dir   hostpath.Path
	near  []int
	named []int // of near, those that ask for the last element of the path
	above int   // the mount that dir is below of, or -1
	buf   []int

	// The strongest of near without named, and for whom: of neighbours in a
	// directory most differ in nothing but their name.
	best int
	kind Subject // without Path
	held bool
}

type held struct {
	Claim
	when  Condition
	depth int
	rank  int64    // the higher one wins
	elems []string // of a Glob
	must  string   // what every path that the Glob matches holds
}

// NewResolver takes claims with distinct IDs.
func NewResolver(claims ...Claim) (*Resolver, error) {
	r := &Resolver{
		exact: map[hostpath.Path][]int{}, trees: map[hostpath.Path][]int{},
		globs: map[hostpath.Path][]int{}, mounts: map[hostpath.Path]int{},
	}
	for _, c := range claims {
		if err := r.Add(c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Add adds one claim. A claim of authority [ByMount] speaks of everything below
// the root of a volume.
func (r *Resolver) Add(c Claim) error {
	when, err := ParseCondition(c.When)
	if err != nil {
		return fmt.Errorf("claim %d on %s: %w", c.ID, c.Path, err)
	}
	i, h := len(r.all), held{Claim: c, when: when, depth: depth(c)}
	h.rank = int64(c.Authority)<<32 | int64(h.depth)<<4 | int64(slices.Index(byReach, c.Reach))
	switch c.Reach {
	case Exact:
		r.exact[c.Path] = append(r.exact[c.Path], i)
	case Tree:
		if c.Authority == ByMount {
			r.mounts[c.Path] = i
			break
		}
		r.trees[c.Path] = append(r.trees[c.Path], i)
	case Glob:
		if err := CheckGlob(c.Path); err != nil {
			return fmt.Errorf("claim %d: %w", c.ID, err)
		}
		h.elems = patternElements(c.Path)
		h.must = longestLiteral(h.elems)
		base := Base(c.Path)
		r.globs[base] = append(r.globs[base], i)
	case Every:
		r.every = append(r.every, i)
	default:
		return fmt.Errorf("claim %d on %s: unknown reach %q", c.ID, c.Path, c.Reach)
	}
	r.all = append(r.all, h)
	r.dir, r.near = "", nil
	return nil
}

// depth is how special a claim's path is: its elements, without **.
func depth(c Claim) int {
	if c.Reach == Every {
		return 0
	}
	n := 0
	for _, e := range elements(c.Path) {
		if c.Reach != Glob || e != "**" {
			n++
		}
	}
	return n
}

// Winner is the claim that decides about s; ok is false when none reaches it.
func (r *Resolver) Winner(s Subject) (c Claim, ok bool) {
	best := -1
	r.look(s.Path)
	if kind := s.kind(); !r.held || kind != r.kind {
		best := -1
		for _, i := range r.near {
			if h := &r.all[i]; !h.named() && r.stronger(i, best) && h.when.Holds(s) {
				best = i
			}
		}
		r.best, r.kind, r.held = best, kind, true
	}
	best, r.elems = r.best, nil
	for _, i := range r.named {
		if h := &r.all[i]; r.stronger(i, best) && (h.Reach != Glob || r.matches(h, s.Path)) && h.when.Holds(s) {
			best = i
		}
	}
	for _, list := range [...][]int{r.exact[s.Path], r.trees[s.Path]} {
		for _, i := range list {
			if r.stronger(i, best) && r.all[i].when.Holds(s) {
				best = i
			}
		}
	}
	if m, below := r.mount(s.Path); below && (best < 0 || !stays(r.all[best].Claim, r.all[m].Path)) {
		best = m
	}
	if best < 0 {
		return Claim{}, false
	}
	return r.all[best].Claim, true
}

// kind is all of s that its neighbours may share.
func (s Subject) kind() Subject {
	s.Path = ""
	return s
}

// named is true for claims that look at the last element of a path.
func (h *held) named() bool { return h.Reach == Glob || h.when.asks("name") }

func (r *Resolver) stronger(i, best int) bool { return best < 0 || r.order(i, best) < 0 }

// Claimant is one claim on a path.
type Claimant struct {
	Claim
	// Lost says why another claim won; "" for the winner.
	Lost string `json:"lost,omitempty"`
}

// Claimants are all claims on s, the winner first, then the others from the
// strongest to the weakest.
func (r *Resolver) Claimants(s Subject) []Claimant {
	list := slices.Clone(r.reaching(s))
	slices.SortFunc(list, r.order)
	mounted := false
	if m, below := r.mount(s.Path); below && (len(list) == 0 || !stays(r.all[list[0]].Claim, r.all[m].Path)) {
		list, mounted = slices.Insert(list, 0, m), true
	}
	out := make([]Claimant, len(list))
	for n, i := range list {
		out[n].Claim = r.all[i].Claim
		if n > 0 {
			out[n].Lost = r.why(list[0], i, mounted)
		}
	}
	return out
}

// stays is true for claims that hold below the root of a volume too: what is in
// the volume anyway, what leaves it (objects, and what only a host needs and a
// rule names by its place), and what the user or nature decides. All else would
// be hidden by the mount.
func stays(c Claim, root hostpath.Path) bool {
	switch {
	case c.Class == Volume, c.Class == Object, c.Authority >= ByUser:
		return true
	case c.Class != Drop || c.Authority < ByHost:
		return false
	case c.Reach == Glob:
		return true
	}
	return c.Reach != Every && c.Path != root && c.Path.Within(root)
}

// mount is the topmost mount that p is below of, or at.
func (r *Resolver) mount(p hostpath.Path) (int, bool) {
	if len(r.mounts) == 0 {
		return 0, false
	}
	r.look(p)
	if r.above >= 0 {
		return r.above, true
	}
	i, is := r.mounts[p]
	return i, is
}

// reaching lists the claims that reach s; the slice is valid until the next call.
func (r *Resolver) reaching(s Subject) []int {
	r.look(s.Path)
	r.buf, r.elems = r.buf[:0], nil
	for _, i := range r.near {
		if h := &r.all[i]; h.when.Holds(s) && (h.Reach != Glob || r.matches(h, s.Path)) {
			r.buf = append(r.buf, i)
		}
	}
	for _, list := range [][]int{r.exact[s.Path], r.trees[s.Path]} {
		for _, i := range list {
			if r.all[i].when.Holds(s) {
				r.buf = append(r.buf, i)
			}
		}
	}
	return r.buf
}

func (r *Resolver) matches(h *held, p hostpath.Path) bool {
	if !strings.Contains(string(p), h.must) {
		return false
	}
	if r.elems == nil {
		r.elems = elements(p)
	}
	return matchElements(h.elems, r.elems)
}

// look collects what reaches the paths in the directory of p, without their own
// Exact and Tree claims. The root is in no directory.
func (r *Resolver) look(p hostpath.Path) {
	dir := p.Dir()
	if p == hostpath.Root {
		dir = ""
	}
	if r.near != nil && dir == r.dir {
		return
	}
	r.near = append(make([]int, 0, len(r.every)+8), r.every...)
	r.dir, r.above, r.held = dir, -1, false
	for d := dir; d != ""; d = d.Dir() {
		r.near = append(append(r.near, r.trees[d]...), r.globs[d]...)
		if i, is := r.mounts[d]; is {
			r.above = i // the topmost one counts
		}
		if d == hostpath.Root {
			break
		}
	}
	r.named = r.named[:0]
	for _, i := range r.near {
		if r.all[i].named() {
			r.named = append(r.named, i)
		}
	}
}

// order is negative when claim a wins over claim b.
func (r *Resolver) order(a, b int) int {
	x, y := &r.all[a], &r.all[b]
	if x.rank != y.rank {
		return cmp.Compare(y.rank, x.rank)
	}
	return cmp.Compare(x.ID, y.ID)
}

// byReach is from the weakest to the strongest.
var byReach = []Reach{Every, Tree, Glob, Exact}

func (r *Resolver) why(winner, loser int, mounted bool) string {
	w, l := &r.all[winner], &r.all[loser]
	switch {
	case mounted:
		return "the mount of the volume " + w.Path.String() + " hides what the image has there"
	case w.Authority != l.Authority:
		return fmt.Sprintf("%s outweighs %s", w.Authority, l.Authority)
	case w.depth != l.depth:
		return "the other claim names a deeper path"
	case w.Reach != l.Reach:
		return fmt.Sprintf("%s is closer than %s", w.Reach, l.Reach)
	}
	if w.Class == l.Class {
		if l.Serves != w.Serves && l.Serves != "" {
			return "it says the same, for " + l.Serves
		}
		return "it says the same"
	}
	return "the other claim was made earlier"
}
