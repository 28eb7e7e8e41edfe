package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// letIn collects what makes the server accept a client's accounts from another
// Pod.
func (p *planner) letIn(ctx context.Context, d *draft, a *service, srv server, users []string) (why string) {
	b := srv.s
	if b.profile == nil {
		return ""
	}
	acc := b.profile.Network.Accounts
	if acc.Pattern != "" {
		return p.openList(ctx, d, srv)
	}
	if acc.Path == "" {
		return ""
	}
	if len(users) == 0 {
		return fmt.Sprintf("the account with which %s logs in is not known", a.box.Name)
	}
	if why := p.canMakeAccounts(ctx, srv); why != "" {
		return why
	}
	for _, user := range users {
		if !plainName(user) {
			return fmt.Sprintf("the name of its account %q is no plain text", user)
		}
		network := p.accountsFrom(b)
		d.changes = append(d.changes, change{
			Rewrite: handoff.Rewrite{What: "account " + user, Old: sqlName(user) + "@'localhost'", New: sqlName(user) + "@" + sqlName(network), Why: acc.Why, In: acc.Path},
			s:       b, account: user,
		})
		if user == "root" {
			p.risk("high", a.id, fmt.Sprintf("%s logs in to %s as root: an account that may do everything is known from other Pods now", a.box.Name, b.box.Name), "give it an account of its own")
		}
	}
	args := make([]string, len(acc.Args))
	for i, w := range acc.Args {
		args[i] = strings.ReplaceAll(w, "{file}", acc.Path)
	}
	d.addArgs(b, args, "the server makes the accounts when it starts; those that are there stay as they are")
	return ""
}

// canMakeAccounts looks for what stands in the way.
func (p *planner) canMakeAccounts(ctx context.Context, srv server) (why string) {
	acc := srv.s.profile.Network.Accounts
	if needs, ok := p.placeholders(srv.s, acc.Needs); ok && acc.Needs != "" {
		if _, err := p.host.cat.Lookup(ctx, hostpath.Clean(needs)); errors.Is(err, catalog.ErrNoPath) {
			return fmt.Sprintf("there is no %s, so that accounts cannot be copied by statelift; make them by hand for the Pods' addresses", needs)
		} else if err != nil {
			return err.Error()
		}
	}
	if acc.Unless != "" {
		for _, v := range p.host.settings {
			if v.Profile == srv.s.profile.Name && v.Value != "" && matchKey(acc.Unless, v.Key) {
				return fmt.Sprintf("%s in %s is in use, and there can be only one", v.Key, place(v.Source))
			}
		}
	}
	return ""
}

// accountsFrom is from where accounts are known: what the user answered, or the
// profile's default.
func (p *planner) accountsFrom(b *service) string {
	id := accountsQuestion(b)
	network := b.profile.Network.Accounts.Network
	p.ask(handoff.Question{
		ID: id, About: b.id,
		Text: fmt.Sprintf("From which addresses may the clients of %s log in? The NetworkPolicy lets their Pods alone reach the port; the network of the cluster's Pods, written as %s has it, would narrow it further.",
			b.box.Name, firstOf(b.profile.Title, b.profile.Name)),
		Default: network,
	})
	given := p.answer(id)
	if given != "" && (!plainName(given) || strings.ContainsAny(given, " '")) {
		fault := fmt.Sprintf("%s: answers: %s: %q is no pattern of addresses", p.decisions.File, id, given)
		if !slices.Contains(p.blocked, fault) {
			p.blocked = append(p.blocked, fault)
		}
		given = ""
	}
	return firstOf(given, network)
}

// openList copies lines of a list of who may come in.
func (p *planner) openList(ctx context.Context, d *draft, srv server) (why string) {
	acc := srv.s.profile.Network.Accounts
	network := p.accountsFrom(srv.s)
	found := 0
	why = p.eachMatch(ctx, acc.Files, acc.Pattern, func(f hostpath.Path, text string, m match) {
		start := strings.LastIndexByte(text[:m.start], '\n') + 1
		line := text[start:m.start] + network + text[m.end:m.last]
		d.edit(srv.s, facts.Source{Path: f, Line: m.line + 1}, handoff.Edit{At: int64(m.last), New: "\n" + line}, handoff.Rewrite{
			What: "who may come in", New: line, Why: acc.Why,
		})
		found++
	})
	if why != "" {
		return why
	}
	if found == 0 {
		return fmt.Sprintf("no list of %s lets anybody in by a password from the host's own address", srv.s.box.Name)
	}
	return ""
}

// leadPrograms collects what the client programs that a job runs are told, and
// finds the accounts that they log in with.
func (p *planner) leadPrograms(ctx context.Context, d *draft, a *service, srv server) (users []string, why string, err error) {
	progs := srv.s.profile.Network.Programs
	for _, e := range progs.Env {
		d.setVariable(a, e.Name, srv.fill(e.Value), "its programs take the server from this variable; without it they use the socket, which is in another Pod")
	}
	for _, prog := range a.programs {
		if user := optionOf(prog.line, "-u", "--user="); user != "" {
			users = append(users, user)
		}
		if own := firstOf(optionOf(prog.line, "-S", "--socket="), optionOf(prog.line, "-h", "--host=")); own != "" && p.isOwn(own) {
			return nil, fmt.Sprintf("%s names %s on its command line (%s)", prog.name, own, place(prog.Source)), nil
		}
	}
	if progs.Options.Host == "" {
		if len(progs.Env) == 0 {
			return nil, fmt.Sprintf("how programs of %s are told a name is not known", srv.s.box.Name), nil
		}
		return nil, "", p.leadPasswords(ctx, d, a, srv)
	}
	home := hostpath.Clean(firstOf(string(p.host.userByID(a.box.UID).Home), "/")).Join(progs.Options.Home)
	var files []hostpath.Path
	for _, m := range append(slices.Clone(a.mentions), mention{path: home}) {
		if !slices.Contains(files, m.path) {
			files = append(files, m.path)
		}
	}
	led := false
	for _, f := range files {
		e, err := p.host.cat.Lookup(ctx, f)
		if errors.Is(err, catalog.ErrNoPath) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		if e.Type != tree.Regular || e.Class != claim.Config && e.Class != claim.Secret && f != home {
			continue
		}
		text, why := p.textOf(ctx, f)
		if why != "" {
			return nil, why, nil
		}
		found, user, why := p.leadOptions(d, a, srv, f, text)
		if why != "" {
			return nil, why, nil
		}
		led = led || found
		if user != "" {
			users = append(users, user)
		}
	}
	if !led {
		return nil, fmt.Sprintf("%s reads no option file of its own that could name the server and its account", a.box.Name), nil
	}
	return users, "", nil
}

// optionOf is the value of an option in a line of shell: "-u x", "-ux",
// "--user=x".
func optionOf(line, short, long string) string {
	words := strings.Fields(line)
	for i, w := range words {
		switch {
		case strings.HasPrefix(w, long):
			return strings.Trim(w[len(long):], `"'`)
		case w == short || w+"=" == long:
			if i+1 < len(words) {
				return strings.Trim(words[i+1], `"'`)
			}
		case strings.HasPrefix(w, short) && !strings.HasPrefix(w, "--"):
			return strings.Trim(w[len(short):], `"'`)
		}
	}
	return ""
}

// leadOptions puts the server into an option file (the format mysql); user is
// the account that the file names.
func (p *planner) leadOptions(d *draft, a *service, srv server, file hostpath.Path, text string) (found bool, user, why string) {
	o := srv.s.profile.Network.Programs.Options
	group, header, said := false, 0, false
	value := srv.host
	reason := fmt.Sprintf("localhost is the socket of %s, which is in another Pod", srv.s.box.Name)
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			name := strings.Trim(line, "[] \t\r")
			group = slices.ContainsFunc(o.Groups, func(g string) bool { return glob(g, name) })
			if group && header == 0 {
				header = i + 1
			}
			continue
		}
		key, val, _ := strings.Cut(line, "=")
		key, val = foldName(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(val), `"'`)
		if !group || line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		switch key {
		case o.User:
			user = val
		case o.Host:
			said = true
			if !p.isOwn(val) {
				continue
			}
			e, ok := replaceValue(text, i+1, o.Host, val, value)
			if !ok {
				return false, "", fmt.Sprintf("%s in %s:%d is not written so that it could be replaced", o.Host, file, i+1)
			}
			d.edit(a, facts.Source{Path: file, Line: i + 1}, e, handoff.Rewrite{What: o.Host, Old: val, New: value, Why: reason})
		}
	}
	if header == 0 {
		return false, "", ""
	}
	if !said {
		at, _ := lineStart(text, header)
		e := handoff.Edit{At: int64(lineEnd(text, at)), New: "\n" + o.Host + " = " + value}
		d.edit(a, facts.Source{Path: file, Line: header + 1}, e, handoff.Rewrite{What: o.Host, New: value, Why: reason})
	}
	if !srv.usual {
		at, _ := lineStart(text, header)
		e := handoff.Edit{At: int64(lineEnd(text, at)), New: fmt.Sprintf("\nport = %d", srv.port)}
		d.edit(a, facts.Source{Path: file, Line: header + 1}, e, handoff.Rewrite{What: "port", New: fmt.Sprint(srv.port), Why: reason})
	}
	return true, user, ""
}

// addAccount notes an account that the server has to make.
func (p *planner) addAccount(b *service, user string) {
	if p.accounts == nil {
		p.accounts = map[*service][]string{}
	}
	if !slices.Contains(p.accounts[b], user) {
		p.accounts[b] = append(p.accounts[b], user)
		slices.Sort(p.accounts[b])
	}
}

// accountFile is the file that makes the accounts of a server, "" for none.
func (p *planner) accountFile(b *service) (hostpath.Path, string) {
	users := p.accounts[b]
	if len(users) == 0 {
		return "", ""
	}
	acc := b.profile.Network.Accounts
	locals := []string{"localhost", "127.0.0.1", "::1"}
	for _, name := range sortedKeys(p.host.ownAddress) {
		if plainName(name) {
			locals = append(locals, name)
		}
	}
	for i := range locals {
		locals[i] = sqlName(locals[i])
	}
	var text strings.Builder
	text.WriteString("-- Made by statelift: accounts that were known from the host alone. They hold no password: the server copies them.\n")
	for _, user := range users {
		text.WriteString(strings.NewReplacer(
			"{user}", sqlName(user), "{network}", sqlName(p.accountsFrom(b)), "{locals}", strings.Join(slices.Compact(locals), ", "),
		).Replace(acc.Text))
	}
	return hostpath.Path(acc.Path), text.String()
}

// plainName accepts what a literal of SQL holds as it is.
func plainName(s string) bool {
	return s != "" && len(s) < 256 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' })
}

// sqlName is a literal of SQL.
func sqlName(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
