package plan

import (
	"context"
	"fmt"
	"slices"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
)

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
	p.socketsNamed(d, a, srv.s)
	return users, "", nil
}

// socketsNamed says where a client that is led still names the server's socket:
// php.ini has one for code that connects to localhost.
func (p *planner) socketsNamed(d *draft, a, b *service) {
	for _, l := range b.listens {
		for _, v := range p.host.settings {
			reads := slices.ContainsFunc(a.profiles(), func(q *profile.Profile) bool { return q.Name == v.Profile })
			if l.Protocol != "unix" || !reads || v.Secret || d.touches(v.Source) || !containsAddress(v.Value, l.Address) {
				continue
			}
			p.risk("low", a.id, fmt.Sprintf("%s in %s names the socket of %s, which is in another Pod", v.Key, place(v.Source), b.box.Name),
				"what connects to localhost by it must be told the name of the Service "+p.plan.ObjectName(p.podOf(b).Name))
		}
	}
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
			i := indexAddress(v.value, form)
			if i < 0 {
				continue
			}
			to, why := fmt.Sprintf("%s:%d", srv.host, srv.port), fmt.Sprintf("loopback leads to the Pod itself, and %s is in another one", srv.s.box.Name)
			if v.secret {
				d.editVariable(a, name, handoff.Edit{At: int64(i), Old: form, New: to}, why)
			} else {
				d.setVariable(a, name, v.value[:i]+to+v.value[i+len(form):], why)
			}
			n++
			break
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
