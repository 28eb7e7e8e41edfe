package claim

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// Subject is what a claim can ask about a path of the inventory.
type Subject struct {
	Path    hostpath.Path
	Type    tree.Type
	Package string // that owns the path
	State   string // as compared with the package, see catalog.State
	Problem string // why it could not be read
	FS      string // type of another file system mounted here
}

// Condition narrows a claim to some of the paths that it reaches. Its text is a
// list of terms, all of which must hold, separated by spaces:
//
//	type=f,l       one of these types
//	state=same     one of these states; package=, problem=, fs= likewise
//	package=       the value is empty: no package owns the path
//	package=*      the value is not empty; values are patterns of path.Match
//	state!=same    none of these
//	name=*.log     the last element of the path
//
// The empty condition always holds.
type Condition []term

type term struct {
	key    string
	not    bool
	values []string
}

// ParseCondition reads the text of a condition.
func ParseCondition(text string) (Condition, error) {
	var c Condition
	for _, f := range strings.Fields(text) {
		key, values, ok := strings.Cut(f, "=")
		if !ok {
			return nil, fmt.Errorf("condition %q: %q has no =", text, f)
		}
		t := term{key: strings.TrimSuffix(key, "!"), not: strings.HasSuffix(key, "!"), values: strings.Split(values, ",")}
		if _, ok := (Subject{}).value(t.key); !ok {
			return nil, fmt.Errorf("condition %q: unknown key %q (type, package, state, problem, fs, name)", text, t.key)
		}
		for _, v := range t.values {
			if _, err := path.Match(v, ""); err != nil {
				return nil, fmt.Errorf("condition %q: %w", text, err)
			}
		}
		c = append(c, t)
	}
	return c, nil
}

func (s Subject) value(key string) (string, bool) {
	switch key {
	case "type":
		return string(s.Type), true
	case "package":
		return s.Package, true
	case "state":
		return s.State, true
	case "problem":
		return s.Problem, true
	case "fs":
		return s.FS, true
	case "name":
		return s.Path.Base(), true
	}
	return "", false
}

// asks reports whether a term is about the key.
func (c Condition) asks(key string) bool {
	return slices.ContainsFunc(c, func(t term) bool { return t.key == key })
}

// Holds reports whether every term is true of s.
func (c Condition) Holds(s Subject) bool {
	for _, t := range c {
		value, _ := s.value(t.key)
		if slices.ContainsFunc(t.values, func(pattern string) bool { return matchValue(pattern, value) }) == t.not {
			return false
		}
	}
	return true
}

func matchValue(pattern, value string) bool {
	switch pattern {
	case "":
		return value == ""
	case "*":
		return value != ""
	case value:
		return true
	}
	ok, err := path.Match(pattern, value)
	return err == nil && ok
}
