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
		if len(c) < 2 || slices.Contains(systemAccounts(), c[0]) || c[0] == m.order.User {
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

// moveAccounts makes those that are not there. Grants on databases and tables
// that do not exist yet are allowed; those on routines come after the restore, see
// finishAccounts.
func (m *mariadb) moveAccounts(ctx context.Context, ours bool) ([]string, error) {
	var err error
	if m.accounts, err = m.listAccounts(ctx); err != nil {
		return nil, err
	}
	names := []string{}
	for _, a := range m.accounts {
		list, err := m.statements(ctx, files, a)
		if err != nil {
			return nil, err
		}
		for _, to := range m.known(a) {
			if err := m.makeAccount(ctx, list, a, to, ours); err != nil {
				return nil, err
			}
			names = append(names, to.String())
		}
	}
	return names, nil
}

func (m *mariadb) makeAccount(ctx context.Context, list []string, a, to account, ours bool) error {
	there, err := m.exists(ctx, to)
	if err != nil {
		return err
	}
	if there && !ours {
		if same, err := m.sameAccount(ctx, list, a, to); err != nil || same {
			return err
		}
		return &pipeline.Blocked{Question: fmt.Sprintf(
			"the server at %s has an account %s already, and it is another one. Choose: drop or rename it there, or name another server in statelift.yaml", m.order.Host, to)}
	}
	var script strings.Builder
	for i, s := range list {
		s = as(s, a, to)
		if i == 0 {
			if there {
				continue
			}
		} else if deferred(s) {
			continue
		}
		script.WriteString(s + ";\n")
	}
	if err := m.exec(ctx, beyond, script.String()); err != nil {
		return hide(err, to)
	}
	return nil
}

// deferred are grants on what has to be there before.
func deferred(statement string) bool {
	return strings.Contains(statement, " ON PROCEDURE ") || strings.Contains(statement, " ON FUNCTION ") || strings.Contains(statement, " ON PACKAGE ") ||
		onTable.MatchString(statement)
}

// onTable matches a grant on one table; without CREATE it must be there.
var onTable = regexp.MustCompile("^GRANT .* ON [`'][^`']*[`']\\.[`'][^`']+[`'] TO ")

func (m *mariadb) sameAccount(ctx context.Context, list []string, a, to account) (bool, error) {
	have, err := m.statements(ctx, beyond, to)
	if err != nil {
		return false, err
	}
	want := make([]string, len(list))
	for i, s := range list {
		want[i] = plainQuotes(as(s, a, to))
	}
	for i := range have {
		have[i] = plainQuotes(as(have[i], to, to))
	}
	slices.Sort(want)
	slices.Sort(have)
	return slices.Equal(want, have), nil
}

func plainQuotes(s string) string { return strings.ReplaceAll(s, "`", "'") }

// compareAccounts makes the grants that had to wait, and compares.
func (m *mariadb) compareAccounts(ctx context.Context) ([]string, error) {
	var out []string
	for _, a := range m.accounts {
		list, err := m.statements(ctx, files, a)
		if err != nil {
			return nil, err
		}
		for _, to := range m.known(a) {
			for _, s := range list {
				if s = as(s, a, to); !deferred(s) {
					continue
				}
				if err := m.exec(ctx, beyond, s+";"); err != nil {
					m.told = append(m.told, fmt.Sprintf("a grant of account %s was not made: %v", to, hide(err, to)))
				}
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
