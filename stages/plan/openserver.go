package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
)

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
