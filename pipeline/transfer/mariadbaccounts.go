package transfer

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline"
)

// account is a user at a host, or a role, which has none.
type account struct{ user, host string }

func (a account) String() string {
	if a.host == "" {
		return a.user
	}
	return a.user + "@" + a.host
}

// sql names it; its parts are plain, see [mariadb.listAccounts].
func (a account) sql() string {
	if a.host == "" {
		return "'" + a.user + "'"
	}
	return "'" + a.user + "'@'" + a.host + "'"
}

// systemAccounts are those that each server has of its own. An administrator's
// root is not brought to a server that has another one.
func systemAccounts() []string {
	return []string{"root", "mysql", "mariadb.sys", "mariadb-backup", "debian-sys-maint", "mysql.sys", "mysql.session", "mysql.infoschema", "PUBLIC", "healthcheck", ownAccount, ""}
}

// plainAccount is what a name may hold so that it can be written as a literal.
func plainAccount(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\'' || r == '\\' || r == '`' || r == 0x7f })
}

// listAccounts are the accounts that move.
func (m *mariadb) listAccounts(ctx context.Context) (out []account, err error) {
	err = m.query(ctx, files, "SELECT User, Host FROM mysql.user ORDER BY BINARY Host = '' DESC, BINARY User, BINARY Host;", func(c []string) error {
		if len(c) < 2 {
			return nil
		}
		if system := slices.Contains(systemAccounts(), c[0]); system || c[0] == m.order.User {
			m.skip(c[0], system)
			return nil
		}
		if !plainAccount(c[0]) || !plainAccount(c[1]) {
			m.told = append(m.told, fmt.Sprintf("account %q is not moved: its name is no plain text", c[0]))
			return nil
		}
		out = append(out, account{c[0], c[1]})
		return nil
	})
	return out, err
}

// skip says which account that people may use is not moved.
func (m *mariadb) skip(user string, system bool) {
	switch {
	case slices.Contains(m.order.Accounts, user):
		m.leave(fmt.Sprintf("clients log in as %s, an account that is not moved, as the server outside has its own: give them another on the host", user))
	case user == "":
		m.told = append(m.told, "the account without a name is not moved")
	case !system:
		m.told = append(m.told, fmt.Sprintf("account %s is not moved: the administrator of the server outside has that name", user))
	}
}

// known is who the account is in the other server: the same, and for clients
// that the server knew from its own host also from where Pods come.
func (m *mariadb) known(a account) []account {
	out := []account{a}
	local := a.host == "localhost" || a.host == "127.0.0.1" || a.host == "::1"
	if local && m.order.Network != "" && slices.Contains(m.order.Accounts, a.user) {
		from := account{a.user, m.order.Network}
		if !slices.Contains(m.accounts, from) {
			out = append(out, from)
		}
	}
	return out
}

// statements make an account as it is on one side, with its grants. They hold the
// hash of its password.
func (m *mariadb) statements(ctx context.Context, s side, a account) ([]string, error) {
	var out []string
	if a.host == "" {
		out = append(out, "CREATE ROLE "+a.sql())
	} else {
		made, err := m.column(ctx, s, "SHOW CREATE USER "+a.sql()+";")
		if err != nil {
			return nil, hide(err, a)
		}
		out = append(out, made...)
	}
	granted, err := m.column(ctx, s, "SHOW GRANTS FOR "+a.sql()+";")
	if err != nil {
		return nil, hide(err, a)
	}
	slices.Sort(granted)
	return append(out, granted...), nil
}

var errorNumber = regexp.MustCompile(`ERROR [0-9]+ \([0-9A-Z]+\)`)

// hide keeps of an error what cannot show a credential.
func hide(err error, a account) error {
	return errSecret{fmt.Sprintf("account %s: %s", a, errorNumber.FindString(err.Error()))}
}

// as renames the account in its own statements, however the server quotes it.
func as(statement string, from, to account) string {
	if from == to {
		return statement // a role's name may be another thing's, too
	}
	for _, q := range []string{"`", "'"} {
		statement = strings.ReplaceAll(statement, q+from.user+q+"@"+q+from.host+q, "'"+to.user+"'@'"+to.host+"'")
		if from.host == "" {
			statement = strings.ReplaceAll(statement, q+from.user+q, "'"+to.user+"'")
		}
	}
	return statement
}

// exists reports whether the other server has the account.
func (m *mariadb) exists(ctx context.Context, a account) (bool, error) {
	found, err := m.column(ctx, beyond, "SELECT 1 FROM mysql.user WHERE User = "+literal(a.user)+" AND Host = "+literal(a.host)+";")
	return len(found) > 0, err
}

// identity is who an account of the host is in the other server.
type identity struct {
	from, to account
	list     []string // the statements that make it, with the hash of its password
	there    bool
}

// moveAccounts makes those that are not there. Grants on databases and tables
// that do not exist yet are allowed; those on routines come after the restore, see
// compareAccounts. All are looked at before the first is made.
func (m *mariadb) moveAccounts(ctx context.Context) ([]string, error) {
	var err error
	if m.accounts, err = m.listAccounts(ctx); err != nil {
		return nil, err
	}
	if err := m.definers(ctx); err != nil {
		return nil, err
	}
	list, err := m.identities(ctx)
	if err != nil {
		return nil, err
	}
	names, wanted := []string{}, []identity{}
	for _, id := range list {
		names = append(names, id.to.String())
		same := false
		if id.there, err = m.exists(ctx, id.to); err == nil && id.there {
			same, err = m.mayMake(ctx, id)
		}
		if err != nil {
			return nil, err
		}
		if !same {
			wanted = append(wanted, id)
		}
	}
	m.made = map[account]bool{}
	for _, id := range wanted {
		if err := m.makeAccount(ctx, id); err != nil {
			return nil, err
		}
		m.made[id.to] = true
	}
	return names, nil
}

// identities are all that are to be in the other server, each once.
func (m *mariadb) identities(ctx context.Context) ([]identity, error) {
	var out []identity
	for _, a := range m.accounts {
		list, err := m.statements(ctx, files, a)
		if err != nil {
			return nil, err
		}
		for _, to := range m.known(a) {
			i := slices.IndexFunc(out, func(id identity) bool { return id.to == to })
			switch {
			case i < 0:
				out = append(out, identity{from: a, to: to, list: list})
			case !slices.Equal(normal(out[i].list, out[i].from, to), normal(list, a, to)):
				return nil, &pipeline.Blocked{Question: fmt.Sprintf(
					"the accounts %s and %s of the host would both be %s at %s, and have other rights or passwords. Choose: make them the same on the host, or drop one there", out[i].from, a, to, m.order.Host)}
			}
		}
	}
	return out, nil
}

// mayMake reports whether an account that is there is the same already. One that
// this lift did not make, or that others changed, is an error.
func (m *mariadb) mayMake(ctx context.Context, id identity) (same bool, err error) {
	have, err := m.present(ctx, id.to)
	if err != nil || slices.Equal(have, normal(id.list, id.from, id.to)) {
		return err == nil, err
	}
	ours, err := m.ours(ctx, id.to, have)
	if err == nil && !ours {
		err = foreignAccount(m.order.Host, "an account "+id.to.String())
	}
	return false, err
}

// ours reports whether an account is as a run of this lift made it, or left it when
// it was stopped.
func (m *mariadb) ours(ctx context.Context, a account, have []string) (bool, error) {
	k, err := m.mark(ctx, accountItem(a.String()))
	return k.state != "" && (k.sum == "" || k.sum == sumOfAccount(have)), err
}

func (m *mariadb) makeAccount(ctx context.Context, id identity) error {
	if err := m.making(ctx, id.to); err != nil {
		return err
	}
	var script strings.Builder
	for i, s := range id.list {
		s = as(s, id.from, id.to)
		if i == 0 {
			if id.there {
				continue
			}
		} else if deferred(s) {
			continue
		}
		script.WriteString(s + ";\n")
	}
	if err := m.exec(ctx, beyond, script.String()); err != nil {
		return hide(err, id.to)
	}
	return m.madeIt(ctx, id.to)
}

// making notes that an account is this lift's, whatever a stop leaves of it.
func (m *mariadb) making(ctx context.Context, a account) error {
	return m.setMark(ctx, accountItem(a.String()), mark{state: begun, source: m.order.Source})
}

// madeIt notes how an account is.
func (m *mariadb) madeIt(ctx context.Context, a account) error {
	have, err := m.present(ctx, a)
	if err != nil {
		return err
	}
	return m.setMark(ctx, accountItem(a.String()), mark{state: begun, source: m.order.Source, sum: sumOfAccount(have)})
}

func sumOfAccount(statements []string) string { return sumOf(strings.Join(statements, "\n")) }

// deferred are grants on what has to be there before.
func deferred(statement string) bool {
	return strings.Contains(statement, " ON PROCEDURE ") || strings.Contains(statement, " ON FUNCTION ") || strings.Contains(statement, " ON PACKAGE ") ||
		onTable.MatchString(statement)
}

// onTable matches a grant on one table; without CREATE it must be there.
var onTable = regexp.MustCompile("^GRANT .* ON [`'][^`']*[`']\\.[`'][^`']+[`'] TO ")

// present is an account as the other server has it.
func (m *mariadb) present(ctx context.Context, a account) ([]string, error) {
	have, err := m.statements(ctx, beyond, a)
	return normal(have, a, a), err
}

// normal are the statements of an account as another one, however they are quoted.
func normal(list []string, from, to account) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = plainQuotes(as(s, from, to))
	}
	slices.Sort(out)
	return out
}

func (m *mariadb) sameAccount(ctx context.Context, list []string, a, to account) (bool, error) {
	have, err := m.present(ctx, to)
	return slices.Equal(have, normal(list, a, to)), err
}

func plainQuotes(s string) string { return strings.ReplaceAll(s, "`", "'") }

// compareAccounts makes the grants that had to wait, and compares.
func (m *mariadb) compareAccounts(ctx context.Context) ([]string, error) {
	out := slices.Clone(m.left)
	for _, a := range m.accounts {
		list, err := m.statements(ctx, files, a)
		if err != nil {
			return nil, err
		}
		for _, to := range m.known(a) {
			if err := m.grantDeferred(ctx, list, a, to); err != nil {
				return nil, err
			}
			same, err := m.sameAccount(ctx, list, a, to)
			if err != nil {
				return nil, err
			}
			if !same {
				out = append(out, fmt.Sprintf("account %s has other rights or another authentication there", to))
			}
		}
	}
	return out, nil
}

// grantDeferred makes the grants on what was not there before.
func (m *mariadb) grantDeferred(ctx context.Context, list []string, a, to account) error {
	wait := slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !deferred(as(s, a, to)) })
	if len(wait) == 0 {
		return nil
	}
	made := m.made[to]
	if made {
		have, err := m.present(ctx, to)
		if err != nil {
			return err
		}
		// Others may have changed it while the databases were restored.
		if made, err = m.ours(ctx, to, have); err != nil {
			return err
		}
	}
	if made {
		if err := m.making(ctx, to); err != nil {
			return err
		}
	}
	for _, s := range wait {
		if err := m.exec(ctx, beyond, as(s, a, to)+";"); err != nil {
			m.told = append(m.told, fmt.Sprintf("a grant of account %s was not made: %v", to, hide(err, to)))
		}
	}
	if !made {
		return nil
	}
	return m.madeIt(ctx, to)
}
