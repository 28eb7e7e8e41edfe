package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
)

// timerSchedule sets the schedule of a service that a timer starts. It is false
// when the timer has none that cron can say; then the service is left out with
// a question.
func (p *planner) timerSchedule(sel *selection, s *service) bool {
	answer := p.answer(questionID("schedule", s.base()))
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

func (p *planner) selectCron(sel *selection, c *facts.Cron) {
	id := profile.CronUnit(*c)
	rule, plumbed := p.plumbing(id)
	if file := c.Path.Base(); !plumbed && p.packaged(c) {
		// A package that has a timer has a cron job of that name for hosts without systemd.
		rule, plumbed = p.plumbing(file + ".service")
		if !plumbed {
			rule, plumbed = p.unlessOff(p.rules.LeftOutJob(file))
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
