package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
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

// setIdentity decides as whom the container runs, in numbers.
func (p *planner) setIdentity(s *service) {
	name, group := p.userOf(s)
	run := profile.Run{}
	if s.profile != nil {
		run = s.profile.Run
	}
	switch {
	case name == "" && run.StartsAsRoot:
		s.box.StartsAsRoot = true
		p.setWorkers(s)
		return
	case name == "" && run.User != "":
		name, group = run.User, firstOf(group, run.Group)
	case name == "" || name == "root":
		s.box.StartsAsRoot = true
		return
	}
	u, ok := p.host.user(name)
	if !ok {
		p.risk("high", s.id, fmt.Sprintf("runs as user %s, which the host's passwd does not have", name), "name the user on the host, or choose a number in an overlay")
		u = facts.User{Name: name, UID: 65534, GID: 65534}
	}
	id := p.identity(u, group)
	s.box.UID, s.box.GID, s.box.Groups = id.uid, id.gid, id.groups
	s.box.StartsAsRoot = id.uid == 0
	if d, ok := s.unit.Last("Service", "SupplementaryGroups"); ok {
		for g := range strings.FieldsSeq(d.Value) {
			if gid, ok := p.host.group(g); ok {
				s.box.Groups = append(s.box.Groups, gid)
			}
		}
		slices.Sort(s.box.Groups)
		s.box.Groups = slices.Compact(s.box.Groups)
	}
}

// setWorkers finds the users to whom a service changes by itself: those that its
// configuration names, else the profile's, else those of its run-time
// directories.
func (p *planner) setWorkers(s *service) {
	run := s.profile.Run
	add := func(user, group string) {
		u, ok := p.host.users[user]
		if !ok || u.UID == 0 {
			return
		}
		id := p.identity(u, group)
		if !slices.ContainsFunc(s.workers, func(w identity) bool { return w.uid == id.uid && w.gid == id.gid }) {
			s.workers = append(s.workers, id)
		}
	}
	for _, v := range p.host.settings {
		if v.Profile == s.profile.Name && !v.Secret && profile.MatchKey("user", v.Key) {
			user, _, _ := strings.Cut(strings.Trim(v.Value, `"'`), " ")
			add(user, "")
		}
	}
	if len(s.workers) == 0 {
		add(run.User, run.Group)
	}
	for _, r := range run.Runtime {
		if len(s.workers) == 0 {
			add(r.User, "")
		}
	}
}

// userOf is the user and group that the unit, script or job names.
func (p *planner) userOf(s *service) (user, group string) {
	switch {
	case s.cron != nil:
		return s.cron.User, ""
	case s.script != nil:
		// The script itself runs as root and changes to its user.
		if s.script.User != "" {
			if u, ok := p.host.user(s.script.User); ok {
				s.workers = append(s.workers, p.identity(u, ""))
			}
		}
		return "root", ""
	}
	if d, ok := s.unit.Last("Service", "User"); ok {
		user = unitSpecifiers(s.unit.Name, "", "", "", "").expand(d.Value)
		s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: "User=" + d.Value})
	}
	if d, ok := s.unit.Last("Service", "Group"); ok {
		group = unitSpecifiers(s.unit.Name, "", "", "", "").expand(d.Value)
	}
	if d, ok := s.unit.Last("Service", "DynamicUser"); ok && isTrue(d.Value) {
		name := firstOf(user, s.base())
		if _, known := p.host.user(name); !known {
			// systemd takes a number from 61184 to 65519 by a hash of the name
			// (systemd.exec(5)); what it wrote belongs to that number already.
			p.risk("medium", s.id, "has a dynamic user, whose number is not in passwd", "give it a user of its own")
			user = strconv.Itoa(61184 + int(hash(name)%4336))
		}
	}
	return user, group
}

func (p *planner) identity(u facts.User, group string) identity {
	id := identity{uid: u.UID, gid: u.GID}
	if gid, ok := p.host.group(group); ok && group != "" {
		id.gid = gid
	}
	id.groups = p.host.memberships(u.Name, id.gid)
	if u.GID != id.gid && !slices.Contains(id.groups, u.GID) && group == "" {
		id.groups = append(id.groups, u.GID)
	}
	return id
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
	if s.box.Ready != nil || s.box.Live != nil {
		return
	}
	for _, port := range s.box.Ports {
		if port.Protocol == "TCP" {
			s.box.Ready = &handoff.Probe{Port: port.Number, Period: 10, Timeout: 3, Failures: 3}
			s.box.Live = &handoff.Probe{Port: port.Number, Initial: 30, Period: 20, Timeout: 5, Failures: 6}
			return
		}
	}
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

// defaults of a service of which nothing is known: little is asked for, and
// nothing is limited, since a limit that is too low kills what ran well.
const (
	defaultCPU    = 100       // millicores
	defaultMemory = 128 << 20 // bytes
	jobCPU        = 50
	jobMemory     = 64 << 20
)

func (p *planner) setResources(s *service) {
	r := handoff.Resources{CPU: defaultCPU, Memory: defaultMemory}
	if s.job() {
		r = handoff.Resources{CPU: jobCPU, Memory: jobMemory}
	}
	if known := p.runOf(s).Resources; known != (handoff.Resources{}) {
		if known.CPU > 0 {
			r.CPU = known.CPU
		}
		if known.Memory > 0 {
			r.Memory = known.Memory
		}
		r.MemoryLimit = known.MemoryLimit
	}
	for _, key := range []string{"MemoryMax", "MemoryLimit"} {
		if d, ok := s.unit.Last("Service", key); ok {
			if n := sizeOf(d.Value); n > 0 {
				r.MemoryLimit = n
				r.Memory = min(r.Memory, n)
				s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: key + "=" + d.Value})
				break
			}
		}
	}
	for _, key := range []string{"MemoryMin", "MemoryLow"} {
		if d, ok := s.unit.Last("Service", key); ok && sizeOf(d.Value) > r.Memory {
			r.Memory = sizeOf(d.Value)
		}
	}
	p.raiseMemory(s, &r)
	if r.MemoryLimit > 0 {
		r.Memory = min(r.Memory, r.MemoryLimit)
	}
	s.box.Resources = r
}

// raiseMemory makes room for the buffers that an administrator gave a database:
// it asks for all of them, and a limit leaves as much again.
func (p *planner) raiseMemory(s *service, r *handoff.Resources) {
	for _, v := range p.host.settings {
		if s.profile == nil || v.Profile != s.profile.Name {
			continue
		}
		for _, key := range []string{"innodb_buffer_pool_size", "key_buffer_size", "shared_buffers", "maxmemory"} {
			n := sizeOf(strings.TrimSuffix(strings.ToUpper(strings.Trim(v.Value, `'"`)), "B"))
			if n <= r.Memory/2 || !profile.MatchKey(key, v.Key) {
				continue
			}
			r.Memory = max(r.Memory, n+n/4)
			if r.MemoryLimit > 0 {
				r.MemoryLimit = max(r.MemoryLimit, 2*n)
			}
			s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: v.Path, Line: v.Line, Fact: v.Key + " = " + v.Value})
		}
	}
}

// sizeOf reads a size of systemd.resource-control(5): bytes, or with K, M, G, T
// to the base of 1024. 0 is none.
func sizeOf(s string) int64 {
	if s == "" {
		return 0
	}
	shift := map[byte]int{'K': 10, 'M': 20, 'G': 30, 'T': 40}[s[len(s)-1]]
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 40)
	if err != nil || n < 0 {
		return 0
	}
	return n << shift
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
