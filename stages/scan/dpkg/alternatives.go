package dpkg

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/stages/scan/collect"
)

// maxAdmin bounds the other files of the database.
const maxAdmin = 16 << 20

// diversions reads /var/lib/dpkg/diversions (dpkg-divert(1)): three lines for
// each, the path, where it went, and the package, a colon for a local one.
func (l *loader) diversions() error {
	const name = admin + "/diversions"
	data, err := l.root.ReadFile(name, maxAdmin)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return l.problem(facts.Source{Path: name}, err.Error())
	}
	list := splitLines(string(data))
	for i := 0; i < len(list); i += 3 {
		src := facts.Source{Path: name, Line: i + 1}
		if i+3 > len(list) || !strings.HasPrefix(list[i], "/") || !strings.HasPrefix(list[i+1], "/") || list[i+2] == "" {
			return l.problem(src, "not a diversion: the rest of the file is not used")
		}
		d := facts.Diversion{From: hostpath.Clean(list[i]), To: hostpath.Clean(list[i+1])}
		if list[i+2] != ":" {
			d.Package = list[i+2]
		}
		l.diverts[string(d.From)] = diverted{to: string(d.To), except: d.Package}
		if err := l.emit(collect.Found{Kind: facts.KindDiversion, Name: d.From.String(), Source: src, Data: d}); err != nil {
			return err
		}
	}
	return nil
}

// alternatives reads /var/lib/dpkg/alternatives (update-alternatives(1)): a
// group in each file, of which the followers (manual pages, mostly) become facts
// of their own, since each has a link.
func (l *loader) alternatives() error {
	const dir = admin + "/alternatives"
	list, err := l.root.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return l.problem(facts.Source{Path: dir}, err.Error())
	}
	for _, e := range list {
		name := dir.Join(e.Name())
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), ".dpkg-tmp") {
			continue
		}
		data, err := l.root.ReadFile(name, maxAdmin)
		if err != nil {
			if err := l.problem(facts.Source{Path: name}, err.Error()); err != nil {
				return err
			}
			continue
		}
		group, line, fault := parseAlternative(e.Name(), string(data))
		if fault != "" {
			if err := l.problem(facts.Source{Path: name, Line: line}, fault); err != nil {
				return err
			}
			continue
		}
		for i, a := range group {
			src := facts.Source{Path: name, Line: 2 + 2*i}
			if err := l.emit(collect.Found{Kind: facts.KindAlternative, Name: a.Name, Source: src, Data: a}); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseAlternative reads one file: the mode, the link of the leader, then name
// and link of each follower up to an empty line. The choices that come after
// are not used: the link on the disk says which was taken.
func parseAlternative(name, data string) (_ []facts.Alternative, line int, fault string) {
	list := splitLines(data)
	if len(list) < 2 || list[0] != "auto" && list[0] != "manual" {
		return nil, 1, "neither auto nor manual"
	}
	if !strings.HasPrefix(list[1], "/") {
		return nil, 2, "the link is not an absolute path"
	}
	auto := list[0] == "auto"
	out := []facts.Alternative{{Name: name, Link: hostpath.Clean(list[1]), Auto: auto}}
	for i := 2; i < len(list) && list[i] != ""; i += 2 {
		if i+1 >= len(list) || !strings.HasPrefix(list[i+1], "/") {
			return nil, i + 1, "a follower without an absolute link"
		}
		out = append(out, facts.Alternative{Name: list[i], Link: hostpath.Clean(list[i+1]), Auto: auto})
	}
	return out, 0, ""
}

// splitLines splits at newlines, of which the last ends the last line.
func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}
