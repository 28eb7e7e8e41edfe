package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// program is a program that a script or a job's command runs by its name.
type program struct {
	name string
	line string
	facts.Source
}

// service is one thing of the host that runs: it becomes one container.
type service struct {
	id     string // the unit's name; of a script profile.ScriptUnit, of a cron job profile.CronUnit
	unit   facts.Unit
	script *facts.Script
	cron   *facts.Cron
	timer  *facts.Unit // starts unit at times
	socket *facts.Unit // starts unit when somebody connects

	profile *profile.Profile
	// guests are applications that run inside this one's process (wordpress in
	// apache2).
	guests []*profile.Profile

	schedule, timeZone string // of a job
	box                handoff.Container
	listens            []facts.Listener
	env                environment
	grace              int64
	workers            []identity // as whom it works, when that is not as whom it starts
	mentions           []mention  // paths that its command and its scripts name
	programs           []program  // that its command and its scripts run by name
	credentials        []credential
	socketOnly         []string // the command for who reads the data of a server, none when there is no way
}

// identity is a process's user and groups.
type identity struct {
	uid, gid uint32
	groups   []uint32
}

// mention is a path that a command, directive or setting names.
type mention struct {
	path   hostpath.Path
	writes bool   // the directive says that the service writes there
	how    string // StateDirectory=, the command, datadir
	facts.Source
}

func (s *service) job() bool { return s.schedule != "" }

// base is the unit's name without its type, or the like for other things.
func (s *service) base() string {
	switch {
	case s.cron != nil:
		return s.cron.Name
	case s.script != nil:
		return s.script.Name
	}
	return strings.TrimSuffix(s.unit.Name, "."+s.unit.Type)
}

// profiles are the service's own and its guests'.
func (s *service) profiles() []*profile.Profile {
	if s.profile == nil {
		return s.guests
	}
	return append([]*profile.Profile{s.profile}, s.guests...)
}

// identities are all users as which the service's processes run.
func (s *service) identities() []identity {
	return append([]identity{{s.box.UID, s.box.GID, s.box.Groups}}, s.workers...)
}

// selection is what runs on the host, and what of it becomes nothing.
type selection struct {
	services  []*service
	leftOut   []handoff.LeftOut
	questions []handoff.Question
	risks     []handoff.Risk
}

func (sel *selection) leave(unit, rule, format string, args ...any) {
	sel.leftOut = append(sel.leftOut, handoff.LeftOut{Unit: unit, Rule: rule, Reason: fmt.Sprintf(format, args...)})
}

// selectServices goes over units, scripts and cron jobs.
func (p *planner) selectServices() *selection {
	sel := &selection{}
	running := map[string]bool{}
	for _, proc := range p.host.processes {
		running[proc.Unit] = true
	}
	activated := p.activators()
	wanted := p.wantedByServices()
	for _, name := range p.host.unitNames {
		u := p.host.units[name]
		if u.Type != "service" || strings.HasSuffix(strings.TrimSuffix(u.Name, ".service"), "@") || p.isAlias(u) {
			continue
		}
		p.selectUnit(sel, u, activated[name], running[name], wanted[name])
	}
	for i := range p.host.scripts {
		p.selectScript(sel, &p.host.scripts[i])
	}
	for i := range p.host.crons {
		p.selectCron(sel, &p.host.crons[i])
	}
	return sel
}

// isAlias reports whether another unit is the one of that file.
func (p *planner) isAlias(u facts.Unit) bool {
	if u.Path == "" || u.Instance != "" || u.Path.Base() == u.Name {
		return false
	}
	_, ok := p.host.units[u.Path.Base()]
	return ok
}

// activators are the enabled timers and sockets by the service that they start
// (systemd.timer(5), systemd.socket(5): Unit=, Service=, else the same name).
func (p *planner) activators() map[string][]facts.Unit {
	out := map[string][]facts.Unit{}
	for _, name := range p.host.unitNames {
		u := p.host.units[name]
		key, section := "Unit", "Timer"
		switch {
		case !u.Enabled || u.Masked:
			continue
		case u.Type == "socket":
			key, section = "Service", "Socket"
		case u.Type != "timer":
			continue
		}
		target := strings.TrimSuffix(u.Name, u.Type) + "service"
		if d, ok := u.Last(section, key); ok {
			target = d.Value
		}
		out[target] = append(out[target], u)
	}
	return out
}

// wantedByServices are units that an enabled service pulls in by itself.
func (p *planner) wantedByServices() map[string]string {
	out := map[string]string{}
	for _, name := range p.host.unitNames {
		u := p.host.units[name]
		if u.Type != "service" || !u.Enabled || u.Masked {
			continue
		}
		for _, key := range []string{"Wants", "Requires", "BindsTo"} {
			for _, d := range u.Values("Unit", key) {
				for target := range strings.FieldsSeq(d.Value) {
					out[target] = u.Name
				}
			}
		}
	}
	return out
}

func (p *planner) selectUnit(sel *selection, u facts.Unit, activated []facts.Unit, running bool, wantedBy string) {
	base := strings.TrimSuffix(u.Name, ".service")
	prof := p.known.byUnit[u.Name]
	var timer, socket *facts.Unit
	for i := range activated {
		if activated[i].Type == "timer" {
			timer = &activated[i]
		} else {
			socket = &activated[i]
		}
	}
	rule, plumbed := p.plumbing(u.Name)
	kind := p.unitType(u)
	runsInForeground := prof != nil && len(prof.Run.Command) > 0
	switch {
	case p.leaveByUser(sel, u.Name):
		return
	case p.kept(u.Name):
	case u.Masked:
		sel.leave(u.Name, "unit/masked", "is masked")
		return
	case prof != nil && prof.Run.LeaveOut != "":
		sel.leave(u.Name, "profile "+prof.Name, "%s", prof.Run.LeaveOut)
		return
	case plumbed:
		sel.leave(u.Name, rule.By(), "%s", rule.Reason)
		return
	case timer == nil && socket == nil && !u.Enabled && !running && wantedBy == "":
		if u.Static {
			sel.leave(u.Name, "unit/static", "is a helper that nothing starts by itself")
		} else {
			sel.leave(u.Name, "unit/disabled", "is not enabled")
		}
		return
	case timer == nil && kind == "oneshot" && !runsInForeground:
		sel.leave(u.Name, "unit/oneshot", "runs once at boot and then is done")
		if u.Package == "" {
			sel.ask(handoff.Question{
				ID: questionID("boot", base), About: u.Name,
				Text:    fmt.Sprintf("%s is the administrator's own and runs once at boot. What it does must be done elsewhere, or is not needed in a container.", u.Name),
				Choices: []string{"leave out"}, Default: "leave out",
			})
		}
		return
	case kind == "dbus" && u.Package != "" && !runsInForeground:
		sel.leave(u.Name, "unit/dbus", "serves the host's own message bus")
		return
	}
	if _, ok := u.Last("Service", "ExecStart"); !ok && !runsInForeground {
		sel.leave(u.Name, "unit/no-command", "has no command")
		return
	}
	s := &service{id: u.Name, unit: u, profile: prof}
	if timer != nil && (kind == "oneshot" || !u.Enabled) {
		s.timer = timer
		if !p.timerSchedule(sel, s) {
			return
		}
	} else if socket != nil && !u.Enabled {
		s.socket = socket
		sel.risks = append(sel.risks, handoff.Risk{
			About: u.Name, Level: "medium",
			Text:   fmt.Sprintf("%s is started by %s, which hands it an open socket. In a container nobody does that.", u.Name, socket.Name),
			Remedy: "let the service listen by itself, by an option of its own",
		})
	}
	if running && !u.Enabled && timer == nil && socket == nil {
		sel.risks = append(sel.risks, handoff.Risk{About: u.Name, Level: "low", Text: u.Name + " runs although it is not enabled: somebody started it by hand", Remedy: "leave it out in statelift.yaml if it is not needed"})
	}
	sel.services = append(sel.services, s)
}

// plumbing finds the rule by which a unit is left out, unless the user switched
// it off.
func (p *planner) plumbing(unit string) (profile.UnitRule, bool) {
	return p.unlessOff(p.rules.LeftOut(unit))
}

func (p *planner) unlessOff(rule profile.UnitRule, ok bool) (profile.UnitRule, bool) {
	off := ok && slices.ContainsFunc(p.decisions.RulesOff, func(name string) bool { return "rule "+name == rule.By() })
	return rule, ok && !off
}

// unitType is Type= with its default (systemd.service(5)).
func (p *planner) unitType(u facts.Unit) string {
	if d, ok := u.Last("Service", "Type"); ok {
		return d.Value
	}
	if _, ok := u.Last("Service", "ExecStart"); !ok {
		return "oneshot"
	}
	if _, ok := u.Last("Service", "BusName"); ok {
		return "dbus"
	}
	return "simple"
}

func (p *planner) selectScript(sel *selection, sc *facts.Script) {
	id := profile.ScriptUnit(*sc)
	prof := p.known.byUnit[id]
	rule, plumbed := p.plumbing(id)
	switch {
	case p.leaveByUser(sel, id, sc.Name, string(sc.Path)):
		return
	case p.kept(id, sc.Name, string(sc.Path)):
	case prof != nil && prof.Run.LeaveOut != "":
		sel.leave(id, "profile "+prof.Name, "%s", prof.Run.LeaveOut)
		return
	case plumbed:
		sel.leave(id, rule.By(), "%s", rule.Reason)
		return
	case len(sc.StartLevels) == 0 || !slices.ContainsFunc(sc.StartLevels, func(l string) bool { return strings.ContainsAny(l, "2345") }):
		sel.leave(id, "script/disabled", "no run level starts it")
		return
	case sc.Daemon == "" && (prof == nil || len(prof.Run.Command) == 0):
		sel.leave(id, "script/no-daemon", "names no daemon: it does something once at boot")
		return
	}
	sel.services = append(sel.services, &service{id: id, script: sc, profile: prof})
}

func (sel *selection) ask(q handoff.Question) { sel.questions = append(sel.questions, q) }

// shorten keeps a command readable in a sentence.
func shorten(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:77], "") + "…"
}
