package plan

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/kubename"
)

// externalized is what the user decided about a service whose database goes to a
// server outside the cluster.
func (p *planner) externalized(s *service) (decisions.Workload, bool) {
	d, ok := p.workloadDecision(s.id)
	return d, ok && d.Externalize == decisions.Database
}

// makeExternal gives the workload of such a service a Service that leads to the
// other server, and leads the clients there.
func (p *planner) makeExternal(ctx context.Context, b *service, d decisions.Workload) error {
	if why := p.noWayOut(b); why != "" {
		p.blocked = append(p.blocked, fmt.Sprintf("%s: workload %s: %s", p.decisions.At(d.Line), d.Name, why))
		return nil
	}
	w := p.podOf(b)
	usual := b.profile.Run.Ports[0]
	port := d.Server.Port
	if port == 0 {
		port = usual.Number
	}
	srv := server{s: b, host: p.plan.ObjectName(w.Name), port: port, usual: port == usual.Number}
	users, err := p.leadOut(ctx, b, srv)
	if err != nil {
		return err
	}
	w.External = &handoff.External{
		Engine: b.profile.Network.External.Engine, Host: d.Server.Host, Port: port, Databases: d.Server.Databases,
		User: d.Server.User, PasswordEnv: d.Server.PasswordEnv, PasswordFile: d.Server.PasswordFile,
		TLS: d.Server.TLS, CAFile: d.Server.CAFile,
		Accounts: users, Command: b.socketOnly, Why: p.decisions.At(d.Line) + " says so",
	}
	if b.profile.Network.Accounts.Path != "" {
		w.External.Network = p.accountsFrom(b)
	}
	w.Service = []handoff.Port{{Name: usual.Name, Number: port, Protocol: "TCP"}}
	w.LowPorts = false
	for i := range p.plan.Volumes {
		v := &p.plan.Volumes[i]
		if strings.HasPrefix(v.CheckIn, w.Name+"/") { // the comparison of the tables is the check
			v.Check, v.CheckIn = nil, ""
		}
	}
	at := net.JoinHostPort(d.Server.Host, strconv.Itoa(int(port)))
	p.risk("medium", b.id, fmt.Sprintf("the databases of %s are moved by a dump to %s: that server's version, configuration and rules about who comes from where are not the host's", b.box.Name, at),
		"take a server of the same major version, let the cluster's nodes in (PostgreSQL: pg_hba.conf), and compare its settings with "+b.box.Name+"'s")
	p.openWay(b, d, at)
	p.risk("low", b.id, fmt.Sprintf("the volumes of %s stay in the cluster with the files as they were copied", b.box.Name),
		"when the other server is in use and backed up, remove the claims by hand")
	return nil
}

// openWay says where the databases, or what clients ask of them, travel so that
// others may read it.
func (p *planner) openWay(b *service, d decisions.Workload, at string) {
	const remedy = "say tls: verify and a caFile for the server in statelift.yaml, or have a network between that nobody else reads"
	dump := "the dump of " + b.box.Name + ", with the accounts, travels to " + at
	switch d.Server.TLS {
	case "":
		p.risk("medium", b.id, dump+" as the engine's programs and that server agree: nothing says that it is encrypted", remedy)
	case handoff.TLSDisable:
		p.risk("medium", b.id, dump+" without encryption: "+p.decisions.At(d.Line)+" says so", remedy)
	case handoff.TLSRequire:
		p.risk("low", b.id, dump+" encrypted, and the server there does not prove who it is", remedy)
	}
	p.risk("medium", b.id, "clients of "+b.box.Name+" reach "+at+" as their own configuration says, which is from where the database was beside them: it may not ask for encryption, and the server's certificate does not have the name "+p.plan.ObjectName(d.Name)+" by which they call it",
		"set it in their configuration (WordPress: MYSQL_CLIENT_FLAGS; libpq: sslmode), or have a network between that nobody else reads")
}

// noWayOut says why the databases of a service cannot be moved.
func (p *planner) noWayOut(b *service) string {
	switch {
	case b.job():
		return b.id + " runs at its times: it is no database server"
	case b.profile == nil || b.profile.Network.External.Engine == "" || len(b.profile.Run.Ports) == 0:
		return fmt.Sprintf("no profile knows how the databases of %s are dumped", b.id)
	case len(b.socketOnly) == 0:
		return fmt.Sprintf("how %s is started on a socket only is not known", b.id)
	}
	return ""
}

// leadOut leads all clients to the other server, and returns the accounts with
// which they log in. A client that cannot be led would find nobody.
func (p *planner) leadOut(ctx context.Context, b *service, srv server) ([]string, error) {
	var users []string
	open := p.newDraft()
	for _, a := range p.clientsApart(b) {
		d := p.newDraft()
		more, why, err := p.leadClient(ctx, d, a, srv)
		if err != nil {
			return nil, err
		}
		if why == "" {
			why = p.fits(open, d)
		}
		if why != "" {
			p.blocked = append(p.blocked, fmt.Sprintf("%s cannot be led to %s outside the cluster: %s", a.box.Name, b.box.Name, why))
			continue
		}
		open.join(d)
		users = append(users, more...)
		p.isLed(a, b)
	}
	p.apply(open)
	slices.Sort(users)
	return slices.Compact(users), nil
}

// isLed notes that a client reaches a server by its Service.
func (p *planner) isLed(a, b *service) {
	if p.led == nil {
		p.led = map[bondKey]bool{}
	}
	p.led[bondKey{a, b}] = true
}

// accountsQuestion names the question from where clients may log in.
func accountsQuestion(b *service) string {
	return kubename.Label("accounts-"+b.box.Name, maxWorkload)
}
