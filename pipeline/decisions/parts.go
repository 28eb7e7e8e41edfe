package decisions

import (
	"maps"
	"slices"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

// ForSplit is the part that the split reads.
func (d Decisions) ForSplit() SplitPart {
	return SplitPart{
		File: d.File, Accept: d.Accept, Paths: slices.Concat(d.Paths, d.objectPaths()), RulesOff: d.Rules.Off,
		ProfilesOff: d.Profiles.Off, Use: d.uses(), Units: d.Units,
	}
}

// objectPaths are the directories whose files become objects.
func (d Decisions) objectPaths() (out []Path) {
	for _, w := range d.Workloads {
		for _, dir := range w.Directories {
			out = append(out, Path{Path: dir, Class: claim.Object, Reach: claim.Tree, Reason: "externalize: objects", Line: w.Line})
		}
	}
	return out
}

// ForPlan is the part that the plan reads.
func (d Decisions) ForPlan() PlanPart {
	return PlanPart{
		File: d.File, Name: d.Name, Namespace: d.Namespace, RulesOff: d.Rules.Off, ProfilesOff: d.Profiles.Off,
		Use: d.uses(), Units: d.Units, Workloads: d.Workloads, Volumes: d.Volumes, Answers: d.Answers,
		Host: d.Host, Smoke: d.Smoke,
	}
}

func (d Decisions) uses() []Use {
	var out []Use
	for _, unit := range slices.Sorted(maps.Keys(d.Profiles.Use)) {
		out = append(out, Use{Unit: unit, Profile: d.Profiles.Use[unit]})
	}
	return out
}

// At is how evidence names a line of the file.
func (p SplitPart) At(line strictyaml.Line) string { return Decisions{File: p.File}.At(line) }

// At is how evidence names a line of the file.
func (p PlanPart) At(line strictyaml.Line) string { return Decisions{File: p.File}.At(line) }

// Accepts reports whether the user does without the path.
func (p SplitPart) Accepts(path hostpath.Path) (Accept, bool) {
	for _, a := range p.Accept {
		if path.Within(a.Path) {
			return a, true
		}
	}
	return Accept{}, false
}

// Unit finds what was decided about a unit.
func (p SplitPart) Unit(name string) (Unit, bool) { return findUnit(p.Units, name) }

// Unit finds what was decided about a unit.
func (p PlanPart) Unit(name string) (Unit, bool) { return findUnit(p.Units, name) }

func findUnit(units []Unit, name string) (Unit, bool) {
	i := slices.IndexFunc(units, func(u Unit) bool { return u.Unit == name })
	if i < 0 {
		return Unit{}, false
	}
	return units[i], true
}

// Reaches is the reach that the entry has.
func (p Path) Reaches() claim.Reach {
	switch {
	case p.Reach != "":
		return p.Reach
	case claim.IsGlob(p.Path):
		return claim.Glob
	}
	return claim.Tree
}
