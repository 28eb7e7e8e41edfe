package transfer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/outside"
	"github.com/statelift/statelift/pipeline/handoff"
)

// postgresBefore prepares what the Pod of the workload has, too.
const postgresBefore = `
	install -d -o postgres -g postgres -m 2775 /run/postgresql
`

// varied is a database with a bit of everything, made on the host before it is
// stopped.
const varied = postgresBefore + `
	pg_ctlcluster 15 main start
	setpriv --reuid postgres --regid postgres --init-groups psql -XqAt -v ON_ERROR_STOP=1 <<'SQL'
CREATE ROLE clerk LOGIN PASSWORD 'clerks secret' CONNECTION LIMIT 7 VALID UNTIL '2099-01-01';
CREATE ROLE keepers NOLOGIN;
GRANT keepers TO clerk WITH ADMIN OPTION;
ALTER ROLE clerk SET search_path = side, public;
ALTER ROLE clerk SET work_mem = '8MB';
CREATE DATABASE "Odd ""name" OWNER clerk TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8';
ALTER DATABASE "Odd ""name" SET statement_timeout = 12345;
\c "Odd \"name"
SQL
	setpriv --reuid postgres --regid postgres --init-groups psql -XqAt -v ON_ERROR_STOP=1 -d 'Odd "name' <<'SQL'
CREATE SCHEMA side AUTHORIZATION clerk;
CREATE TABLE side."t	ab" (id serial PRIMARY KEY, a real, b double precision, c bytea, d timestamptz, e interval, f money, g jsonb, h text[], i numeric);
INSERT INTO side."t	ab" (a, b, c, d, e, f, g, h, i) VALUES (0.1, 0.1, '\x00ff0a', '2020-02-02 02:02:02+02', '1 mon 2 days', 3.50, '{"a": [1, null]}', '{x,"y z",NULL}', 1e40), (NULL, 'NaN', NULL, 'infinity', NULL, NULL, NULL, NULL, NULL);
INSERT INTO side."t	ab" (c) SELECT convert_to(repeat('big', 1000000), 'UTF8') FROM generate_series(1, 3);
CREATE TABLE parts (n int, t text) PARTITION BY RANGE (n);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts SELECT i, 'n' || i FROM generate_series(1, 19) i;
CREATE TABLE twins (t text);
INSERT INTO twins VALUES ('a'), ('a'), (E'tab\tnew\nline\\');
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM parts;
CREATE SEQUENCE numbers START 40;
SELECT nextval('numbers');
SELECT lo_from_bytea(4711, '\xcafe');
CREATE FUNCTION two() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 2; END';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO twins VALUES (NEW.t); RETURN NEW; END';
CREATE TRIGGER noted AFTER INSERT ON parts_1 FOR EACH ROW EXECUTE FUNCTION noted();
GRANT SELECT ON parts TO keepers;
SQL
	pg_ctlcluster 15 main stop
`

// postgresWith has the host's server run SQL before it is stopped.
func postgresWith(sql string) string {
	start, _, _ := strings.Cut(varied, "<<'SQL'")
	return start + "<<'SQL'\n" + sql + "\nSQL\n\tpg_ctlcluster 15 main stop\n"
}

func postgresJob(t *testing.T, prepare string) *job {
	host := hosts.Postgres(t)
	s := outside.Postgres(t, host, "127.0.0.1")
	return &job{host: host, user: "postgres", server: s, prepare: prepare, order: handoff.Transfer{
		Plan: "quay", Workload: "database", Source: "sha256:1", External: handoff.External{
			Engine: "postgresql", Host: s.Host, Port: int32(s.Port), User: s.User,
			Command: []string{
				"/usr/bin/pg_ctlcluster", "15", "main", "start", "--foreground",
				"-o", "-c listen_addresses= -c unix_socket_directories={dir} -c port=5432 -c hba_file={dir}/hba.conf -c archive_mode=off -c ssl=off -c max_logical_replication_workers=0",
			},
		},
	}}
}

// TestPostgres moves the host's database and one with a bit of everything.
func TestPostgres(t *testing.T) {
	j := postgresJob(t, varied)
	receipt := j.want(t)
	odd := `Odd "name`
	if got := rowsOf(receipt, odd, "side.t\tab"); got != 5 {
		t.Errorf("the receipt has %d rows of the odd table", got)
	}
	if !slices.ContainsFunc(receipt.Notes, func(n string) bool { return strings.Contains(n, "attic") }) {
		t.Errorf("nothing is said of the tablespace: %q", receipt.Notes)
	}
	for query, want := range map[string]string{
		"SELECT count(*), max(id) FROM side.\"t\tab\"": "5|5",
		"SELECT nextval('numbers')":                    "41",
		"SELECT nextval('side.\"t\tab_id_seq\"')":      "6",
		"SELECT lo_get(4711)":                          `\xcafe`,
		"SELECT two(), (SELECT * FROM counted)":        "2|19",
		"SELECT datcollate, datctype, rolname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE datname = current_database()": "C|C.UTF-8|clerk",
		"SHOW statement_timeout": "12345ms",
	} {
		if got := j.server.SQL(t, odd, query); got != want {
			t.Errorf("%s is %s, want %s", query, got, want)
		}
	}
	if got := j.server.SQL(t, "docket", "SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM journal)"); got != "300|300" {
		t.Errorf("the docket has %s", got)
	}
	clerk := *j.server
	clerk.User, clerk.Password = "clerk", "clerks secret"
	if got := clerk.SQL(t, odd, "SHOW search_path; SHOW work_mem; SELECT count(*) FROM parts"); got != "side, public\n8MB\n19" {
		t.Errorf("the clerk sees %s", got)
	}
}

// TestPostgresOdd: what a restore makes otherwise by design is proved all the same,
// an empty database that is there is made as it is on the host, and what cannot be
// moved is told.
func TestPostgresOdd(t *testing.T) {
	j := postgresJob(t, postgresWith(`
CREATE TABLE base (a int);
INSERT INTO base VALUES (1);
CREATE MATERIALIZED VIEW stale AS SELECT a FROM base;
CREATE MATERIALIZED VIEW unpopulated AS SELECT a FROM base WITH NO DATA;
INSERT INTO base VALUES (2);
SELECT lo_from_bytea(4711, '\xcafe');
CREATE ROLE clerk;
CREATE DATABASE early OWNER clerk;
ALTER DATABASE early SET default_transaction_read_only = on;
CREATE DATABASE closed ALLOW_CONNECTIONS false;
ALTER DATABASE postgres SET work_mem = '9MB';
ALTER ROLE ALL SET work_mem = '8MB';`))
	j.server.SQL(t, "", "CREATE DATABASE early ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	for n := range 2 {
		receipt, err := j.run(t)
		if err != nil || len(receipt.Differences) != 1 || !strings.HasPrefix(receipt.Differences[0], "database closed is not moved") {
			t.Errorf("run %d: %v\n%q\n%s", n+1, err, receipt.Differences, j.log)
		}
		for _, note := range []string{"work_mem is set for all roles", "what is set for the database postgres itself"} {
			if !slices.ContainsFunc(receipt.Notes, func(n string) bool { return strings.HasPrefix(n, note) }) {
				t.Errorf("the notes lack %q: %q", note, receipt.Notes)
			}
		}
		if got := rowsOf(receipt, "postgres", "public.stale"); got != 2 {
			t.Errorf("the receipt has %d rows of the view, which the restore has refreshed", got)
		}
		j.order.Source = "sha256:2"
	}
	if got := j.server.SQL(t, "", "SELECT (SELECT count(*) FROM stale), lo_get(4711), (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'early')"); got != "2|\\xcafe|clerk" {
		t.Errorf("the other server has %s", got)
	}
}

// TestPostgresAgain is [TestMariaDBAgain] for PostgreSQL.
func TestPostgresAgain(t *testing.T) {
	j := postgresJob(t, postgresBefore)
	first := j.want(t)
	second := j.want(t)
	if first.Databases[0].Dump == "" || second.Databases[0].Dump != "" {
		t.Errorf("the second run dumped again: %+v", second.Databases[0])
	}
	j.order.Source = "sha256:2"
	if third := j.want(t); third.Databases[0].Dump == "" {
		t.Error("a later state is not restored")
	}
	j.keepsDefinitions(t, "docket", "CREATE VIEW theirs AS SELECT 1", "DROP VIEW theirs")
	j.server.SQL(t, "docket", "UPDATE entries SET title = 'mine' WHERE id = 1")
	if receipt, err := j.run(t); err != nil || receipt.Proved || !strings.Contains(strings.Join(receipt.Differences, ";"), "entries") {
		t.Errorf("a changed row is not seen: %v %v\n%s", receipt.Differences, err, j.log)
	}
	j.order.Source = "sha256:3"
	j.refused(t, "somebody has written to it since")
	if got := j.server.SQL(t, "docket", "SELECT title FROM entries WHERE id = 1"); got != "mine" {
		t.Errorf("it was overwritten: %s", got)
	}
}

// TestPostgresOccupied: a database that is no copy stays as it is, also a role.
func TestPostgresOccupied(t *testing.T) {
	j := postgresJob(t, postgresBefore)
	j.server.SQL(t, "", "CREATE DATABASE docket TEMPLATE template0")
	j.server.SQL(t, "docket", "CREATE TABLE theirs (a int)")
	j.refused(t, "docket holds something already")
	if got := j.server.SQL(t, "docket", "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"); got != "theirs" {
		t.Errorf("it was touched: %s", got)
	}
	j.server.SQL(t, "", "DROP DATABASE docket")
	j.server.SQL(t, "", "CREATE ROLE docket LOGIN PASSWORD 'another'")
	j.refused(t, "role docket already")
	j.server.SQL(t, "", "DROP ROLE docket")
	j.want(t)
}

// TestPostgresRoles: a role is this lift's as long as it is as a run made it.
func TestPostgresRoles(t *testing.T) {
	j := postgresJob(t, postgresBefore)
	j.want(t)
	password := func() string {
		return j.server.SQL(t, "", "SELECT rolpassword FROM pg_authid WHERE rolname = 'docket'")
	}
	ours := password()
	j.server.SQL(t, "", "ALTER ROLE docket PASSWORD 'rotated'")
	rotated := password()
	j.order.Source, j.prepare = "sha256:2", postgresWith("ALTER ROLE docket CONNECTION LIMIT 9; CREATE ROLE stranger SUPERUSER;")
	j.refused(t, "role docket already")
	if password() != rotated {
		t.Error("the password of docket was overwritten")
	}
	j.server.SQL(t, "", "ALTER ROLE docket PASSWORD '"+ours+"'")
	j.server.SQL(t, "", "CREATE ROLE stranger")
	j.refused(t, "role stranger already")
	if got := j.server.SQL(t, "", "SELECT rolsuper, (SELECT rolconnlimit FROM pg_roles WHERE rolname = 'docket') FROM pg_roles WHERE rolname = 'stranger'"); got != "f|-1" {
		t.Errorf("roles were changed: %s", got)
	}
	j.server.SQL(t, "", "DROP ROLE stranger")
	j.want(t)
	if got := j.server.SQL(t, "", "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'docket'"); got != "9" || password() != ours {
		t.Errorf("a role that nobody changed is not brought to the later state: %s", got)
	}
}
