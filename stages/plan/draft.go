package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// draft are rewrites that belong together: all are made, or none.
type draft struct {
	changes []change
}

// change is one rewrite and what it does: an edit of a file of the host, another
// value of a variable or word, more arguments, an account.
type change struct {
	handoff.Rewrite
	s        *service
	edit     *handoff.Edit
	variable string
	within   *handoff.Edit // of the variable's value
	value    string
	word     int // of the command, when value is set without a variable
	args     []string
	account  string
}

func (p *planner) newDraft() *draft { return &draft{} }

func (d *draft) size() int { return len(d.changes) }

func (d *draft) join(other *draft) { d.changes = append(d.changes, other.changes...) }

func (d *draft) edit(s *service, at facts.Source, e handoff.Edit, r handoff.Rewrite) {
	r.Source = at
	d.changes = append(d.changes, change{Rewrite: r, s: s, edit: &e})
}

func (d *draft) setVariable(s *service, name, value, why string) {
	old := s.env.vars[name]
	d.changes = append(d.changes, change{
		Rewrite: handoff.Rewrite{What: "variable " + name, Old: old.value, New: value, Why: why, Source: facts.Source{Path: old.file}},
		s:       s, variable: name, value: value,
	})
}

// editVariable is for a credential: only the address in it is shown, and the
// value stays in its Secret.
func (d *draft) editVariable(s *service, name string, e handoff.Edit, why string) {
	d.changes = append(d.changes, change{
		Rewrite: handoff.Rewrite{What: "variable " + name, Old: e.Old, New: e.New, Why: why, Source: facts.Source{Path: s.env.vars[name].file}},
		s:       s, variable: name, within: &e,
	})
}

func (d *draft) setWord(s *service, i int, value, why string) {
	r := handoff.Rewrite{What: "command", Old: s.box.Command[i], New: value, Why: why}
	if exec, ok := s.unit.Last("Service", "ExecStart"); ok {
		r.Source = exec.Source
	}
	d.changes = append(d.changes, change{Rewrite: r, s: s, word: i, value: value})
}

func (d *draft) addArgs(s *service, args []string, why string) {
	d.changes = append(d.changes, change{Rewrite: handoff.Rewrite{What: "command", New: strings.Join(args, " "), Why: why}, s: s, args: args})
}

// touches reports whether an edit is made in that line.
func (d *draft) touches(at facts.Source) bool {
	return slices.ContainsFunc(d.changes, func(c change) bool { return c.edit != nil && c.Source == at })
}

// textOf reads a file that may be rewritten: one that the image or a ConfigMap or
// Secret brings. A volume is proved to be as it was, so that nothing in it is.
func (p *planner) textOf(ctx context.Context, path hostpath.Path) (text, why string) {
	e, err := p.host.cat.Lookup(ctx, path)
	switch {
	case errors.Is(err, catalog.ErrNoPath):
		return "", fmt.Sprintf("%s is not in the inventory", path)
	case err != nil:
		return "", err.Error()
	case e.Type != tree.Regular || e.Size > maxTable:
		return "", fmt.Sprintf("%s is no file of configuration", path)
	case !slices.Contains([]claim.Class{claim.Image, claim.Config, claim.Secret}, e.Class):
		return "", fmt.Sprintf("%s is of class %s, where nothing is rewritten", path, e.Class)
	}
	data, err := p.host.root.ReadFile(path, maxTable)
	if err != nil {
		return "", err.Error()
	}
	return string(data), ""
}

// eachMatch calls each for what a pattern finds in the files that the globs
// name, of which no settings are read.
func (p *planner) eachMatch(ctx context.Context, globs []string, pattern string, each func(hostpath.Path, string, match)) (why string) {
	for _, g := range globs {
		files, err := p.host.matching(ctx, g, 64)
		if err != nil {
			return err.Error()
		}
		for _, f := range files {
			text, why := p.textOf(ctx, f)
			if why != "" {
				return why
			}
			for _, m := range matches(text, pattern) {
				each(f, text, m)
			}
		}
	}
	return ""
}

// fits looks for edits of a file that meet: in the same place there can be only
// one.
func (p *planner) fits(open, d *draft) (why string) {
	for _, c := range d.changes {
		if c.edit == nil {
			continue
		}
		others := slices.Clone(p.edits[c.Path])
		for _, o := range open.changes {
			if o.edit != nil && o.Path == c.Path {
				others = append(others, *o.edit)
			}
		}
		for _, o := range others {
			if o != *c.edit && o.At < c.edit.At+int64(len(c.edit.Old)) && c.edit.At < o.At+int64(len(o.Old)) {
				return fmt.Sprintf("%s leads to another server, too", place(c.Source))
			}
		}
	}
	return ""
}

// apply makes the changes of a draft.
func (p *planner) apply(d *draft) {
	if p.edits == nil {
		p.edits, p.readers = map[hostpath.Path][]handoff.Edit{}, map[hostpath.Path][]*service{}
	}
	for _, c := range d.changes {
		box := p.podOf(c.s).Name + "/" + c.s.box.Name
		switch {
		case c.edit != nil:
			if !slices.Contains(p.edits[c.Path], *c.edit) {
				p.edits[c.Path] = append(p.edits[c.Path], *c.edit)
			}
			if !slices.Contains(p.readers[c.Path], c.s) {
				p.readers[c.Path] = append(p.readers[c.Path], c.s)
			}
		case c.variable != "":
			if c.Path != "" {
				c.Line = p.lineOf(c.Path, c.variable)
			}
			v := envVar{value: c.value}
			if c.within != nil {
				v = c.s.env.vars[c.variable]
				v.edits = append(slices.Clone(v.edits), *c.within)
				slices.SortFunc(v.edits, func(a, b handoff.Edit) int { return cmp.Compare(a.At, b.At) })
			}
			c.s.env.set(c.variable, v)
		case len(c.args) > 0:
			if slices.Equal(c.s.box.Command[max(0, len(c.s.box.Command)-len(c.args)):], c.args) {
				continue
			}
			for _, w := range c.args {
				c.s.box.Command = append(c.s.box.Command, escapeArgument(w))
			}
		case c.account != "":
			p.addAccount(c.s, c.account)
		default:
			c.s.box.Command[c.word] = c.value
		}
		p.note(c.Rewrite, box)
	}
	for _, list := range p.edits {
		slices.SortFunc(list, func(a, b handoff.Edit) int { return cmp.Compare(a.At, b.At) })
	}
}

// note adds a rewrite to the plan; one that serves several containers is there
// once.
func (p *planner) note(r handoff.Rewrite, box string) {
	for i := range p.plan.Rewrites {
		have := &p.plan.Rewrites[i]
		if have.Source == r.Source && have.What == r.What && have.Old == r.Old && have.New == r.New && (r.Path != "" || slices.Contains(have.For, box)) {
			if !slices.Contains(have.For, box) {
				have.For = append(have.For, box)
				slices.Sort(have.For)
			}
			return
		}
	}
	r.For = []string{box}
	p.plan.Rewrites = append(p.plan.Rewrites, r)
}

// lineOf is the last line of a file that assigns the variable, 0 for none.
func (p *planner) lineOf(file hostpath.Path, variable string) int {
	data, err := p.host.root.ReadFile(file, maxTable)
	if err != nil {
		return 0
	}
	found := 0
	for i, line := range strings.Split(string(data), "\n") {
		name, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if ok && name == variable {
			found = i + 1
		}
	}
	return found
}

// rewritten are the files that no package of configuration would hold but for
// what is rewritten in them, and those that are made.
func (p *planner) rewritten(ctx context.Context, groups grouped) error {
	for class := range groups {
		for _, list := range groups[class] {
			for i := range list {
				p.putEdits(&list[i])
			}
		}
	}
	for _, path := range slices.SortedFunc(maps.Keys(p.edits), hostpath.Compare) {
		e, err := p.host.cat.Lookup(ctx, path)
		if err != nil {
			return err
		}
		if e.Class != claim.Image {
			continue // came with the configuration
		}
		f := configFile{KeyFile: handoff.KeyFile{Path: e.Path, Size: e.Size, Mode: e.Mode, UID: e.UID, GID: e.GID}}
		p.putEdits(&f)
		f.Copied = mustCopy(f)
		group := p.groupOf(f.services)
		groups[claim.Config][group] = append(groups[claim.Config][group], f)
	}
	for _, s := range p.services {
		path, text := p.accountFile(s)
		if text == "" {
			continue
		}
		group := p.groupOf([]*service{s})
		groups[claim.Config][group] = append(groups[claim.Config][group], configFile{
			KeyFile: handoff.KeyFile{Path: path, Size: int64(len(text)), Mode: 0o444, Made: text}, services: []*service{s},
		})
	}
	return nil
}

// putEdits gives a file its edits, and to those who read it otherwise than
// before.
func (p *planner) putEdits(f *configFile) {
	if f.Variable != "" || len(p.edits[f.Path]) == 0 {
		return
	}
	f.Edits = p.edits[f.Path]
	for _, e := range f.Edits {
		f.Size += int64(len(e.New) - len(e.Old))
	}
	f.services = p.inOrder(f.services, p.readers[f.Path])
}

// placeRewrites says in which object each rewritten file is, and each that is
// made, whose path stands there until now.
func (p *planner) placeRewrites() {
	for i := range p.plan.Rewrites {
		r := &p.plan.Rewrites[i]
		owner, _, _ := strings.Cut(r.For[0], "/")
		for kind, sets := range map[string][]handoff.FileSet{"ConfigMap": p.plan.Configs, "Secret": p.plan.Secrets} {
			for _, set := range sets {
				if slices.ContainsFunc(set.Files, func(f handoff.KeyFile) bool {
					return f.Path == r.Path && len(f.Edits) > 0 && (f.Variable == "" || r.What == "variable "+f.Variable) || f.Made != "" && string(f.Path) == r.In && set.Owner == owner
				}) {
					r.In = kind + " " + p.plan.ObjectName(set.Name)
				}
			}
		}
	}
	slices.SortStableFunc(p.plan.Rewrites, func(a, b handoff.Rewrite) int {
		return cmp.Or(slices.Compare(a.For, b.For), hostpath.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.What, b.What))
	})
}
