package quiesce

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// namesOf are the targets with what would start them, in the order in which they
// are stopped: what would start a service again goes before it.
func namesOf(targets []target) []string {
	var out []string
	for _, t := range targets {
		for _, name := range append(slices.Clone(t.also), t.name) {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// mark is what is to be started again when a target was stopped: the names of its
// own that ran, what starts it before it, as a socket cannot be had under a service
// that runs; then, with "+" before each, what systemd stopped with it.
type mark []string

func (m mark) add(names ...string) mark {
	for _, name := range names {
		if !slices.Contains(m, name) {
			m = append(m, name)
		}
	}
	return m
}

// own are the lines without those that systemd stopped along.
func (m mark) own() []string {
	return slices.DeleteFunc(slices.Clone(m), func(line string) bool { return strings.HasPrefix(line, "+") })
}

// order is the order in which what is marked is started: the reverse of that of the
// targets, then what was stopped with them.
func order(targets []target, marks map[string]mark) []string {
	var own, dragged mark
	for _, t := range slices.Backward(targets) {
		own = own.add(marks[t.name].own()...)
		for _, line := range marks[t.name] {
			if name, ok := strings.CutPrefix(line, "+"); ok {
				dragged = dragged.add(name)
			}
		}
	}
	return own.add(dragged...)
}

// marked are the names of the targets that have a mark.
func (s *survey) marked(targets []target) []string {
	var out []string
	for _, t := range targets {
		if len(s.marks[t.name]) > 0 {
			out = append(out, t.name)
		}
	}
	return out
}

// fences are the commands that fence the targets. Under systemd an init script is
// fenced with the unit that is made from it: not each hands over to systemctl when
// it is run itself, by a job of cron or logrotate.
func (s *survey) fences(targets []target) []Command {
	out := []Command{s.manager().fence(targets)}
	if scripts := s.scriptsOf(targets); len(scripts) > 0 {
		out = append(out, fenceScripts(scripts))
	}
	return out
}

// unfences are the commands that take those fences away that are there. systemd
// reads the scripts anew with the units.
func (s *survey) unfences(targets []target, there func(name string) bool) []Command {
	var out []Command
	not := func(name string) bool { return !there(name) }
	if scripts := slices.DeleteFunc(s.scriptsOf(targets), not); len(scripts) > 0 {
		out = append(out, sysv{}.unfence(scripts))
	}
	if names := slices.DeleteFunc(namesOf(targets), not); len(names) > 0 {
		out = append(out, s.manager().unfence(names))
	}
	return out
}

// scriptsOf are the init scripts that systemd has made units of the targets from.
func (s *survey) scriptsOf(targets []target) []string {
	var out []string
	for _, t := range targets {
		if u := s.units[t.name]; u != nil && u.script != "" {
			out = append(out, u.script)
		}
	}
	return out
}

// marking is the mark that the target gets when it is stopped, which is nothing
// where nothing of it runs.
func (s *survey) marking(t target) mark {
	var m mark
	for _, name := range t.also {
		if s.units[name].runs() {
			m = m.add(name)
		}
	}
	if t.running && !t.ending || t.mute && !t.shielded && len(s.marks[t.name]) == 0 {
		m = m.add(t.name)
	}
	if len(m) == 0 {
		return nil
	}
	for _, name := range s.dragged(t) {
		m = m.add("+" + name)
	}
	return m
}

// pulled reports whether a service of systemd runs that none of what starts it has
// started.
func (s *survey) pulled(t target) bool {
	return s.systemd && t.running && !slices.ContainsFunc(t.also, func(name string) bool { return s.units[name].runs() })
}

// refused are those of the targets that are not about to stop.
func (s *survey) refused(told []target) []string {
	var out []string
	for _, t := range told {
		if u := s.units[t.name]; u != nil && u.active == "active" && !t.ending {
			out = append(out, t.name)
		}
	}
	return out
}

// ended says how the target ended where that was not by itself.
func (s *survey) ended(t target) string {
	u := s.units[t.name]
	switch {
	case !s.systemd || u == nil || u.active != "failed":
		return ""
	case u.result == "timeout":
		return t.name + " did not end in the time that its unit has for it (TimeoutStopSec=), and systemd killed it"
	default:
		return fmt.Sprintf("%s stopped, and systemd calls that a failure (%s): see systemctl status %s on the source", t.name, u.result, t.name)
	}
}

// down are those of the names that do not run. A job is done some time.
func (s *survey) down(targets []target, names []string) []string {
	var out []string
	for _, name := range names {
		i := slices.IndexFunc(targets, func(t target) bool { return t.name == name })
		switch u := s.units[name]; {
		case i >= 0 && (targets[i].running || targets[i].mute || targets[i].Timed):
		case s.systemd && u != nil && (u.runs() || u.kind == "oneshot" && u.active != "failed"):
		case i < 0 && !s.systemd:
		default:
			out = append(out, name)
		}
	}
	return out
}

// dragged are the units that run and that systemd stops when the target is stopped,
// systemd.unit(5), Requires=, Requisite=, BindsTo=, PartOf= and StopPropagatedFrom=
// of the others, in the order of their names.
func (s *survey) dragged(t target) []string {
	all := append(slices.Clone(t.also), t.name)
	own := len(all)
	for i := 0; i < len(all); i++ {
		if u := s.units[all[i]]; u != nil {
			for _, name := range u.dependents {
				if !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	// The others (targets, mounts) are there for those, or are pulled in by them.
	out := slices.DeleteFunc(all[own:], func(name string) bool {
		return !s.units[name].runs() || !slices.Contains([]string{".service", ".socket", ".timer", ".path"}, path.Ext(name))
	})
	slices.Sort(out)
	return out
}
