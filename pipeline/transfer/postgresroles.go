package transfer

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// role is one of PostgreSQL, with the statements that make it.
type role struct {
	name  string
	after string // ALTER ROLE with all attributes; holds the password's hash
	more  []string
}

// rolesQuery is each role but the server's own, and what makes it the same
// elsewhere.
const rolesQuery = `SELECT r.rolname, format('ALTER ROLE %I WITH %s %s %s %s %s %s %s CONNECTION LIMIT %s%s%s;', r.rolname,
	CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
	CASE WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
	CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN r.rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
	CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, r.rolconnlimit,
	format(' PASSWORD %L', r.rolpassword), CASE WHEN r.rolvaliduntil IS NULL THEN '' ELSE format(' VALID UNTIL %L', r.rolvaliduntil) END)
	FROM pg_authid r WHERE r.oid <> 10 AND r.rolname !~ '^pg_' ORDER BY r.rolname COLLATE "C"`

// membersQuery is who is a member of what, and settings of a role for all
// databases; those for one database are in its dump.
const membersQuery = `SELECT m.rolname, format('GRANT %I TO %I%s;', g.rolname, m.rolname, CASE WHEN a.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END)
	FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member WHERE m.oid <> 10 AND m.rolname !~ '^pg_'
	UNION ALL
	SELECT r.rolname, format('ALTER ROLE %I SET %I TO %s;', r.rolname, split_part(c, '=', 1),
	CASE WHEN split_part(c, '=', 1) IN ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries') THEN substr(c, strpos(c, '=') + 1) ELSE format('%L', substr(c, strpos(c, '=') + 1)) END)
	FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c WHERE s.setdatabase = 0 AND r.oid <> 10
	ORDER BY 1, 2`

func (p *postgres) listRoles(ctx context.Context, s side) ([]role, error) {
	var out []role
	err := p.query(ctx, s, maintenance, rolesQuery, func(c []string) error {
		out = append(out, role{name: c[0], after: c[1]})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("roles with their passwords (only a superuser reads them): %w", err)
	}
	err = p.query(ctx, s, maintenance, membersQuery, func(c []string) error {
		if i := slices.IndexFunc(out, func(r role) bool { return r.name == c[0] }); i >= 0 {
			out[i].more = append(out[i].more, c[1])
		}
		return nil
	})
	return out, err
}

func (r role) same(o role) bool { return r.after == o.after && slices.Equal(r.more, o.more) }

func (r role) sum() string { return sumOf(r.after + "\n" + strings.Join(r.more, "\n")) }

func find(list []role, name string) (role, bool) {
	i := slices.IndexFunc(list, func(r role) bool { return r.name == name })
	if i < 0 {
		return role{}, false
	}
	return list[i], true
}

// skip says that a role is not moved, since the administrator of the other server has
// its name.
func (p *postgres) skip(name string) bool {
	if slices.Contains(p.order.Accounts, name) {
		p.left = append(p.left, fmt.Sprintf("clients log in as %s, which is the administrator of the server outside and is not moved: give them another role on the host, or statelift another one there", name))
		return true
	}
	p.told = append(p.told, fmt.Sprintf("role %s is not moved: the administrator of the server outside has that name", name))
	return true
}

// moveAccounts makes the roles. One that is there already must be the same, or as an
// earlier run made it.
func (p *postgres) moveAccounts(ctx context.Context) ([]string, error) {
	var err error
	if p.roles, err = p.listRoles(ctx, files); err != nil {
		return nil, err
	}
	p.roles = slices.DeleteFunc(p.roles, func(r role) bool { return r.name == p.order.User && p.skip(r.name) })
	there, err := p.listRoles(ctx, beyond)
	if err != nil {
		return nil, err
	}
	names, script := []string{}, strings.Builder{}
	bootstrap, err := p.column(ctx, files, maintenance, "SELECT rolname FROM pg_roles WHERE oid = 10")
	if err != nil {
		return nil, err
	}
	if found, err := p.column(ctx, beyond, maintenance, "SELECT 1 FROM pg_roles WHERE rolname = "+quoted(bootstrap[0])); err != nil {
		return nil, err
	} else if len(found) == 0 {
		// It owns what the dump makes; there it can do nothing else.
		fmt.Fprintf(&script, "CREATE ROLE %s NOLOGIN;\n", identifier(bootstrap[0]))
		p.told = append(p.told, fmt.Sprintf("the other server has no role %s, which owns what others do not: it is there without any right, and cannot log in", bootstrap[0]))
	}
	var changed []role
	marks := map[string]mark{}
	for _, r := range p.roles {
		names = append(names, r.name)
		have, found := find(there, r.name)
		if found && have.same(r) {
			continue
		}
		k := mark{state: begun, sum: r.sum()}
		if found {
			if ours, err := p.ours(ctx, have); err != nil {
				return nil, err
			} else if !ours {
				return nil, foreignAccount(p.order.Host, "a role "+r.name)
			}
			k.source = have.sum()
		} else {
			fmt.Fprintf(&script, "CREATE ROLE %s;\n", identifier(r.name))
		}
		changed, marks[r.name] = append(changed, r), k
	}
	for _, r := range changed {
		// Before it is made: after a stop, it is known whose it is.
		if err := p.setMark(ctx, accountItem(r.name), marks[r.name]); err != nil {
			return nil, err
		}
		fmt.Fprintln(&script, r.after)
		for _, m := range r.more {
			fmt.Fprintln(&script, m)
		}
	}
	// One transaction: a stop leaves all roles or none.
	if err := p.exec(ctx, beyond, maintenance, "SET client_min_messages = error;\nBEGIN;\n"+script.String()+"COMMIT;\n"); err != nil {
		return nil, err
	}
	return names, p.markMade(ctx, changed)
}

// ours reports whether a role is as a run of this lift made it, or found it before
// it was stopped.
func (p *postgres) ours(ctx context.Context, have role) (bool, error) {
	k, err := p.mark(ctx, accountItem(have.name))
	return have.sum() == k.sum || have.sum() == k.source, err
}

// markMade notes what became of roles that now have more than the source, since
// nothing is taken from them.
func (p *postgres) markMade(ctx context.Context, changed []role) error {
	if len(changed) == 0 {
		return nil
	}
	there, err := p.listRoles(ctx, beyond)
	if err != nil {
		return err
	}
	for _, r := range changed {
		have, _ := find(there, r.name)
		if have.same(r) {
			continue
		}
		if err := p.setMark(ctx, accountItem(r.name), mark{state: begun, sum: have.sum()}); err != nil {
			return err
		}
	}
	return nil
}

func (p *postgres) compareAccounts(ctx context.Context) ([]string, error) {
	there, err := p.listRoles(ctx, beyond)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(p.left)
	for _, r := range p.roles {
		if have, _ := find(there, r.name); !have.same(r) {
			out = append(out, fmt.Sprintf("role %s has other rights or another password there", r.name))
		}
	}
	spaces, err := p.column(ctx, files, maintenance, "SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY 1")
	if err != nil {
		return nil, err
	}
	all, err := p.column(ctx, files, maintenance, "SELECT split_part(c, '=', 1) FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setrole = 0 AND s.setdatabase = 0 ORDER BY 1")
	if err != nil {
		return nil, err
	}
	own, err := p.column(ctx, files, maintenance, "SELECT 1 FROM pg_database d WHERE datname = '"+maintenance+"' AND (datacl IS NOT NULL OR EXISTS (SELECT 1 FROM pg_db_role_setting s WHERE s.setdatabase = d.oid))")
	if err != nil {
		return nil, err
	}
	if len(own) > 0 {
		p.told = append(p.told, "what is set for the database "+maintenance+" itself, and rights on it, are not moved: the server outside has its own")
	}
	for _, name := range all {
		p.told = append(p.told, fmt.Sprintf("%s is set for all roles (ALTER ROLE ALL SET), which is not moved: it would be for those of others there, too", name))
	}
	for _, name := range spaces {
		p.told = append(p.told, fmt.Sprintf("tablespace %s is a directory of the host: what was in it is in the other server's default one", name))
	}
	return out, nil
}
