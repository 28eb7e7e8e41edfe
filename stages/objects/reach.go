package objects

import (
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// reach is where paths of class object may be: where the claims lead that say so.
type reach struct {
	deep  map[hostpath.Path]int // directory → how many elements a path below has at most; -1 is any number
	exact map[hostpath.Path]bool
	way   map[hostpath.Path]bool // to one of them, and they themselves
}

func reachOf(claims []claim.Claim) reach {
	r := reach{deep: map[hostpath.Path]int{}, exact: map[hostpath.Path]bool{}, way: map[hostpath.Path]bool{}}
	for _, c := range claims {
		if c.Class != claim.Object {
			continue
		}
		switch c.Reach {
		case claim.Exact:
			r.exact[c.Path] = true
			r.lead(c.Path)
		case claim.Glob:
			n := elements(c.Path)
			if strings.Contains(string(c.Path), "**") {
				n = -1
			}
			r.widen(claim.Base(c.Path), n)
		case claim.Tree:
			r.widen(c.Path, -1)
		case claim.Every:
			r.widen(hostpath.Root, -1)
		}
	}
	return r
}

func elements(p hostpath.Path) int {
	if p == hostpath.Root {
		return 0
	}
	return strings.Count(string(p), "/")
}

func (r reach) widen(dir hostpath.Path, n int) {
	if have, ok := r.deep[dir]; !ok || have >= 0 && (n < 0 || n > have) {
		r.deep[dir] = n
	}
	r.lead(dir)
}

func (r reach) lead(p hostpath.Path) {
	for ; !r.way[p]; p = p.Dir() {
		r.way[p] = true
	}
}

// has reports whether a path, or one below it, may be of class object.
func (r reach) has(p hostpath.Path) bool {
	if r.way[p] {
		return true
	}
	n := elements(p)
	for d := p; ; {
		d = d.Dir()
		if most, ok := r.deep[d]; ok && (most < 0 || n <= most) {
			return true
		}
		if d == hostpath.Root {
			return false
		}
	}
}

// tops are the paths to begin at, none below another, in the order of the index.
func (r reach) tops() []hostpath.Path {
	var all []hostpath.Path
	for p := range r.deep {
		all = append(all, p)
	}
	for p := range r.exact {
		all = append(all, p)
	}
	slices.SortFunc(all, hostpath.Compare)
	var out []hostpath.Path
	for _, p := range all {
		if n := len(out); n == 0 || !p.Within(out[n-1]) {
			out = append(out, p)
		}
	}
	return out
}
