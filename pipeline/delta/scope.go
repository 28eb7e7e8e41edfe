package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Scope says which paths below a volume's root are of the volume: by the nearest
// rule at or above a path, and all where there is none. Paths that are new since
// the scan fall under the rule of the directory that they are in. The zero Scope
// has everything in.
type Scope struct {
	rules map[hostpath.Path]Rule
}

// Rule is of a path and what is below it.
type Rule string

// The rules.
const (
	In   Rule = "in"   // of the volume, and what is below it
	Out  Rule = "out"  // neither
	Only Rule = "only" // of the volume itself, but not what is below it
)

// Set gives a path, relative to the volume, a rule, if that makes a difference.
func (s *Scope) Set(p hostpath.Path, r Rule) {
	if above := s.below(p); above == r {
		return
	}
	if s.rules == nil {
		s.rules = map[hostpath.Path]Rule{}
	}
	s.rules[p] = r
}

// Has reports whether a path is of the volume.
func (s *Scope) Has(p hostpath.Path) bool {
	if len(s.rules) == 0 {
		return true
	}
	if r, ok := s.rules[p]; ok {
		return r != Out
	}
	return s.below(p) == In
}

// below is what goes for p if it has no rule itself: In or Out.
func (s *Scope) below(p hostpath.Path) Rule {
	for len(s.rules) > 0 && p != hostpath.Root {
		p = p.Dir()
		if r, ok := s.rules[p]; ok {
			if r == In {
				return In
			}
			return Out
		}
	}
	return In
}

const scopeFile = "scope.json"

func (s *Scope) write(dir string) error {
	data, err := json.MarshalIndent(s.rules, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, scopeFile), append(data, '\n'), 0o600)
}

func readScope(dir string) (Scope, error) {
	var s Scope
	data, err := os.ReadFile(filepath.Join(dir, scopeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s.rules)
	}
	if err != nil {
		return s, fmt.Errorf("scope of a volume: %w", err)
	}
	for p, r := range s.rules {
		if r != In && r != Out && r != Only {
			return s, fmt.Errorf("scope of a volume: %s has the unknown rule %q", p, r)
		}
	}
	return s, nil
}
