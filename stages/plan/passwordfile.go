package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// leadPasswords collects the lines of password files that a job names, or has in
// its home, and that hold for the host itself: for a server in another Pod no
// line would fit, and the program would have no password.
func (p *planner) leadPasswords(ctx context.Context, d *draft, a *service, srv server) error {
	file := srv.s.profile.Network.Programs.Passwords
	if file.Pattern == "" {
		return nil
	}
	home := hostpath.Clean(firstOf(string(p.host.userByID(a.box.UID).Home), "/")).Join(file.Home)
	var seen []hostpath.Path
	for _, m := range append(slices.Clone(a.mentions), mention{path: home}) {
		if slices.Contains(seen, m.path) {
			continue
		}
		seen = append(seen, m.path)
		e, err := p.host.cat.Lookup(ctx, m.path)
		if errors.Is(err, catalog.ErrNoPath) {
			continue
		}
		if err != nil {
			return err
		}
		if e.Class != claim.Config && e.Class != claim.Secret && m.path != home {
			continue
		}
		text, why := p.textOf(ctx, m.path)
		if why != "" {
			p.risk("high", a.id, fmt.Sprintf("the passwords in %s are for the host itself, and %s: %s finds none for %s", m.path, why, a.box.Name, srv.host),
				fmt.Sprintf("add a line for %s to it", srv.host))
			continue
		}
		for _, found := range matches(text, file.Pattern) {
			old := text[found.start:found.end]
			d.edit(a, facts.Source{Path: m.path, Line: found.line}, handoff.Edit{At: int64(found.start), Old: old, New: srv.host}, handoff.Rewrite{
				What: "host of a password", Old: old, New: srv.host, Why: fmt.Sprintf("the password is known for the host itself, and %s is in another Pod", srv.s.box.Name),
			})
			if found.end2 == 0 || text[found.start2:found.end2] == fmt.Sprint(srv.port) {
				continue
			}
			port := text[found.start2:found.end2]
			d.edit(a, facts.Source{Path: m.path, Line: found.line}, handoff.Edit{At: int64(found.start2), Old: port, New: fmt.Sprint(srv.port)}, handoff.Rewrite{
				What: "port of a password", Old: port, New: fmt.Sprint(srv.port), Why: fmt.Sprintf("%s is reached at another port", srv.s.box.Name),
			})
		}
	}
	return nil
}
