package transfer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/outside"
	"github.com/statelift/statelift/pipeline/handoff"
)

// rich is a database with a bit of everything, made on the host before it is
// stopped.
const rich = `
	install -d -o mysql /run/mysqld
	mariadbd --user=mysql --skip-networking --log-error=/tmp/before.log &
	for i in $(seq 300); do mariadb-admin ping >/dev/null 2>&1 && break; sleep 0.1; done
	mariadb --binary-mode --default-character-set=utf8mb4 <<'SQL'
CREATE DATABASE shop CHARACTER SET latin1 COLLATE latin1_german1_ci;
USE shop;
CREATE TABLE goods (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80), raw LONGBLOB, price DECIMAL(10,2), weight FLOAT, size DOUBLE, flags BIT(5), made TIMESTAMP NULL, kind ENUM('a','b'), twice INT AS (id * 2) VIRTUAL) AUTO_INCREMENT=1000;
INSERT INTO goods (name, raw, price, weight, size, flags, made, kind) VALUES ('K\xe4se', UNHEX('00010a0d5c2722ff'), 1.50, 0.1, 0.1, b'10101', '2020-02-02 02:02:02', 'a'), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), ('same', '', 0, 4.5, 1e300, 0, NULL, 'b'), ('same2', '', 0, 3.14159, 1e-300, 1, NULL, 'b');
INSERT INTO goods (name, raw) SELECT 'big', REPEAT('x', 3000000) FROM seq_1_to_3;
CREATE TABLE empty_one (a INT) ENGINE=MyISAM;
CREATE TABLE ` + "`odd``name\ttab`" + ` (` + "`a``b`" + ` TEXT) CHARACTER SET utf8mb4;
INSERT INTO ` + "`odd``name\ttab`" + ` VALUES ('tab	new\nline \\ 😀');
CREATE SEQUENCE numbers START WITH 40;
DO NEXTVAL(numbers);
CREATE VIEW cheap AS SELECT * FROM goods WHERE price < 2;
CREATE TABLE log (at INT);
DELIMITER //
CREATE PROCEDURE fill() BEGIN INSERT INTO log VALUES (1); END//
CREATE FUNCTION two() RETURNS INT DETERMINISTIC RETURN 2//
CREATE TRIGGER noted AFTER INSERT ON goods FOR EACH ROW INSERT INTO log VALUES (NEW.id)//
CREATE EVENT every_second ON SCHEDULE EVERY 1 SECOND DO INSERT INTO shop.log VALUES (7)//
DELIMITER ;
CREATE USER clerk@localhost IDENTIFIED BY 'clerks secret';
CREATE ROLE keepers;
GRANT SELECT, INSERT ON shop.goods TO keepers;
GRANT EXECUTE ON PROCEDURE shop.fill TO clerk@localhost;
GRANT keepers TO clerk@localhost;
SET DEFAULT ROLE keepers FOR clerk@localhost;
SQL
	mariadb-admin shutdown
	wait
`

// mariadbBefore has the host's server run SQL before it is stopped.
func mariadbBefore(sql string) string {
	start, _, _ := strings.Cut(rich, "<<'SQL'")
	return "install -d -o mysql /run/mysqld\n" + start + "<<'SQL'\n" + sql + "\nSQL\n\tmariadb-admin shutdown\n\twait\n"
}

func mariadbJob(t *testing.T, prepare string) *job {
	host := hosts.WordPress(t)
	s := outside.MariaDB(t, host, "127.0.0.1")
	return &job{host: host, user: "mysql", server: s, prepare: "install -d -o mysql /run/mysqld\n" + prepare, order: handoff.Transfer{
		Plan: "atlas", Workload: "database", Source: "sha256:1", External: handoff.External{
			Engine: "mariadb", Host: s.Host, Port: int32(s.Port), User: s.User, Accounts: []string{"wordpress", "clerk"}, Network: "%",
			Command: []string{"/usr/sbin/mariadbd", "--skip-networking", "--skip-log-bin", "--event-scheduler=OFF", "--socket={dir}/server.sock", "--pid-file={dir}/server.pid", "--init-file={dir}/init.sql"},
		},
	}}
}

// TestMariaDB moves the host's database and one with a bit of everything; what
// both servers have is compared by their own checksums.
func TestMariaDB(t *testing.T) {
	j := mariadbJob(t, rich)
	j.server.SQL(t, "", "SET GLOBAL event_scheduler = ON")
	receipt := j.want(t)
	if got := rowsOf(receipt, "shop", "goods"); got != 7 {
		t.Errorf("the receipt has %d goods", got)
	}
	for query, want := range map[string]string{
		"SELECT COUNT(*) FROM wordpress.wp_posts WHERE post_type = 'post' AND post_status = 'publish'": "200",
		"SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'shop'":    "latin1_german1_ci",
		"SELECT HEX(name), HEX(raw), price, made FROM shop.goods WHERE id = 1000":                      "4B5C786534736500",
		"SELECT shop.two()": "2",
		"SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'shop'": "1",
		"SELECT NEXTVAL(shop.numbers) > 40":                                          "1",
	} {
		if got := j.server.SQL(t, "", query); got != want && !strings.Contains(query, "HEX") {
			t.Errorf("%s is %s, want %s", query, got, want)
		}
	}
	// The account that clients use is known from Pods, too, with its password.
	clerk := *j.server
	clerk.User, clerk.Password = "clerk", "clerks secret"
	if got := clerk.SQL(t, "", "SELECT COUNT(*) FROM shop.goods"); got != "7" {
		t.Errorf("the clerk counts %s", got)
	}
	if _, err := clerk.Try("", "SELECT COUNT(*) FROM wordpress.wp_users"); err == nil {
		t.Error("the clerk reads what is not his")
	}
}

// odd are databases whose names mean something else elsewhere, tables that differ in
// case, rows that were, and a trigger of the administrator's.
const odd = `CREATE DATABASE ` + "`--all-databases`" + `;
CREATE TABLE ` + "`--all-databases`" + `.t (a INT);
CREATE DATABASE keepers;
CREATE ROLE keepers;
GRANT SELECT ON keepers.* TO keepers;
CREATE DATABASE statelift;
CREATE PROCEDURE statelift.p() SELECT 1;
CREATE DATABASE SYS;
CREATE TABLE SYS.t (a INT);
INSERT INTO SYS.t VALUES (3);
CREATE DATABASE shop;
USE shop;
CREATE TABLE T (a INT);
CREATE TABLE t (b INT);
CREATE TABLE v (id INT PRIMARY KEY, a INT) WITH SYSTEM VERSIONING;
INSERT INTO v VALUES (1, 1), (2, 2);
UPDATE v SET a = 9;
DELETE FROM v WHERE id = 2;
CREATE TRIGGER noted AFTER INSERT ON T FOR EACH ROW INSERT INTO t VALUES (NEW.a);
`

// TestMariaDBOdd: nothing of others is touched whatever a database is called, and
// what cannot be moved as it is, is told.
func TestMariaDBOdd(t *testing.T) {
	before, rest, _ := strings.Cut(rich, "CREATE DATABASE shop")
	_, after, _ := strings.Cut(rest, "\nSQL\n")
	j := mariadbJob(t, before+odd+"SQL\n"+after)
	j.server.SQL(t, "", "CREATE DATABASE theirs; CREATE TABLE theirs.t (a INT); INSERT INTO theirs.t VALUES (7); DROP USER root@localhost")
	j.refused(t, "as an account that the server at 127.0.0.1 has not: root@localhost (database shop)")
	j.server.SQL(t, "", "CREATE USER root@localhost; GRANT ALL ON *.* TO root@localhost")
	receipt, err := j.run(t)
	want := []string{"database statelift is not moved: the server outside keeps the marks of transfers in one of that name; rename it on the host"}
	if diff := cmp.Diff(want, receipt.Differences); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s\n%s", err, diff, j.log)
	}
	for query, want := range map[string]string{
		"SELECT COUNT(*), SUM(a) FROM shop.v FOR SYSTEM_TIME ALL": "4\t21",
		"SELECT COUNT(*) FROM shop.v":                             "1",
		"SELECT a FROM SYS.t":                                     "3",
		"SELECT a FROM theirs.t":                                  "7",
		"SELECT COUNT(*) FROM `--all-databases`.t":                "0",
	} {
		if got := j.server.SQL(t, "", query); got != want {
			t.Errorf("%s is %q, want %q", query, got, want)
		}
	}
	if got := rowsOf(receipt, "shop", "v"); got != 4 {
		t.Errorf("the receipt has %d rows of v, those that were among them", got)
	}
}

// TestMariaDBPacket: a row that the other server does not take is told with the
// limit, and nothing of the row is.
func TestMariaDBPacket(t *testing.T) {
	before, rest, _ := strings.Cut(rich, "CREATE DATABASE shop")
	_, after, _ := strings.Cut(rest, "\nSQL\n")
	j := mariadbJob(t, before+"CREATE DATABASE shop; CREATE TABLE shop.b (a TEXT, b LONGBLOB); INSERT INTO shop.b VALUES ('hunter2', REPEAT('x', 10000000));\nSQL\n"+after)
	j.order.Databases = []string{"shop"}
	if _, err := j.run(t); err == nil || !strings.Contains(j.log, "max_allowed_packet is 16777216 bytes there") {
		t.Errorf("a row that is too large: %v\n%s", err, j.log)
	}
	if strings.Contains(j.log, "hunter2") {
		t.Error("the row is in the log")
	}
}

// TestMariaDBFloat: what the dump rounds is found, and said. What was restored so
// is restored again, until somebody writes to it.
func TestMariaDBFloat(t *testing.T) {
	j := mariadbJob(t, strings.Replace(rich, "4.5, 1e300", "16777217, 1e300", 1))
	j.order.Databases = []string{"shop"}
	receipt, err := j.run(t)
	if want := "shop: table goods has FLOAT columns"; err != nil || receipt.Proved || len(receipt.Differences) != 1 || !strings.HasPrefix(receipt.Differences[0], want) {
		t.Errorf("%v\n%q\n%s", err, receipt.Differences, j.log)
	}
	if receipt, err := j.run(t); err != nil || len(receipt.Databases) != 1 || receipt.Databases[0].Dump == "" {
		t.Errorf("it is not restored again: %v\n%s", err, j.log)
	}
	j.server.SQL(t, "shop", "INSERT INTO goods (name) VALUES ('theirs')")
	if at := j.look(t); at.Databases[0].Moved || !at.Databases[0].Written {
		t.Errorf("what others wrote is not seen: %+v", at)
	}
	j.refused(t, "somebody has written to it since")
	if got := j.server.SQL(t, "shop", "SELECT COUNT(*) FROM goods WHERE name = 'theirs'"); got != "1" {
		t.Errorf("there are %s rows of others", got)
	}
}

// TestMariaDBAgain: what is there is not restored a second time, a later state of
// the source replaces an earlier one, and what others wrote is not overwritten.
func TestMariaDBAgain(t *testing.T) {
	j := mariadbJob(t, "")
	first := j.want(t)
	second := j.want(t)
	if first.Databases[0].Dump == "" || second.Databases[0].Dump != "" {
		t.Errorf("the second run dumped again: %+v", second.Databases[0])
	}
	j.order.Source = "sha256:2"
	if third := j.want(t); third.Databases[0].Dump != first.Databases[0].Dump {
		t.Error("the dump of the same files is another one")
	}
	j.keepsDefinitions(t, "wordpress", "CREATE VIEW theirs AS SELECT 1; CREATE PROCEDURE mine() SELECT 1", "DROP VIEW theirs; DROP PROCEDURE mine")
	j.server.SQL(t, "wordpress", "UPDATE wp_options SET option_value = 'mine' WHERE option_name = 'blogname'")
	if receipt, err := j.run(t); err != nil || receipt.Proved || !strings.Contains(strings.Join(receipt.Differences, ";"), "wp_options") {
		t.Errorf("a changed row is not seen: %v %v\n%s", receipt.Differences, err, j.log)
	}
	j.order.Source = "sha256:3"
	j.refused(t, "somebody has written to it since")
	if got := j.server.SQL(t, "wordpress", "SELECT option_value FROM wp_options WHERE option_name = 'blogname'"); got != "mine" {
		t.Errorf("it was overwritten: %s", got)
	}
}

// TestMariaDBOccupied: a database that is no copy stays as it is, also an account.
func TestMariaDBOccupied(t *testing.T) {
	j := mariadbJob(t, "")
	j.server.SQL(t, "", "CREATE DATABASE wordpress; CREATE TABLE wordpress.theirs (a INT)")
	j.refused(t, "wordpress holds something already")
	if got := j.server.SQL(t, "wordpress", "SHOW TABLES"); got != "theirs" {
		t.Errorf("it was touched: %s", got)
	}
	j.server.SQL(t, "", "DROP DATABASE wordpress; CREATE DATABASE wordpress; CREATE USER wordpress@localhost IDENTIFIED BY 'another'")
	j.refused(t, "account wordpress@localhost already")
	j.server.SQL(t, "", "DROP USER wordpress@localhost")
	j.want(t)
}

// TestMariaDBAccounts: an account is this lift's as long as it is as a run made it,
// or was stopped while making it.
func TestMariaDBAccounts(t *testing.T) {
	const two = "CREATE DATABASE two; CREATE TABLE two.t (a INT); CREATE USER clerk@localhost IDENTIFIED BY 'a'; CREATE USER clerk@127.0.0.1 IDENTIFIED BY 'a'; " +
		"GRANT SELECT ON two.t TO clerk@localhost; GRANT SELECT ON two.t TO clerk@127.0.0.1;"
	j := mariadbJob(t, mariadbBefore(two))
	j.order.Databases = []string{"two"}
	// Both are one account from where Pods come.
	if receipt := j.want(t); !slices.Contains(receipt.Accounts, "clerk@%") {
		t.Errorf("the accounts are %q", receipt.Accounts)
	}
	// As a stop in the middle leaves it.
	j.server.SQL(t, "statelift", "UPDATE transfers SET sum = '' WHERE item = CONCAT(CHAR(1), LEFT(SHA2('clerk@%', 256), 40)); REVOKE SELECT ON two.t FROM 'clerk'@'%'")
	j.want(t)
	clerk := *j.server
	clerk.User, clerk.Password = "clerk", "a"
	if got := clerk.SQL(t, "", "SELECT COUNT(*) FROM two.t"); got != "0" {
		t.Errorf("the clerk counts %s", got)
	}
	j.server.SQL(t, "", "SET PASSWORD FOR 'clerk'@'%' = PASSWORD('rotated')")
	const password = "SELECT authentication_string FROM mysql.user WHERE User = 'clerk' AND Host = '%'"
	rotated := j.server.SQL(t, "", password)
	for _, source := range []string{"sha256:1", "sha256:2"} {
		j.order.Source = source
		j.refused(t, "account clerk@% already")
	}
	if got := j.server.SQL(t, "", password); got != rotated {
		t.Error("the password of the clerk was overwritten")
	}
	j.prepare = mariadbBefore(two + "SET PASSWORD FOR clerk@127.0.0.1 = PASSWORD('b');")
	j.refused(t, "would both be clerk@%")
}
