package profile

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Runnable is what a host runs, and by what its applications are recognised.
type Runnable struct {
	Units    []facts.Unit
	Scripts  []facts.Script
	Packages []facts.Package
	// Files lists the host's paths that match a glob; a few are enough. It may
	// be nil: then no application is recognised by its files.
	Files func(glob string) []hostpath.Path
}

// Match says that a unit or script, or the mere presence of files, is an
// application that a profile describes.
type Match struct {
	Profile *Profile
	// Unit is the full name of the unit (for a script see [ScriptUnit]); "" when
	// the application was recognised by its files or packages and runs in
	// another one's process, see Run.PartOf.
	Unit     string
	Evidence claim.Evidence
}

// ScriptUnit is the name of the unit that systemd generates for a System V
// script (systemd-sysv-generator(8)); claims and plans use it for the script.
func ScriptUnit(s facts.Script) string { return s.Name + ".service" }

// CronUnit is the name by which claims and plans speak of a cron job.
func CronUnit(c facts.Cron) string { return "cron:" + c.Name }

// The profiles of what no other profile recognises.
const (
	GenericUnit   = "generic-unit"
	GenericScript = "generic-sysv"
	GenericCron   = "cron"
)

// Find matches profiles with what a host runs, ordered by unit and profile.
// A unit gets one profile: the one that names it most literally. The generic
// profiles are not matched; see [Generic].
func Find(profiles []Profile, host Runnable) []Match {
	var out []Match
	found := map[string]bool{}
	add := func(m Match) {
		out = append(out, m)
		found[m.Profile.Name] = true
	}
	for _, u := range host.Units {
		if u.Type != "service" || strings.HasSuffix(u.Name, "@.service") {
			continue
		}
		var program facts.Directive
		if exec, ok := u.Last("Service", "ExecStart"); ok {
			program = exec
		}
		if p, ok := byUnit(profiles, strings.TrimSuffix(u.Name, ".service"), programOf(program.Value)); ok {
			add(Match{Profile: p, Unit: u.Name, Evidence: claim.Evidence{Path: cmp.Or(program.Path, u.Path), Line: program.Line, Fact: "unit " + u.Name}})
		}
	}
	for _, s := range host.Scripts {
		if p, ok := byUnit(profiles, s.Name, string(s.Daemon)); ok {
			add(Match{Profile: p, Unit: ScriptUnit(s), Evidence: claim.Evidence{Path: s.Path, Fact: "init script " + s.Name}})
		}
	}
	for i := range profiles {
		p := &profiles[i]
		if found[p.Name] {
			continue
		}
		if e, ok := byPresence(p, host); ok {
			add(Match{Profile: p, Evidence: e})
		}
	}
	slices.SortStableFunc(out, func(a, b Match) int {
		return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Profile.Name, b.Profile.Name))
	})
	return out
}

// Generic finds a profile by its name.
func Generic(profiles []Profile, name string) (*Profile, bool) {
	for i := range profiles {
		if profiles[i].Name == name {
			return &profiles[i], true
		}
	}
	return nil, false
}

// byUnit prefers the longest literal pattern of the unit's name to a match by
// program: mariadb@x is mariadb whatever wraps the daemon.
func byUnit(profiles []Profile, name, program string) (*Profile, bool) {
	var best *Profile
	score := -1
	for i := range profiles {
		p := &profiles[i]
		for _, pattern := range p.Recognise.Units {
			if n := 2 * len(strings.Trim(pattern, "*?")); matchName(pattern, name) && n > score {
				best, score = p, n
			}
		}
		for _, pattern := range p.Recognise.Programs {
			if len(p.Run.PartOf) > 0 {
				break
			}
			if program != "" && score < 0 && claim.MatchGlob(hostpath.Path(pattern), hostpath.Clean(program)) {
				best, score = p, 0
			}
		}
	}
	return best, best != nil
}

// byPresence is for applications without a unit. A profile that names units
// needs one: its packages alone may be a client's libraries.
func byPresence(p *Profile, host Runnable) (claim.Evidence, bool) {
	if host.Files != nil {
		for _, glob := range p.Recognise.Files {
			if list := host.Files(glob); len(list) > 0 {
				return claim.Evidence{Path: list[0], Fact: "the file is there"}, true
			}
		}
	}
	if len(p.Recognise.Units) > 0 {
		return claim.Evidence{}, false
	}
	for _, pattern := range p.Recognise.Packages {
		for _, pkg := range host.Packages {
			if matchName(pattern, pkg.Name) {
				return claim.Evidence{Fact: "package " + pkg.Name + " is installed"}, true
			}
		}
	}
	return claim.Evidence{}, false
}

// RunsCode reports whether a path is a program or code of the application.
func (p *Profile) RunsCode(path hostpath.Path) bool {
	return slices.ContainsFunc(p.Recognise.Programs, func(g string) bool { return claim.MatchGlob(hostpath.Path(g), path) })
}

func matchName(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// programOf is the program of an ExecStart= value, without the prefixes of
// systemd.service(5).
func programOf(value string) string {
	value = strings.TrimLeft(value, "-@:+!|")
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		value = value[:i]
	}
	return strings.Trim(value, `"'`)
}

// MatchKey reports whether a pattern selects the key of a setting. Upper and
// lower case are equal, and so are - and _, as MySQL has it; * stands for any
// characters. A pattern without a dot is compared with the last part of the key
// alone: DocumentRoot selects VirtualHost.DocumentRoot.
func MatchKey(pattern, key string) bool {
	pattern, key = foldKey(pattern), foldKey(key)
	if matchName(pattern, key) {
		return true
	}
	return !strings.Contains(pattern, ".") && matchName(pattern, key[strings.LastIndexByte(key, '.')+1:])
}

func foldKey(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.ReplaceAll(s, "/", "\x00")), "-", "_")
}
