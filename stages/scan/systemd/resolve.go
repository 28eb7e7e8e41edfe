package systemd

import (
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// resolved is the unit that a name stands for.
type resolved struct {
	name   unitfile.Name // without aliases
	path   hostpath.Path // its main file: of the template for an instance without a file
	masked bool
}

// resolve follows aliases, and from an instance to its template. ok is false
// for a name without a file.
func (s *scan) resolve(name unitfile.Name) (u resolved, ok bool) {
	for range maxHops {
		p, found := s.units[name]
		if !found && name.IsInstance() {
			t, ok := s.resolve(name.Template())
			if ok {
				t.name = t.name.Of(name.Instance())
			}
			return t, ok
		}
		switch {
		case !found:
			return resolved{}, false
		case !p.link:
			return s.regular(name, p.dir.Join(string(name)))
		case p.target == "/dev/null":
			return resolved{name: name, path: p.dir.Join(string(name)), masked: true}, true
		}
		target := unitfile.Name(p.target.Base())
		switch {
		case target == name, !s.searched(p.target.Dir()), !target.Valid():
			// A unit file that lies elsewhere and was linked here.
			return s.regular(name, p.target)
		case target.IsTemplate() && name.IsInstance():
			if target == name.Template() {
				return s.regular(name, p.target)
			}
			target = target.Of(name.Instance())
		case target.Type() != name.Type():
			return resolved{}, false // systemd refuses such an alias
		}
		name = target
	}
	return resolved{}, false
}

// regular is a unit whose file is p, or is masked since that is empty.
func (s *scan) regular(name unitfile.Name, p hostpath.Path) (resolved, bool) {
	fi, err := s.root.Stat(p)
	if err != nil {
		return resolved{}, false
	}
	// The path without links is the one that has an owner and a class.
	real, err := s.root.Resolve(p)
	switch {
	case err != nil:
		return resolved{}, false
	case real == "/dev/null":
		return resolved{name: name, path: p, masked: true}, true
	case !fi.Mode().IsRegular():
		return resolved{}, false
	}
	return resolved{name: name, path: real, masked: fi.Size() == 0}, true
}

// searched reports whether dir is one of the search directories, by whatever
// name.
func (s *scan) searched(dir hostpath.Path) bool {
	if slices.Contains(s.dirs, dir) {
		return true
	}
	real, err := s.root.Resolve(dir)
	if err != nil {
		return false
	}
	for _, d := range s.dirs {
		if r, err := s.root.Resolve(d); err == nil && r == real {
			return true
		}
	}
	return false
}

// names are the units to report: those with a file and the instances that
// links ask for, without aliases, sorted. As a side effect aliases are noted.
func (s *scan) names(links map[unitfile.Name][]string) []unitfile.Name {
	s.aliases = map[unitfile.Name][]string{}
	set := map[unitfile.Name]bool{}
	for name := range s.units {
		u, ok := s.resolve(name)
		switch {
		case !ok, !reported(name.Type()):
		case u.name != name:
			s.aliases[u.name] = append(s.aliases[u.name], string(name))
			set[u.name] = true
		default:
			set[name] = true
		}
	}
	for name := range links {
		if reported(name.Type()) {
			set[name] = true
		}
	}
	list := make([]unitfile.Name, 0, len(set))
	for name := range set {
		slices.Sort(s.aliases[name])
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b unitfile.Name) int { return strings.Compare(string(a), string(b)) })
	return list
}

// reported leaves out what only groups processes or stands for hardware.
func reported(unitType string) bool {
	switch unitType {
	case "slice", "scope", "device":
		return false
	}
	return true
}
