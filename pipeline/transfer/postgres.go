package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/statelift/statelift/pipeline/handoff"
)

// postgres moves databases of PostgreSQL.
type postgres struct {
	client
	order    handoff.Transfer
	dir      string
	password string // of the administrator of the other server
	ca       string
	psql     string
	dump     string
	told     []string
	left     []string // differences: what is not moved at all
	roles    []role
}

func newPostgres(order handoff.Transfer, dir string, o Options) *postgres {
	return &postgres{order: order, dir: dir, password: o.Password, ca: o.CA}
}

// superuser is the one that the packages of the distributions make.
const superuser = "postgres"

// command opens the server's socket, in a directory of this user alone, for
// everybody who gets there (chapter 21.4, trust).
func (p *postgres) command() ([]string, error) {
	p.dirs = p.programs()
	var err error
	if p.psql, err = p.find("psql"); err != nil {
		return nil, err
	}
	if p.dump, err = p.find("pg_dump"); err != nil {
		return nil, err
	}
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	_, err1 := private(p.dir, "hba.conf", "local all all trust\n")
	_, err2 := private(p.dir, "beyond.pgpass", "*:*:*:*:"+escape.Replace(p.password)+"\n")
	return slices.Clone(p.order.Command), errors.Join(err1, err2)
}

// programs is where those of the server's own version are: beside it, or where
// the wrappers of Debian find it by the name of the cluster (pg_wrapper(1)).
func (p *postgres) programs() (dirs []string) {
	for _, word := range p.order.Command {
		if base := filepath.Base(word); base == "postgres" || base == "postmaster" {
			dirs = append(dirs, filepath.Dir(word))
		}
		version, _, _ := strings.Cut(word, "-")
		for _, dir := range []string{"/usr/lib/postgresql/" + version + "/bin", "/usr/pgsql-" + version + "/bin"} {
			if _, err := os.Stat(dir); err == nil && version != "" && !strings.Contains(version, "/") {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

func (p *postgres) ends() syscall.Signal { return syscall.SIGINT } // fast shutdown, chapter 19.5

// session is what both sides must have alike for equal rows to print alike
// (chapter 20.11).
const pgSession = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c lc_monetary=C -c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off"

// environment leads the programs to a side (chapter 34.15).
func (p *postgres) environment(s side, database string) []string {
	env := []string{"PGDATABASE=" + database, "PGOPTIONS=" + pgSession, "PGCONNECT_TIMEOUT=10", "PGCLIENTENCODING=UTF8", "HOME=" + p.dir}
	if s == files {
		return append(env, "PGHOST="+p.dir, "PGPORT="+socketPort, "PGUSER="+superuser, "PGPASSFILE="+filepath.Join(p.dir, "none"))
	}
	env = append(env, "PGHOST="+p.order.Host, fmt.Sprintf("PGPORT=%d", p.order.Port), "PGUSER="+p.order.User, "PGPASSFILE="+filepath.Join(p.dir, "beyond.pgpass"))
	switch p.order.TLS {
	case handoff.TLSDisable, handoff.TLSRequire:
		env = append(env, "PGSSLMODE="+p.order.TLS)
	case handoff.TLSVerify:
		env = append(env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+p.ca)
	}
	return env
}

// encryption is what the server knows of this session (chapter 28.2.6).
func (p *postgres) encryption(ctx context.Context) (string, error) {
	return first(p.column(ctx, beyond, maintenance, "SELECT coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl), '')"))
}

// socketPort is a part of the socket's name, see the profile's command.
const socketPort = "5432"

// at is the client for a database of a side.
func (p *postgres) at(s side, database string) *client {
	return &client{env: p.environment(s, database)}
}

// psqlArgs keep errors to their first line: the others show the statement, which
// may hold a credential.
func psqlArgs() []string {
	return []string{"-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"}
}

// query copies the rows of a query out (COPY has escapes that are defined).
func (p *postgres) query(ctx context.Context, s side, database, sql string, each func([]string) error) error {
	cmd, words := p.at(s, database).process(ctx, p.psql, append(psqlArgs(), "-f", "-")...)
	err := rows(cmd, words, "COPY ("+sql+") TO STDOUT;\n", each)
	if err != nil && s == beyond {
		return fmt.Errorf("the server at %s: %w", p.order.Host, err)
	}
	return err
}

func (p *postgres) exec(ctx context.Context, s side, database, script string) error {
	cmd, words := p.at(s, database).process(ctx, p.psql, append(psqlArgs(), "-f", "-")...)
	err := rows(cmd, words, script, func([]string) error { return nil })
	if err != nil && s == beyond {
		return fmt.Errorf("the server at %s: %w", p.order.Host, err)
	}
	return err
}

func (p *postgres) column(ctx context.Context, s side, database, sql string) (out []string, err error) {
	err = p.query(ctx, s, database, sql, func(c []string) error {
		out = append(out, c[0])
		return nil
	})
	return out, err
}

// maintenance is the database that every server has.
const maintenance = "postgres"

func (p *postgres) answers(ctx context.Context) error {
	_, err := p.column(ctx, files, maintenance, "SELECT 1")
	return err
}

func (p *postgres) version(ctx context.Context, s side) (string, error) {
	return first(p.column(ctx, s, maintenance, "SELECT current_setting('server_version')"))
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// ownObjects are what people made in a database, and not its extensions.
const ownObjects = `SELECT (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
	+ (SELECT count(*) FROM pg_proc c JOIN pg_namespace n ON n.oid = c.pronamespace
	WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
	+ (SELECT count(*) FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public'))
	+ (SELECT count(*) FROM pg_largeobject_metadata)`

// databases are all but the server's own; postgres only when somebody used it. What
// nobody can dump is told.
func (p *postgres) databases(ctx context.Context, s side) ([]string, error) {
	if s == files && len(p.order.Databases) == 0 {
		left, err := p.column(ctx, s, maintenance, "SELECT datname FROM pg_database WHERE (NOT datallowconn OR datistemplate OR datname = '"+notes+"') AND datname NOT IN ('template0', 'template1') ORDER BY datname COLLATE \"C\"")
		if err != nil {
			return nil, err
		}
		p.left = nil
		for _, name := range left {
			p.left = append(p.left, fmt.Sprintf("database %s is not moved: it takes no connections, is a template, or is called as the one with the marks of transfers is: change that on the host (ALTER DATABASE), or drop it there", name))
		}
	}
	list, err := p.column(ctx, s, maintenance, "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> '"+notes+"' ORDER BY datname COLLATE \"C\"")
	if err != nil {
		return nil, err
	}
	own, err := p.column(ctx, s, maintenance, ownObjects)
	if err == nil && own[0] == "0" {
		list = slices.DeleteFunc(list, func(name string) bool { return name == maintenance })
	}
	return list, err
}

func (p *postgres) makeNotes(ctx context.Context) error {
	there, err := p.column(ctx, beyond, maintenance, "SELECT 1 FROM pg_database WHERE datname = '"+notes+"'")
	if err != nil {
		return err
	}
	if len(there) == 0 {
		if err := p.exec(ctx, beyond, maintenance, "CREATE DATABASE "+notes+" TEMPLATE template0;\n"); err != nil {
			return err
		}
	}
	return p.exec(ctx, beyond, notes, "SET client_min_messages = warning;\nCREATE TABLE IF NOT EXISTS transfers "+
		"(plan text, item text, state text NOT NULL, source text NOT NULL, sum text NOT NULL, PRIMARY KEY (plan, item));\n")
}

// hasNotes reports whether there is a place of the marks.
func (p *postgres) hasNotes(ctx context.Context) (bool, error) {
	there, err := p.column(ctx, beyond, maintenance, "SELECT 1 FROM pg_database WHERE datname = '"+notes+"'")
	if err != nil || len(there) == 0 {
		return false, err
	}
	there, err = p.column(ctx, beyond, notes, "SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tablename = 'transfers'")
	return len(there) > 0, err
}

func (p *postgres) noted(ctx context.Context) ([]string, error) {
	if ok, err := p.hasNotes(ctx); err != nil || !ok {
		return nil, err
	}
	return p.column(ctx, beyond, notes, "SELECT item FROM transfers WHERE plan = "+quoted(owner(p.order))+" ORDER BY item COLLATE \"C\"")
}

func (p *postgres) mark(ctx context.Context, item string) (out mark, err error) {
	if ok, err := p.hasNotes(ctx); err != nil || !ok {
		return out, err
	}
	err = p.query(ctx, beyond, notes, "SELECT state, source, sum FROM transfers WHERE plan = "+quoted(owner(p.order))+" AND item = "+quoted(item), func(c []string) error {
		out = mark{state: c[0], source: c[1], sum: c[2]}
		return nil
	})
	return out, err
}

func (p *postgres) setMark(ctx context.Context, item string, k mark) error {
	return p.exec(ctx, beyond, notes, fmt.Sprintf("INSERT INTO transfers VALUES (%s, %s, %s, %s, %s) ON CONFLICT (plan, item) DO UPDATE SET state = excluded.state, source = excluded.source, sum = excluded.sum;\n",
		quoted(owner(p.order)), quoted(item), quoted(k.state), quoted(k.source), quoted(k.sum)))
}

func (p *postgres) standing(ctx context.Context, database string) (standing, error) {
	there, err := p.column(ctx, beyond, maintenance, "SELECT 1 FROM pg_database WHERE datname = "+quoted(database))
	if err != nil || len(there) == 0 {
		return absent, err
	}
	own, err := p.column(ctx, beyond, database, ownObjects)
	if err != nil {
		return 0, err
	}
	if own[0] != "0" {
		return occupied, nil
	}
	return empty, nil
}

// publicAgain makes the schema public as initdb(1) does: since PostgreSQL 15 only the
// owner of the database may create something in it.
const publicAgain = `CREATE SCHEMA public;
COMMENT ON SCHEMA public IS 'standard public schema';
GRANT USAGE ON SCHEMA public TO PUBLIC;
DO $$ BEGIN
	IF current_setting('server_version_num')::int >= 150000 THEN ALTER SCHEMA public OWNER TO pg_database_owner;
	ELSE GRANT CREATE ON SCHEMA public TO PUBLIC;
	END IF;
END $$;
`

// drop takes an earlier restore away. postgres itself cannot be dropped: the
// schemas that people made go.
func (p *postgres) drop(ctx context.Context, database string) error {
	if database != maintenance {
		// Sessions that were left of a killed restore do not stand in the way.
		return p.exec(ctx, beyond, maintenance, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "+quoted(database)+";\nDROP DATABASE IF EXISTS "+identifier(database)+";\n")
	}
	list, err := p.column(ctx, beyond, database, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'")
	if err != nil {
		return err
	}
	script := "SET client_min_messages = warning;\nSELECT lo_unlink(oid) FROM pg_largeobject_metadata;\n"
	for _, name := range list {
		script += "DROP SCHEMA " + identifier(name) + " CASCADE;\n"
	}
	return p.exec(ctx, beyond, database, script+publicAgain)
}

// restore has pg_dump make the database, too, with its owner, encoding and settings;
// an empty one that is there makes room. postgres stays.
func (p *postgres) restore(ctx context.Context, database string, there bool) (string, int64, error) {
	into := maintenance
	// Tablespaces are directories of a machine; the other server has its own.
	dump := []string{p.dump, "--format=plain", "--no-tablespaces", "--no-password"}
	if database != maintenance {
		dump = append(dump, "--create")
		if there {
			if err := p.exec(ctx, beyond, maintenance, "DROP DATABASE "+identifier(database)+";\n"); err != nil {
				return "", 0, fmt.Errorf("the empty database is made anew, as it is on the host: %w", err)
			}
		}
	}
	return pipe(ctx, p.at(files, database), dump, p.at(beyond, into), append(append([]string{p.psql}, psqlArgs()...), "-f", "-", "-o", "/dev/null"))
}

func (p *postgres) finish(context.Context, string) error { return nil }

// definitions has the same program dump both sides without rows. Its comments
// name the servers' versions, and keys of \restrict are random.
func (p *postgres) definitions(ctx context.Context, s side, database string) (string, error) {
	args := []string{"--schema-only", "--no-tablespaces", "--no-password"}
	if database != maintenance { // that is the other server's own, with its owner
		args = append(args, "--create")
	}
	cmd, words := p.at(s, database).process(ctx, p.dump, args...)
	out, err := cmd.Output()
	if err != nil {
		return "", words.explain(p.dump, err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "-- Dumped ") || strings.HasPrefix(line, `\restrict `) || strings.HasPrefix(line, `\unrestrict `) {
			continue
		}
		b.WriteString(line)
	}
	return b.String(), nil
}

func (p *postgres) notes() []string { return p.told }

func (p *postgres) close(context.Context) error { return nil }
