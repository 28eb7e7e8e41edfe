package plan

import (
	"fmt"
	"path"
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
	rule, ok := p.rules.LeftOut(unit)
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

// timerSchedule sets the schedule of a service that a timer starts. It is false
// when the timer has none that cron can say; then the service is left out with
// a question.
func (p *planner) timerSchedule(sel *selection, s *service) bool {
	answer := p.decisions.Answers[questionID("schedule", s.base())]
	if answer == "leave out" {
		sel.leave(s.id, p.decisions.File, "the user left it out")
		return false
	}
	if answer != "" {
		s.schedule, s.timeZone = answer, p.host.timeZone
		return true
	}
	var events, all []string
	var why error
	for _, d := range s.timer.Values("Timer", "OnCalendar") {
		all = append(all, d.Key+"="+d.Value)
		schedule, zone, err := fromCalendar(d.Value)
		if err != nil {
			why = err
			continue
		}
		if s.timeZone == "" {
			s.timeZone = zone
		}
		events = append(events, schedule)
	}
	for _, key := range []string{"OnUnitActiveSec", "OnUnitInactiveSec"} {
		if d, ok := s.timer.Last("Timer", key); ok && len(events) == 0 {
			all = append(all, d.Key+"="+d.Value)
			span, err := timeSpan(d.Value)
			if err == nil {
				var schedule string
				if schedule, err = every(span); err == nil {
					events = append(events, schedule)
				}
			}
			why = err
		}
	}
	if s.timeZone == "" {
		s.timeZone = p.host.timeZone
	}
	if len(events) == 1 && why == nil {
		s.schedule = events[0]
		return true
	}
	text := fmt.Sprintf("%s starts %s at %s, which no single schedule of a CronJob says. When shall it run?", s.timer.Name, s.id, strings.Join(all, " and "))
	if len(all) == 0 {
		text = fmt.Sprintf("%s starts %s relative to the boot of the host, which a cluster does not have. When shall it run?", s.timer.Name, s.id)
	}
	sel.ask(handoff.Question{ID: questionID("schedule", s.base()), About: s.id, Text: text, Choices: append(events, "leave out"), Default: firstOf(strings.Join(events[:min(1, len(events))], ""), "leave out")})
	if len(events) > 0 {
		s.schedule = events[0]
		return true
	}
	sel.leave(s.id, "timer/schedule", "its timer has no time that cron can say; see the question %s", questionID("schedule", s.base()))
	return false
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

func (p *planner) selectCron(sel *selection, c *facts.Cron) {
	id := profile.CronUnit(*c)
	rule, plumbed := p.plumbing(id)
	if file := c.Path.Base(); !plumbed && p.packaged(c) {
		// A package that has a timer has a cron job of that name for hosts without systemd.
		rule, plumbed = p.plumbing(file + ".service")
		if !plumbed && slices.Contains(hostJobs(), file) {
			rule, plumbed = profile.UnitRule{Name: "packages", File: "cron", Reason: "upkeep of the host's packages; a container is replaced, not upgraded"}, true
		}
	}
	switch {
	case p.leaveByUser(sel, id, c.Name, string(c.Path)):
		return
	case p.kept(id, c.Name, string(c.Path)):
	case plumbed:
		sel.leave(id, rule.By(), "%s", rule.Reason)
		return
	case c.Schedule == "@reboot":
		sel.leave(id, "cron/reboot", "runs when the host boots, which a cluster does not do")
		sel.ask(handoff.Question{
			ID: questionID("boot", c.Name), About: id,
			Text:    fmt.Sprintf("%s runs %q at boot. If it starts something that must run all the time, give it a unit on the host and scan again.", id, shorten(c.Command)),
			Choices: []string{"leave out"}, Default: "leave out",
		})
		return
	}
	schedule, err := fromCron(c.Schedule)
	if err != nil {
		sel.leave(id, "cron/schedule", "has a schedule that Kubernetes cannot read: %v", err)
		return
	}
	prof := p.known.byUnit[id]
	s := &service{id: id, cron: c, profile: prof, schedule: schedule, timeZone: p.host.timeZone}
	if tz := c.Env["CRON_TZ"]; tz != "" {
		s.timeZone = zone(tz)
	}
	if strings.Contains(c.Command, facts.Redacted) {
		sel.risks = append(sel.risks, handoff.Risk{
			About: id, Level: "high",
			Text:   id + " carries a credential in its command line, which no manifest may hold: the CronJob's command has " + facts.Redacted + " in its place and will fail",
			Remedy: "put the credential into a file that the command reads, and scan again",
		})
	}
	sel.services = append(sel.services, s)
}

// packaged reports whether a job came with a package: a user's own table never
// does, and everything else is told by its file's owner.
func (p *planner) packaged(c *facts.Cron) bool {
	return c.Package != "" && !c.Path.Within("/var/spool")
}

// hostJobs are jobs of packages that have no unit of the same name.
func hostJobs() []string {
	return []string{"0anacron", "apache2", "apt-compat", "aptitude", "bsdmainutils", "calendar", "dpkg", "exim4-base", "john", "libvirt-bin", "passwd", "php", "quota", "standard", "tor"}
}

func (sel *selection) ask(q handoff.Question) { sel.questions = append(sel.questions, q) }

// shorten keeps a command readable in a sentence.
func shorten(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:77], "") + "…"
}

// jobName names a job by what it runs: the script behind an interpreter rather
// than the interpreter.
func jobName(words []string, fallback string) string {
	interpreters := []string{"sh", "bash", "dash", "php", "perl", "python", "python2", "python3", "ruby", "env", "nice", "ionice", "chronic", "test", "[", "cd", "flock", "timeout", "sudo", "su"}
	for _, w := range words {
		w = strings.Trim(w, `"';()`)
		base := path.Base(w)
		if w == "" || strings.HasPrefix(w, "-") || strings.ContainsAny(w, "=<>|&$") || strings.HasPrefix(w, "/dev/") || slices.Contains(interpreters, base) {
			continue
		}
		if base = strings.TrimSuffix(base, path.Ext(base)); base != "" && base != "." {
			return base
		}
	}
	return fallback
}
