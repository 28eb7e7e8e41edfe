package claim

import (
	"fmt"
	"path"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// MatchGlob reports whether p matches the pattern element by element: each is a
// pattern of [path.Match], and ** stands for any number of elements, also none;
// at the end for at least one, so that /a/** is what lies below /a. No pattern
// matches the root.
// A pattern that path.Match refuses matches nothing; see [CheckGlob].
func MatchGlob(pattern, p hostpath.Path) bool {
	if p == hostpath.Root {
		return false
	}
	return matchElements(patternElements(pattern), elements(p))
}

// matchElements goes back to the last ** only, which suffices: an earlier one
// could not match more. So the work is at most len(pat) × len(elems).
func matchElements(pat, elems []string) bool {
	i, j, star, from := 0, 0, -1, 0
	for j < len(elems) {
		switch {
		case i < len(pat) && pat[i] == "**":
			star, from = i, j
			i++
		case i < len(pat) && matchElement(pat[i], elems[j]):
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(pat) && pat[i] == "**" {
		i++
	}
	return i == len(pat)
}

// patternElements makes "at least one element" of a ** at the end.
func patternElements(pattern hostpath.Path) []string {
	elems := elements(pattern)
	if n := len(elems); n > 0 && elems[n-1] == "**" {
		elems = append(elems, "*")
	}
	return elems
}

// longestLiteral is a part of a pattern that stands in every path it matches: a
// quick look for it spares the match.
func longestLiteral(elems []string) string {
	longest := ""
	for _, e := range elems {
		for _, part := range strings.FieldsFunc(e, func(r rune) bool { return r == '*' || r == '?' }) {
			if !strings.ContainsAny(e, `[\`) && len(part) > len(longest) {
				longest = part
			}
		}
		if i := strings.IndexAny(e, `*?[\`); i > len(longest) {
			longest = e[:i]
		}
	}
	return longest
}

func matchElement(pattern, elem string) bool {
	ok, err := path.Match(pattern, elem)
	return ok && err == nil
}

func elements(p hostpath.Path) []string {
	if p == hostpath.Root {
		return nil
	}
	return strings.Split(string(p[1:]), "/")
}

// CheckGlob says what is wrong with a pattern.
func CheckGlob(pattern hostpath.Path) error {
	for _, e := range elements(pattern) {
		if _, err := path.Match(e, ""); err != nil {
			return fmt.Errorf("pattern %s: %w", pattern, err)
		}
	}
	return nil
}

// IsGlob reports whether p holds a character that a pattern gives a meaning.
func IsGlob(p hostpath.Path) bool { return strings.ContainsAny(string(p), `*?[`) }

// Base is the deepest directory above everything that the pattern can match.
func Base(pattern hostpath.Path) hostpath.Path {
	base := hostpath.Root
	elems := elements(pattern)
	for i, e := range elems {
		if i == len(elems)-1 || strings.ContainsAny(e, `*?[\`) {
			break
		}
		base = base.Join(e)
	}
	return base
}

// Literal is the pattern that matches p and nothing else.
func Literal(p hostpath.Path) hostpath.Path {
	return hostpath.Path(strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(string(p)))
}
