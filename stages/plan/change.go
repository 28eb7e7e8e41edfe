package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// change applies one entry of a profile to the files of the service.
func (p *planner) change(ctx context.Context, d *draft, s *service, q *profile.Profile, c profile.Change, srv server) (why string) {
	if c.Pattern != "" {
		return p.changePattern(ctx, d, s, c, srv)
	}
	value := srv.fill(c.Value)
	said := map[hostpath.Path]bool{} // files that have one of the settings
	var files []hostpath.Path
	for _, v := range p.host.settings {
		if v.Profile != q.Name {
			continue
		}
		if !slices.Contains(files, v.Path) {
			files = append(files, v.Path)
		}
		if v.Secret || !slices.ContainsFunc(c.Settings, func(g string) bool { return profile.MatchKey(g, v.Key) }) {
			continue
		}
		said[v.Path] = true
		if c.Flag && !isOn(v.Value) || !c.Flag && !p.isOwnList(v.Value) {
			continue
		}
		text, why := p.textOf(ctx, v.Path)
		if why != "" {
			return why
		}
		e, ok := replaceValue(text, v.Line, v.Key, v.Value, value)
		if !ok {
			return fmt.Sprintf("%s in %s is not written so that it could be replaced", v.Key, place(v.Source))
		}
		d.edit(s, v.Source, e, handoff.Rewrite{What: v.Key, Old: v.Value, New: value, Why: c.Why})
	}
	if c.Absent == "" {
		return ""
	}
	if s == srv.s { // a server's files are one configuration
		if len(said) > 0 {
			return ""
		}
		files = slices.DeleteFunc(files, func(f hostpath.Path) bool {
			return !slices.ContainsFunc(q.Settings, func(x profile.Settings) bool { return profile.In(x.Files, f) })
		})
		files = files[:min(1, len(files))]
	}
	return p.addAbsent(ctx, d, s, q, c, srv, files, said)
}

// addAbsent adds the line to the files that say nothing.
func (p *planner) addAbsent(ctx context.Context, d *draft, s *service, q *profile.Profile, c profile.Change, srv server, files []hostpath.Path, said map[hostpath.Path]bool) (why string) {
	for _, f := range files {
		if said[f] {
			continue
		}
		text, why := p.textOf(ctx, f)
		if why != "" {
			return why
		}
		line := srv.fill(c.Absent)
		e, n, ok := addLine(text, c.After, line)
		if !ok {
			return fmt.Sprintf("%s has no line %s", f, c.After)
		}
		d.edit(s, facts.Source{Path: f, Line: n}, e, handoff.Rewrite{What: strings.Join(c.Settings, ", "), New: line, Why: c.Why})
	}
	if len(files) == 0 {
		return fmt.Sprintf("no configuration of %s was read", firstOf(q.Title, q.Name))
	}
	return ""
}

// changePattern is for files of which no settings are read.
func (p *planner) changePattern(ctx context.Context, d *draft, s *service, c profile.Change, srv server) (why string) {
	value := srv.fill(c.Value)
	return p.eachMatch(ctx, c.Files, c.Pattern, func(f hostpath.Path, text string, m match) {
		old := text[m.start:m.end]
		if !p.isOwnList(old) {
			return
		}
		what := text[strings.LastIndexByte(text[:m.start], '\n')+1 : m.start]
		d.edit(s, facts.Source{Path: f, Line: m.line}, handoff.Edit{At: int64(m.start), Old: old, New: value}, handoff.Rewrite{
			What: strings.TrimSpace(what), Old: old, New: value, Why: c.Why,
		})
	})
}

// isOwnList reports whether every address of a list leads to the host itself.
func (p *planner) isOwnList(value string) bool {
	list := strings.FieldsFunc(strings.Trim(value, `'"`), func(r rune) bool { return r == ' ' || r == ',' })
	return len(list) > 0 && !slices.ContainsFunc(list, func(a string) bool { return !p.isOwn(strings.TrimPrefix(a, "-")) })
}

// isOn is the value of an option whose presence is enough.
func isOn(value string) bool { return value == "" || isTrue(value) }
