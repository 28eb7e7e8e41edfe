package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/shellwords"
	"github.com/statelift/statelift/pipeline/unitfile"
	"github.com/statelift/statelift/stages/scan/collect"
)

// maxFaults is how many faults of one file become problems.
const maxFaults = 20

// unit emits one unit with its drop-ins applied.
func (s *scan) unit(name unitfile.Name, links map[unitfile.Name][]string) error {
	r, ok := s.resolve(name)
	if !ok {
		return nil
	}
	u := facts.Unit{
		Name: string(name), Type: name.Type(), Path: r.path, Instance: name.Instance(),
		Aliases: s.aliases[name], WantedBy: links[name], Masked: r.masked,
	}
	if !r.masked {
		if err := s.load(&u); err != nil {
			return err
		}
		u.Static = !installable(u)
	}
	u.Enabled = len(u.WantedBy) > 0 || s.enabledByAlias(u)
	src := facts.Source{Path: u.Path}
	return s.emit(collect.Found{Kind: facts.KindUnit, Name: u.Name, Source: src, Data: u})
}

func (s *scan) load(u *facts.Unit) error {
	list, err := s.read(u.Path)
	if err != nil {
		return err
	}
	fields := func(d facts.Directive) (string, string, string) { return d.Section, d.Key, d.Value }
	u.Directives = unitfile.Merge(nil, list, fields)
	for _, p := range s.dropIns(unitfile.Name(u.Name), u.Aliases) {
		list, err := s.read(p)
		if err != nil {
			return err
		}
		u.DropIns = append(u.DropIns, p)
		u.Directives = unitfile.Merge(u.Directives, list, fields)
	}
	return nil
}

// read parses one file; what is wrong with it is emitted.
func (s *scan) read(p hostpath.Path) ([]facts.Directive, error) {
	data, err := s.root.ReadFile(p, maxFile)
	if err != nil {
		return nil, s.problem(facts.Source{Path: p}, reason(err))
	}
	list, faults := unitfile.Parse(data)
	for i, f := range faults {
		what := f.What
		if i == maxFaults {
			what = fmt.Sprintf("and %d more faults", len(faults)-maxFaults)
		}
		if err := s.problem(facts.Source{Path: p, Line: f.Line}, what); err != nil {
			return nil, err
		}
		if i == maxFaults {
			break
		}
	}
	out := make([]facts.Directive, 0, len(list))
	for _, a := range list {
		out = append(out, facts.Directive{
			Section: a.Section, Key: a.Key, Value: redact(a.Key, a.Value),
			Source: facts.Source{Path: p, Line: a.Line},
		})
	}
	return out, nil
}

// dropIns are the files that change the unit, in the order in which they are
// applied: by their own name, where of equal names the strongest directory
// wins. A link to /dev/null hides the others of its name.
func (s *scan) dropIns(name unitfile.Name, aliases []string) []hostpath.Path {
	var dirs []hostpath.Path
	for _, n := range append([]string{string(name)}, aliases...) {
		names := unitfile.Name(n).DropInDirs()
		for _, base := range s.dirs {
			for _, sub := range names {
				if p := base.Join(sub); slices.Contains(s.below[sub], p) {
					dirs = append(dirs, p)
				}
			}
		}
	}
	dirs = append(dirs, s.below[name.Type()+".d"]...)
	chosen := map[string]hostpath.Path{}
	for _, dir := range dirs {
		list, err := s.root.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range list {
			if _, ok := chosen[e.Name()]; ok || !strings.HasSuffix(e.Name(), ".conf") || e.IsDir() {
				continue
			}
			p := dir.Join(e.Name())
			if s.isNull(p, e) {
				chosen[e.Name()] = ""
				continue
			}
			fi, err := s.root.Stat(p)
			if errors.Is(err, fs.ErrNotExist) || err == nil && fi.IsDir() {
				continue
			}
			if real, err := s.root.Resolve(p); err == nil {
				p = real
			}
			chosen[e.Name()] = p // reading tells what is wrong with it
		}
	}
	out := make([]hostpath.Path, 0, len(chosen))
	for _, name := range sortedKeys(chosen) {
		if p := chosen[name]; p != "" {
			out = append(out, p)
		}
	}
	return out
}

// installable reports whether [Install] says how to enable the unit.
func installable(u facts.Unit) bool {
	return slices.ContainsFunc(u.Directives, func(d facts.Directive) bool {
		if d.Section != "Install" {
			return false
		}
		switch d.Key {
		case "WantedBy", "RequiredBy", "UpheldBy", "Alias", "Also":
			return true
		}
		return false
	})
}

// enabledByAlias is true when an administrator's link has a name of Alias=.
func (s *scan) enabledByAlias(u facts.Unit) bool {
	for _, d := range u.Values("Install", "Alias") {
		for _, a := range strings.Fields(d.Value) {
			p, ok := s.units[unitfile.Name(a)]
			if ok && slices.Contains(u.Aliases, a) && !p.dir.Within("/usr") && !p.dir.Within("/lib") {
				return true
			}
		}
	}
	return false
}

// redact takes credentials out of a value: of Environment= by the names of the
// variables, of everything else by shape.
func redact(key, value string) string {
	switch key {
	case "Environment":
		return redactEnvironment(value)
	case "SetCredential", "SetCredentialEncrypted":
		id, _, _ := strings.Cut(value, ":")
		return id + ":" + facts.Redacted
	}
	return credential.RedactCommand(value)
}

func redactEnvironment(value string) string {
	var out []string
	for rest := value; ; {
		word, next, ok, err := shellwords.NextSystemd(rest)
		if err != nil {
			return facts.Redacted
		}
		if !ok {
			return strings.Join(out, " ")
		}
		raw := strings.TrimSpace(rest[:len(rest)-len(next)])
		if name, v, ok := strings.Cut(word, "="); ok {
			if clean, secret := credential.Redact(name, v); secret {
				raw = quote(name + "=" + clean)
			}
		}
		out, rest = append(out, raw), next
	}
}

func quote(word string) string {
	if !strings.ContainsAny(word, " \t\"'\\") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
