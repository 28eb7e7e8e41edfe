package claim

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Pattern is a pattern of [MatchGlob] that is made ready, for many paths.
type Pattern struct {
	elems  []string
	prefix string // of every path that it matches
	must   string // what stands in every path that it matches
}

// NewPattern takes any pattern; one that path.Match refuses matches nothing.
func NewPattern(pattern hostpath.Path) Pattern {
	g := Pattern{elems: patternElements(pattern), prefix: string(pattern)}
	if i := strings.IndexAny(g.prefix, `*?[\`); i >= 0 {
		g.prefix = g.prefix[:i]
	}
	g.must = longestLiteral(g.elems)
	return g
}

// Prefix is what every path that the pattern matches begins with.
func (g Pattern) Prefix() string { return g.prefix }

// Match is MatchGlob.
func (g Pattern) Match(p hostpath.Path) bool {
	return p != hostpath.Root && strings.HasPrefix(string(p), g.prefix) && strings.Contains(string(p), g.must) && matchElements(g.elems, elements(p))
}

// Below tells whether any path below dir can match.
func (g Pattern) Below(dir hostpath.Path) bool {
	for i, e := range elements(dir) {
		switch {
		case i >= len(g.elems):
			return false
		case g.elems[i] == "**":
			return true
		case !matchElement(g.elems[i], e):
			return false
		}
	}
	return len(elements(dir)) < len(g.elems)
}
