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
	return matchElements(elements(pattern), elements(p))
}

func matchElements(pat, elems []string) bool {
	for len(pat) > 0 {
		if pat[0] == "**" {
			if len(pat) == 1 {
				return len(elems) > 0
			}
			for skip := range len(elems) + 1 {
				if matchElements(pat[1:], elems[skip:]) {
					return true
				}
			}
			return false
		}
		if len(elems) == 0 {
			return false
		}
		if ok, err := path.Match(pat[0], elems[0]); err != nil || !ok {
			return false
		}
		pat, elems = pat[1:], elems[1:]
	}
	return len(elems) == 0
}

func elements(p hostpath.Path) []string {
	if p == hostpath.Root {
		return nil
	}
	return strings.Split(string(p[1:]), "/")
}

// maxStars bounds the work of one match against a hostile name.
const maxStars = 3

// CheckGlob says what is wrong with a pattern.
func CheckGlob(pattern hostpath.Path) error {
	stars := 0
	for _, e := range elements(pattern) {
		if e == "**" {
			stars++
			continue
		}
		if _, err := path.Match(e, ""); err != nil {
			return fmt.Errorf("pattern %s: %w", pattern, err)
		}
	}
	if stars > maxStars {
		return fmt.Errorf("pattern %s: more than %d times **", pattern, maxStars)
	}
	return nil
}

// IsGlob reports whether p holds a character that a pattern gives a meaning.
func IsGlob(p hostpath.Path) bool { return strings.ContainsAny(string(p), `*?[`) }

// literal is the deepest directory above everything that the pattern can match.
func literal(pattern hostpath.Path) hostpath.Path {
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
