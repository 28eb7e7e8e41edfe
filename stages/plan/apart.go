package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/profile"
)

// server is a service that others reach over the network from now on.
type server struct {
	s    *service
	host string // name of its Service
	port int32
	// usual is true for the port that clients take when none is named.
	usual bool
}

// fill puts the server into a text of a profile.
func (v server) fill(text string) string {
	full := v.host
	if !v.usual {
		full = fmt.Sprintf("%s:%d", v.host, v.port)
	}
	return strings.NewReplacer("{host}", v.host, "{port}", fmt.Sprint(v.port), "{server}", full).Replace(text)
}

// bondKey is a client and its server.
type bondKey struct{ from, to *service }

// leadApart rewrites what services of different Pods know of each other: the
// server listens for other Pods, lets its clients in, and they use the name of
// its Service. That is done where the user keeps services apart, or answers so
// for the jobs that share a socket. What cannot be rewritten goes on by the
// socket, on one node.
func (p *planner) leadApart(ctx context.Context) error {
	for _, b := range p.services {
		clients := p.clientsApart(b)
		if len(clients) == 0 || !p.wantsNetwork(b, clients) {
			continue
		}
		if err := p.leadTo(ctx, b, clients); err != nil {
			return err
		}
	}
	return nil
}

// clientsApart are the services of other Pods that reach this one.
func (p *planner) clientsApart(b *service) []*service {
	var out []*service
	for _, bond := range p.bonds {
		if bond.to == b && p.podOf(bond.from) != p.podOf(b) && !slices.Contains(out, bond.from) {
			out = append(out, bond.from)
		}
	}
	return p.inOrder(out, nil)
}

func (p *planner) socketQuestion(b *service) string {
	return kubename.Label("socket-"+b.box.Name, maxWorkload)
}

// wantsNetwork is the user's answer; who keeps services apart wants it unless
// he says otherwise.
func (p *planner) wantsNetwork(b *service, clients []*service) bool {
	given := p.answer(p.socketQuestion(b))
	i := slices.IndexFunc(clients, func(a *service) bool { return !a.job() })
	if i < 0 {
		return given == "network"
	}
	d := p.apartBy(clients[i], b)
	p.ask(handoff.Question{
		ID: p.socketQuestion(b), About: b.id,
		Text: fmt.Sprintf("%s keeps %s and %s apart: they speak over the network, and the report lists what is rewritten for that. The alternative is a small volume with the socket of %s, which both mount on one node.",
			p.decisions.At(d.Line), clients[i].box.Name, b.box.Name, b.box.Name),
		Choices: []string{"network", "volume"}, Default: "network",
	})
	return given != "volume"
}

// ask asks a question once.
func (p *planner) ask(q handoff.Question) {
	if !slices.ContainsFunc(p.plan.Questions, func(o handoff.Question) bool { return o.ID == q.ID }) {
		p.plan.Questions = append(p.plan.Questions, q)
	}
}

// apartBy is the decision that keeps two services apart.
func (p *planner) apartBy(a, b *service) decisions.Workload {
	if d, ok := p.workloadDecision(b.id); ok {
		return d
	}
	d, _ := p.workloadDecision(a.id)
	return d
}

// leadTo rewrites one server and its clients. Nothing is rewritten for a client
// of which not everything that it needs is known; and nothing at all when the
// server cannot be opened.
func (p *planner) leadTo(ctx context.Context, b *service, clients []*service) error {
	srv := p.serverOf(b)
	open := p.newDraft()
	if why := p.openServer(ctx, open, srv); why != "" {
		p.stay(b, clients, why)
		return nil
	}
	var led []*service
	for _, a := range clients {
		d := p.newDraft()
		users, why, err := p.leadClient(ctx, d, a, srv)
		if err != nil {
			return err
		}
		if why == "" {
			why = p.letIn(ctx, d, a, srv, users)
		}
		if why == "" {
			why = p.fits(open, d)
		}
		if why != "" {
			p.stay(b, []*service{a}, why)
			continue
		}
		open.join(d)
		led = append(led, a)
	}
	if len(led) == 0 {
		return nil
	}
	p.apply(open)
	p.openPort(srv, led)
	if p.led == nil {
		p.led = map[bondKey]bool{}
	}
	for _, a := range led {
		p.led[bondKey{a, b}] = true
	}
	p.risk("low", b.id, fmt.Sprintf("what %s and its clients say to each other leaves the host and crosses the cluster's network as it is", b.box.Name),
		"where the network is shared with others, switch on TLS in the server and its clients, or take a cluster network that encrypts")
	return nil
}

// stay says why clients go on by the socket.
func (p *planner) stay(b *service, clients []*service, why string) {
	for _, a := range clients {
		p.risk("medium", a.id, fmt.Sprintf("%s cannot be led to %s over the network: %s", a.box.Name, b.box.Name, why),
			"change that on the host and plan again; until then both use the socket, on one node, if there is one")
	}
}

// serverOf names the server: by its own port, else by the profile's.
func (p *planner) serverOf(b *service) server {
	v := server{s: b, host: p.plan.ObjectName(p.podOf(b).Name)}
	if b.profile != nil && len(b.profile.Run.Ports) > 0 {
		v.port, v.usual = b.profile.Run.Ports[0].Number, true
	}
	for _, l := range b.listens {
		if l.Protocol == "tcp" && l.Port > 0 {
			v.usual = v.usual && v.port == int32(l.Port)
			v.port = int32(l.Port)
			break
		}
	}
	return v
}

// openPort adds the port to the server's container and Service, for the Pods of
// its clients alone. A port that was open to others before stays so.
func (p *planner) openPort(srv server, clients []*service) {
	if slices.ContainsFunc(srv.s.box.Ports, func(q handoff.Port) bool { return q.Number == srv.port && q.Protocol == "TCP" }) {
		return
	}
	port := handoff.Port{Name: kubename.Port(int(srv.port), "TCP"), Number: srv.port, Protocol: "TCP"}
	if srv.usual {
		port.Name = srv.s.profile.Run.Ports[0].Name
	}
	to := p.podOf(srv.s)
	for i := 1; slices.ContainsFunc(to.Service, func(q handoff.Port) bool { return q.Name == port.Name }); i++ {
		port.Name = fmt.Sprintf("%s-%d", kubename.Port(int(srv.port), "TCP"), i)
	}
	srv.s.box.Ports = append(srv.s.box.Ports, port)
	slices.SortFunc(srv.s.box.Ports, func(a, b handoff.Port) int { return int(a.Number) - int(b.Number) })
	for _, a := range clients {
		port.From = append(port.From, p.podOf(a).Name)
	}
	slices.Sort(port.From)
	port.From = slices.Compact(port.From)
	to.Service = append(to.Service, port)
	to.LowPorts = to.LowPorts || port.Number < 1024
}

// openServer collects what lets the server listen for other Pods; why says what
// stands in the way.
func (p *planner) openServer(ctx context.Context, d *draft, srv server) (why string) {
	b := srv.s
	switch {
	case srv.port == 0:
		return fmt.Sprintf("%s listens on no port that is known", b.box.Name)
	case slices.ContainsFunc(b.listens, func(l facts.Listener) bool { return l.Protocol == "tcp" && !l.Loopback() && int32(l.Port) == srv.port }):
		return "" // it does already
	case b.profile == nil || !b.profile.Network.Opens():
		return p.openUnknown(d, srv)
	}
	n := b.profile.Network
	for _, c := range n.Listen {
		if why := p.change(ctx, d, b, b.profile, c, srv); why != "" {
			return why
		}
	}
	if len(n.Args) > 0 {
		args := make([]string, len(n.Args))
		for i, w := range n.Args {
			args[i] = srv.fill(w)
		}
		d.addArgs(b, args, "the server listens on loopback alone, where no other Pod comes")
	}
	return ""
}

// openUnknown is for a server without a profile that is told its address by a
// variable or on its command line.
func (p *planner) openUnknown(d *draft, srv server) string {
	b, found := srv.s, false
	const why = "the server listens on loopback alone, where no other Pod comes"
	forms := p.tcpForms(b)
	for _, name := range b.env.order {
		v := b.env.vars[name]
		if v.secret {
			continue
		}
		if value, ok := anyForm(v.value, forms); ok {
			d.setVariable(b, name, value, why)
			found = true
		}
	}
	for i, w := range b.box.Command {
		if value, ok := anyForm(w, forms); ok {
			d.setWord(b, i, value, why)
			found = true
		}
	}
	if !found {
		return fmt.Sprintf("how %s is told where to listen is not known", b.box.Name)
	}
	return ""
}

// anyForm opens an address: a bare one of loopback, or one with the port.
func anyForm(value string, forms []string) (string, bool) {
	switch value {
	case "127.0.0.1", "localhost":
		return "0.0.0.0", true
	case "::1":
		return "::", true
	}
	for _, form := range forms {
		if i := indexAddress(value, form); i >= 0 {
			port := form[strings.LastIndexByte(form, ':'):]
			return value[:i] + "0.0.0.0" + port + value[i+len(form):], true
		}
	}
	return "", false
}

// tcpForms are the ways to write the server's addresses with their ports.
func (p *planner) tcpForms(b *service) []string {
	var out []string
	for _, l := range b.listens {
		if l.Protocol == "tcp" {
			out = append(out, p.localForms(l)...)
		}
	}
	return out
}

// leadClient collects what leads a client to the server; users are the accounts
// that it logs in with.
func (p *planner) leadClient(ctx context.Context, d *draft, a *service, srv server) (users []string, why string, err error) {
	ways := 0
	for _, q := range a.profiles() {
		for _, r := range q.Network.Reaches {
			if srv.s.profile == nil || r.Server != srv.s.profile.Name {
				continue
			}
			before := d.size()
			if why := p.change(ctx, d, a, q, r.Change, srv); why != "" {
				return nil, why, nil
			}
			if d.size() > before {
				ways++
				users = append(users, p.valuesOf(q, r.User)...)
			}
		}
		n, why := p.addressesOf(ctx, d, a, q, srv)
		if why != "" {
			return nil, why, nil
		}
		ways += n
	}
	ways += p.variablesOf(d, a, srv)
	if p.runsProgramsOf(a, srv.s) {
		more, why, err := p.leadPrograms(ctx, d, a, srv)
		if why != "" || err != nil {
			return nil, why, err
		}
		users = append(users, more...)
		ways++
	}
	if ways == 0 {
		return nil, fmt.Sprintf("%s, and no profile knows how it would be told a name", p.whyBond(a, srv.s)), nil
	}
	return users, "", nil
}

func (p *planner) whyBond(a, b *service) string {
	i := slices.IndexFunc(p.bonds, func(x bond) bool { return x.from == a && x.to == b })
	return p.bonds[i].why
}

func (p *planner) runsProgramsOf(a, b *service) bool {
	return slices.ContainsFunc(p.clients, func(x bond) bool { return x.from == a && x.to == b })
}

// addressesOf collects the settings of one application that name the server by
// loopback and port.
func (p *planner) addressesOf(ctx context.Context, d *draft, a *service, q *profile.Profile, srv server) (n int, why string) {
	forms := p.tcpForms(srv.s)
	for _, v := range p.host.settings {
		if v.Profile != q.Name || v.Secret || d.touches(v.Source) {
			continue
		}
		for _, form := range forms {
			if !containsAddress(v.Value, form) {
				continue
			}
			text, why := p.textOf(ctx, v.Path)
			if why != "" {
				return 0, why
			}
			to := fmt.Sprintf("%s:%d", srv.host, srv.port)
			e, ok := replaceAddress(text, v.Line, form, to)
			if !ok {
				return 0, fmt.Sprintf("%s in %s is not written so that it could be replaced", v.Key, place(v.Source))
			}
			d.edit(a, v.Source, e, handoff.Rewrite{
				What: v.Key, Old: form, New: to, Why: fmt.Sprintf("loopback leads to the Pod itself, and %s is in another one", srv.s.box.Name),
			})
			n++
			break
		}
	}
	return n, ""
}

// variablesOf collects the variables that name the server by loopback and port.
func (p *planner) variablesOf(d *draft, a *service, srv server) (n int) {
	for _, name := range a.env.order {
		v := a.env.vars[name]
		for _, form := range p.tcpForms(srv.s) {
			if i := indexAddress(v.value, form); i >= 0 && !v.secret {
				d.setVariable(a, name, fmt.Sprintf("%s%s:%d%s", v.value[:i], srv.host, srv.port, v.value[i+len(form):]),
					fmt.Sprintf("loopback leads to the Pod itself, and %s is in another one", srv.s.box.Name))
				n++
				break
			}
		}
	}
	return n
}

// valuesOf are the values of the settings that the glob selects.
func (p *planner) valuesOf(q *profile.Profile, pattern string) []string {
	var out []string
	for _, v := range p.host.settings {
		if pattern != "" && v.Profile == q.Name && !v.Secret && v.Value != "" && profile.MatchKey(pattern, v.Key) && !slices.Contains(out, v.Value) {
			out = append(out, v.Value)
		}
	}
	return out
}

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
	for _, g := range c.Files {
		files, err := p.host.matching(ctx, g, 64)
		if err != nil {
			return err.Error()
		}
		for _, f := range files {
			text, why := p.textOf(ctx, f)
			if why != "" {
				return why
			}
			for _, m := range matches(text, c.Pattern) {
				old := text[m.start:m.end]
				if !p.isOwnList(old) {
					continue
				}
				what := text[strings.LastIndexByte(text[:m.start], '\n')+1 : m.start]
				d.edit(s, facts.Source{Path: f, Line: m.line}, handoff.Edit{At: int64(m.start), Old: old, New: value}, handoff.Rewrite{
					What: strings.TrimSpace(what), Old: old, New: value, Why: c.Why,
				})
			}
		}
	}
	return ""
}

// isOwnList reports whether every address of a list leads to the host itself.
func (p *planner) isOwnList(value string) bool {
	list := strings.FieldsFunc(strings.Trim(value, `'"`), func(r rune) bool { return r == ' ' || r == ',' })
	return len(list) > 0 && !slices.ContainsFunc(list, func(a string) bool { return !p.isOwn(strings.TrimPrefix(a, "-")) })
}

// isOn is the value of an option whose presence is enough.
func isOn(value string) bool { return value == "" || isTrue(value) }
