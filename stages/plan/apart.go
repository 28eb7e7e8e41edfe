package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/kubename"
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
		if d, ok := p.externalized(b); ok {
			if err := p.makeExternal(ctx, b, d); err != nil {
				return err
			}
			continue
		}
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
	for _, a := range led {
		p.isLed(a, b)
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
