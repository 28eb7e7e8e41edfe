package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/profile"
)

// attachGuests tells services which applications run inside them.
func (p *planner) attachGuests() {
	for _, guest := range p.known.unitless {
		for _, s := range p.services {
			if s.profile != nil && slices.Contains(guest.Run.PartOf, s.profile.Name) {
				s.guests = append(s.guests, guest)
			}
		}
	}
}

// describe fills in the service's container, but for its mounts.
func (p *planner) describe(ctx context.Context, s *service) error {
	s.box.Unit = s.id
	s.box.Profile = p.profileName(s)
	s.box.Name = p.names.Unique(kubename.Label(p.nameOf(s), 40), s.id, 40)
	s.box.Image = p.plan.ObjectName(s.box.Name)
	s.grace = cmp.Or(p.runOf(s).GraceSeconds, 90) // DefaultTimeoutStopSec= of systemd-system.conf(5)
	p.setIdentity(s)
	if err := p.setEnvironment(ctx, s); err != nil {
		return err
	}
	switch {
	case s.cron != nil:
		p.describeCron(s)
	case s.script != nil:
		p.describeScript(s)
	default:
		p.describeUnit(s)
	}
	p.readScripts(s)
	p.settingMentions(s)
	p.findListeners(s)
	p.setPorts(s)
	p.setCapabilities(ctx, s)
	p.setProbes(s)
	p.setResources(s)
	p.checkText(s)
	return nil
}

// checkText finds what Kubernetes cannot be told: its texts are UTF-8.
func (p *planner) checkText(s *service) {
	for _, w := range slices.Concat(s.box.Command, slices.Concat(s.box.Before...)) {
		if !utf8.ValidString(w) {
			p.blocked = append(p.blocked, s.id+" has a command line that is not UTF-8, which no manifest can hold: put it into a script")
			return
		}
	}
}

// runOf is how the service's profile runs it; without one, what the generic
// profile of its kind says.
func (p *planner) runOf(s *service) profile.Run {
	if s.profile != nil {
		return s.profile.Run
	}
	if generic, ok := profile.Generic(p.profiles, p.profileName(s)); ok {
		return generic.Run
	}
	return profile.Run{}
}

func (p *planner) profileName(s *service) string {
	switch {
	case s.profile != nil:
		return s.profile.Name
	case s.cron != nil:
		return profile.GenericCron
	case s.script != nil:
		return profile.GenericScript
	}
	return profile.GenericUnit
}

func (p *planner) nameOf(s *service) string {
	if s.cron == nil {
		name := s.base()
		if template, instance, ok := strings.Cut(name, "@"); ok {
			name = template + "-" + instance
		}
		return name
	}
	base := s.cron.Path.Base()
	name := jobName(strings.Fields(s.cron.Command), base)
	if s.cron.User != "root" && s.cron.User == base { // a user's own crontab
		return base + "-" + name
	}
	return name
}

func (p *planner) risk(level, about, text, remedy string) {
	p.plan.Risks = append(p.plan.Risks, handoff.Risk{About: about, Text: text, Remedy: remedy, Level: level})
}

func isTrue(s string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(s))
}

// setPorts takes what listens, from configuration or from the live host.
func (p *planner) setPorts(s *service) {
	seen := map[string]bool{}
	add := func(port handoff.Port) {
		if key := fmt.Sprint(port.Number, port.Protocol); !seen[key] && port.Number > 0 {
			seen[key] = true
			s.box.Ports = append(s.box.Ports, port)
		}
	}
	for _, l := range s.listens {
		if l.Protocol != "unix" && !l.Loopback() {
			proto := strings.ToUpper(strings.TrimRight(l.Protocol, "6"))
			add(handoff.Port{Name: kubename.Port(l.Port, proto), Number: int32(l.Port), Protocol: proto})
			s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: l.Path, Line: l.Line, Fact: fmt.Sprintf("listens on %s %d", l.Protocol, l.Port)})
		}
	}
	slices.SortFunc(s.box.Ports, func(a, b handoff.Port) int { return int(a.Number) - int(b.Number) })
}

// setProbes takes the profile's probes, else asks the first port that the
// kubelet can reach whether it accepts connections.
func (p *planner) setProbes(s *service) {
	if s.job() {
		return
	}
	if s.profile != nil {
		run := s.profile.Run
		s.box.Ready, s.box.Live, s.box.Startup = p.probe(s, run.Ready), p.probe(s, run.Live), p.probe(s, run.Startup)
	}
	i := slices.IndexFunc(s.box.Ports, func(p handoff.Port) bool { return p.Protocol == "TCP" })
	if s.box.Ready == nil && s.box.Live == nil && i >= 0 {
		port := s.box.Ports[i].Number
		s.box.Ready = &handoff.Probe{Port: port, Period: 10, Timeout: 3, Failures: 3}
		s.box.Live = &handoff.Probe{Port: port, Initial: 30, Period: 20, Timeout: 5, Failures: 6}
	}
	s.askOften()
}

// askOften has a service that starts be asked every second whether it is ready,
// for as long as it had until now: what starts in three seconds would be found to
// serve after the period of the readiness probe only, and a cutover waits for it.
func (s *service) askOften() {
	ready, live := s.box.Ready, s.box.Live
	if s.box.Startup != nil || ready == nil || live == nil {
		return
	}
	often := *ready
	often.Initial, often.Period, often.Failures = 0, 1, live.Initial+cmp.Or(live.Period, 10)*cmp.Or(live.Failures, 3) // the defaults of Kubernetes
	s.box.Startup = &often
}

// probe fills in the placeholders of a profile's probe. One that asks a port on
// which the service does not listen asks the first that it does.
func (p *planner) probe(s *service, from *handoff.Probe) *handoff.Probe {
	if from == nil {
		return nil
	}
	out := *from
	out.Exec = nil
	for _, w := range from.Exec {
		if w, ok := p.placeholders(s, w); ok {
			out.Exec = append(out.Exec, w)
		}
	}
	if len(from.Exec) > 0 {
		return &out
	}
	has := func(q handoff.Port) bool { return q.Number == out.Port && q.Protocol == "TCP" }
	if !slices.ContainsFunc(s.box.Ports, has) {
		i := slices.IndexFunc(s.box.Ports, func(q handoff.Port) bool { return q.Protocol == "TCP" })
		if i < 0 {
			return nil // it listens on loopback alone, where the kubelet cannot ask
		}
		out.Port, out.TLS = s.box.Ports[i].Number, out.TLS && s.box.Ports[i].Number != 80
	}
	return &out
}

// pathOf makes a path of a word when it is an absolute one.
func pathOf(word string) (hostpath.Path, bool) {
	if !strings.HasPrefix(word, "/") || len(word) == 1 || strings.ContainsAny(word, "\x00*?$") {
		return "", false
	}
	path := hostpath.Clean(word)
	for old, now := range map[hostpath.Path]hostpath.Path{"/var/run": "/run", "/var/lock": "/run/lock"} { // file-hierarchy(7)
		if path.Within(old) {
			return hostpath.Clean(string(now) + string(path)[len(old):]), true
		}
	}
	return path, true
}
