package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/profile"
)

// maxWorkload leaves room in an object's name for the plan's own name.
const maxWorkload = 40

// pod is a workload in the making: the services that share it.
type pod struct {
	handoff.Workload
	services []*service
}

// bond is why a service must reach another one within the host.
type bond struct {
	from, to *service
	why      string
}

// makeWorkloads groups services into Pods; jobs stand alone.
func (p *planner) makeWorkloads() {
	p.bonds = p.findBonds()
	group := map[*service]int{}
	var order []*service
	for _, s := range p.services {
		if !s.job() {
			group[s] = len(order)
			order = append(order, s)
		}
	}
	merge := func(a, b *service) {
		from, to := max(group[a], group[b]), min(group[a], group[b])
		for s, g := range group {
			if g == from {
				group[s] = to
			}
		}
	}
	for _, b := range p.bonds {
		if !b.from.job() && !b.to.job() && !p.decidedApart(b.from, b.to) {
			merge(b.from, b.to)
		}
	}
	for i, a := range order {
		for _, b := range order[i+1:] {
			if w, ok := p.workloadDecision(a.id); ok && w.Together && slices.Contains(w.Units, b.id) {
				merge(a, b)
			}
		}
	}
	byGroup := map[int]*pod{}
	for _, s := range order {
		w := byGroup[group[s]]
		if w == nil {
			w = &pod{}
			byGroup[group[s]] = w
			p.pods = append(p.pods, w)
		}
		w.services = append(w.services, s)
	}
	for _, s := range p.services {
		if s.job() {
			p.pods = append(p.pods, &pod{services: []*service{s}})
		}
	}
	var names kubename.Names
	for _, w := range p.pods {
		p.fillWorkload(w, &names)
	}
}

// decidedApart reports whether the user's workloads keep two services from one
// Pod.
func (p *planner) decidedApart(a, b *service) bool {
	wa, oka := p.workloadDecision(a.id)
	wb, okb := p.workloadDecision(b.id)
	_, outa := p.externalized(a)
	_, outb := p.externalized(b)
	switch {
	case outa || outb:
		return true
	case oka && wa.Split || okb && wb.Split:
		return true
	case oka && okb:
		return wa.Name != wb.Name
	case oka:
		return wa.Together
	}
	return okb && wb.Together
}

func (p *planner) fillWorkload(w *pod, names *kubename.Names) {
	slices.SortStableFunc(w.services, func(a, b *service) int {
		return cmp.Or(cmp.Compare(frontRank(a), frontRank(b)), cmp.Compare(a.id, b.id))
	})
	front := w.services[0]
	name := front.box.Name
	for _, s := range w.services {
		if d, ok := p.workloadDecision(s.id); ok && d.Name != "" && (!d.Split || len(d.Units) == 1) {
			name = d.Name
			break
		}
	}
	name = kubename.Label(name, maxWorkload)
	if name == "copy" || strings.HasPrefix(name, "copy-") { // the names of what fills the volumes
		name = kubename.Label("app-"+name, maxWorkload)
	}
	w.Name = names.Unique(name, front.id, maxWorkload)
	for _, s := range w.services {
		w.GraceSeconds = max(w.GraceSeconds, s.grace)
		w.Schedule, w.TimeZone = s.schedule, s.timeZone
		for _, port := range s.box.Ports {
			if !slices.ContainsFunc(w.Service, func(q handoff.Port) bool { return q.Number == port.Number && q.Protocol == port.Protocol }) {
				w.Service = append(w.Service, port)
			}
			w.LowPorts = w.LowPorts || port.Number < 1024
		}
	}
	if len(w.services) > 1 {
		var why []string
		for _, b := range p.bonds {
			if slices.Contains(w.services, b.from) && slices.Contains(w.services, b.to) && !slices.Contains(why, b.why) {
				why = append(why, b.why)
			}
		}
		if d, ok := p.workloadDecision(front.id); ok && d.Together {
			why = append(why, p.decisions.At(d.Line)+" says so")
		}
		w.WhyTogether = strings.Join(why, "; ")
	}
}

// frontRank puts the service first that others reach, by its lowest port.
func frontRank(s *service) int32 {
	if len(s.box.Ports) == 0 {
		return 1 << 20
	}
	return s.box.Ports[0].Number
}

// findBonds looks for services that talk over a Unix socket or loopback: by
// what profiles say an application uses, and by addresses in configuration.
func (p *planner) findBonds() []bond {
	out := slices.Clone(p.clients)
	for _, a := range p.services {
		for _, b := range p.services {
			if a == b || b.job() {
				continue
			}
			if why, ok := p.usesByProfile(a, b); ok {
				out = append(out, bond{a, b, why})
			}
			if why, ok := p.usesByAddress(a, b); ok {
				out = append(out, bond{a, b, why})
			}
		}
	}
	return out
}

func (p *planner) usesByProfile(a, b *service) (string, bool) {
	if b.profile == nil {
		return "", false
	}
	for _, q := range a.profiles() {
		if !slices.Contains(q.Run.Uses, b.profile.Name) {
			continue
		}
		host, remote := p.remoteHost(q)
		if remote {
			continue
		}
		what := firstOf(q.Title, q.Name)
		if q != a.profile {
			what += " in " + a.box.Name
		}
		if host.Key != "" {
			return fmt.Sprintf("%s reaches %s on the host itself (%s=%s, %s)", what, b.box.Name, host.Key, host.Value, place(host.Source)), true
		}
		return fmt.Sprintf("%s uses %s on the host itself", what, b.box.Name), true
	}
	return "", false
}

// remoteHost looks at the settings that name a host: remote is true when all of
// them name another machine.
func (p *planner) remoteHost(q *profile.Profile) (local facts.Setting, remote bool) {
	for _, v := range p.host.settings {
		key := strings.ToLower(v.Key[strings.LastIndexByte(v.Key, '.')+1:])
		if v.Profile != q.Name || !strings.Contains(key, "host") || strings.Contains(key, "virtualhost") || v.Value == "" {
			continue
		}
		if !strings.HasPrefix(key, "db") && key != "host" && !strings.HasSuffix(key, "_host") {
			continue
		}
		if p.isOwn(v.Value) {
			return v, false
		}
		remote = true
	}
	return facts.Setting{}, remote
}

// isOwn reports whether an address leads to the host itself.
func (p *planner) isOwn(address string) bool {
	if strings.HasPrefix(address, "/") || strings.HasPrefix(address, "unix:") || strings.Contains(address, ":/") {
		return true
	}
	host := strings.ToLower(strings.Trim(address, "[]"))
	if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.") || p.host.ownAddress[host]
}

// usesByAddress looks for the addresses on which b listens in what configures
// a.
func (p *planner) usesByAddress(a, b *service) (string, bool) {
	for _, l := range b.listens {
		for _, address := range p.localForms(l) {
			for _, q := range a.profiles() {
				for _, v := range p.host.settings {
					if v.Profile == q.Name && !v.Secret && containsAddress(v.Value, address) {
						return fmt.Sprintf("%s reaches %s at %s (%s)", a.box.Name, b.box.Name, address, place(v.Source)), true
					}
				}
			}
			for _, name := range a.env.order {
				if v := a.env.vars[name]; containsAddress(v.value, address) { // of a credential, that alone is told
					return fmt.Sprintf("%s reaches %s at %s (variable %s)", a.box.Name, b.box.Name, address, name), true
				}
			}
			for _, m := range a.mentions {
				if l.Protocol == "unix" && string(m.path) == address && !strings.HasPrefix(m.how, "RuntimeDirectory") {
					return fmt.Sprintf("%s reaches %s at %s (%s)", a.box.Name, b.box.Name, address, firstOf(place(m.Source), m.how)), true
				}
			}
		}
	}
	return "", false
}

// localForms are the ways in which configuration on the same host writes the
// address of a listener.
func (p *planner) localForms(l facts.Listener) []string {
	if l.Protocol == "unix" {
		if !strings.HasPrefix(l.Address, "/") {
			return nil
		}
		return []string{l.Address}
	}
	port := fmt.Sprintf(":%d", l.Port)
	forms := []string{"127.0.0.1" + port, "localhost" + port, "[::1]" + port}
	for _, name := range sortedKeys(p.host.ownAddress) {
		forms = append(forms, name+port)
	}
	return forms
}

// containsAddress finds the address where it is not a part of a longer one.
func containsAddress(text, address string) bool { return indexAddress(text, address) >= 0 }

// indexAddress is where the address stands by itself, -1 where it does not.
func indexAddress(text, address string) int {
	for i := 0; ; {
		n := strings.Index(text[i:], address)
		if n < 0 {
			return -1
		}
		start, end := i+n, i+n+len(address)
		// In the address of a page, @ ends what a path could hold.
		before := start == 0 || !pathByte(text[start-1]) || text[start-1] == '@' && address[0] != '/'
		after := end == len(text) || !pathByte(text[end])
		if before && after {
			return start
		}
		i = start + 1
	}
}

func place(s facts.Source) string {
	if s.Path == "" {
		return ""
	}
	if s.Line == 0 {
		return s.Path.String()
	}
	return fmt.Sprintf("%s:%d", s.Path, s.Line)
}
