package transfer

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/statelift/statelift/pipeline/handoff"
)

// mariadb moves databases of MariaDB and MySQL.
type mariadb struct {
	client
	order    handoff.Transfer
	dir      string
	password string // of the administrator of the other server
	ca       string
	sql      string // the client program
	dump     string
	accounts []account // that move, as the server on the files has them
	made     map[account]bool
	told     []string
	left     []string // differences: what is not moved at all
}

// ownAccount is for the time of the transfer in the server on the files.
const ownAccount = "statelift_transfer"

func newMariaDB(order handoff.Transfer, dir string, o Options) *mariadb {
	return &mariadb{client: client{fault: mariadbFault}, order: order, dir: dir, password: o.Password, ca: o.CA}
}

// command has the server make an account for this process when it starts
// (mariadb.com/docs/server, init_file: one statement a line).
func (m *mariadb) command() ([]string, error) {
	var err error
	if m.sql, err = m.find("mariadb", "mysql"); err != nil {
		return nil, err
	}
	if m.dump, err = m.find("mariadb-dump", "mysqldump"); err != nil {
		return nil, err
	}
	encrypted, err := m.encrypted()
	if err != nil {
		return nil, err
	}
	own := password()
	who := "'" + ownAccount + "'@'localhost'"
	init := "CREATE USER IF NOT EXISTS " + who + " IDENTIFIED BY '" + own + "';\n" +
		"ALTER USER " + who + " IDENTIFIED BY '" + own + "';\n" +
		"GRANT ALL PRIVILEGES ON *.* TO " + who + " WITH GRANT OPTION;\n"
	_, err1 := private(m.dir, "init.sql", init)
	_, err2 := private(m.dir, "files.cnf", options("socket", filepath.Join(m.dir, "server.sock"), "user", ownAccount, "password", own))
	_, err3 := private(m.dir, "beyond.cnf", options(append(encrypted, "protocol", "tcp", "host", m.order.Host, "port", fmt.Sprint(m.order.Port), "user", m.order.User, "password", m.password)...))
	return slices.Clone(m.order.Command), errors.Join(err1, err2, err3)
}

// encrypted are the options about TLS of the way to the other server. The programs
// of MySQL have others than those of MariaDB.
func (m *mariadb) encrypted() ([]string, error) {
	if m.order.TLS == "" {
		return nil, nil
	}
	version, err := exec.Command(m.sql, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", m.sql, err)
	}
	return tlsOptions(m.order.TLS, m.ca, !strings.Contains(string(version), "MariaDB")), nil
}

func tlsOptions(mode, ca string, mysql bool) []string {
	switch {
	case mysql && mode == handoff.TLSDisable:
		return []string{"ssl-mode", "DISABLED"}
	case mysql && mode == handoff.TLSRequire:
		return []string{"ssl-mode", "REQUIRED"}
	case mysql:
		return []string{"ssl-mode", "VERIFY_IDENTITY", "ssl-ca", ca}
	case mode == handoff.TLSDisable:
		return []string{"ssl", "0"}
	case mode == handoff.TLSRequire:
		// Since 11.4 the programs verify by themselves, by the system's authorities.
		return []string{"ssl", "1", "ssl-verify-server-cert", "0"}
	}
	return []string{"ssl", "1", "ssl-ca", ca, "ssl-verify-server-cert", "1"}
}

// encryption is what the session's status says (Ssl_version).
func (m *mariadb) encryption(ctx context.Context) (protocol string, err error) {
	err = m.query(ctx, beyond, "SHOW SESSION STATUS LIKE 'Ssl_version';", func(c []string) error {
		protocol = c[len(c)-1]
		return nil
	})
	return protocol, err
}

// options is an option file (mariadb.com/docs/server, "Option file syntax").
func options(pairs ...string) string {
	var b strings.Builder
	b.WriteString("[client]\n")
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s=\"%s\"\n", pairs[i], escape.Replace(pairs[i+1]))
	}
	return b.String()
}

// mariadbFault keeps what the programs say themselves, and leaves out the statement
// that they show with it, with its rows; of errors, the text where it can have no
// value in it.
func mariadbFault(line string) string {
	switch {
	case withoutValue.MatchString(line), program.MatchString(line):
		return line
	case fault.MatchString(line):
		return fault.FindString(line)
	}
	return ""
}

var (
	program = regexp.MustCompile(`^(mariadb|mysql)[a-z-]*: `)
	fault   = regexp.MustCompile(`^ERROR \d+ \([0-9A-Z]{5}\)( at line \d+)?`)
	// withoutValue are the errors about names, rights and connections.
	withoutValue = regexp.MustCompile(`^ERROR (10(05|07|08|30|40|44|45|46|49|50)|1114|114[2-7]|1153|1193|1227|1273|1396|1419|1449|1698|2\d{3}|4025) `)
)

func (m *mariadb) ends() syscall.Signal { return syscall.SIGTERM }

// option names the option file of a side; it comes first of all arguments.
func (m *mariadb) option(s side) string {
	if s == files {
		return "--defaults-file=" + filepath.Join(m.dir, "files.cnf")
	}
	return "--defaults-file=" + filepath.Join(m.dir, "beyond.cnf")
}

// session is what both sides must have alike for equal rows to print alike.
const session = "SET SESSION time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', group_concat_max_len = 1048576;\n"

func (m *mariadb) query(ctx context.Context, s side, sql string, each func([]string) error) error {
	cmd, words := m.process(ctx, m.sql, m.option(s), "--batch", "--skip-column-names", "--quick", "--default-character-set=utf8mb4", "--max-allowed-packet=1G")
	err := rows(cmd, words, session+sql, each)
	if err != nil && s == beyond {
		return fmt.Errorf("the server at %s: %w", m.order.Host, err)
	}
	return err
}

func (m *mariadb) exec(ctx context.Context, s side, sql string) error {
	return m.query(ctx, s, sql, func([]string) error { return nil })
}

// column is the first column of all rows.
func (m *mariadb) column(ctx context.Context, s side, sql string) (out []string, err error) {
	err = m.query(ctx, s, sql, func(c []string) error {
		out = append(out, c[0])
		return nil
	})
	return out, err
}

func (m *mariadb) answers(ctx context.Context) error { return m.exec(ctx, files, "SELECT 1;") }

func (m *mariadb) version(ctx context.Context, s side) (string, error) {
	return first(m.column(ctx, s, "SELECT VERSION();"))
}

// literal is a string of SQL, whatever sql_mode says of backslashes.
func literal(s string) string {
	if strings.ContainsAny(s, `\`) {
		return fmt.Sprintf("CONVERT(0x%x USING utf8mb4)", s)
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

func backtick(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// leave notes, once, what is not moved at all.
func (m *mariadb) leave(what string) {
	if !slices.Contains(m.left, what) {
		m.left = append(m.left, what)
	}
}

// databases are all but the server's own. Of what people have under such a name is
// said that it is not moved.
func (m *mariadb) databases(ctx context.Context, s side) ([]string, error) {
	if s == files && len(m.order.Databases) == 0 {
		left, err := m.column(ctx, s, "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE BINARY TABLE_SCHEMA = '"+notes+"' AND TABLE_NAME <> 'transfers' UNION "+
			"SELECT ROUTINE_SCHEMA FROM information_schema.ROUTINES WHERE BINARY ROUTINE_SCHEMA = '"+notes+"';")
		if err != nil {
			return nil, err
		}
		for _, name := range left {
			m.leave(fmt.Sprintf("database %s is not moved: the server outside keeps the marks of transfers in one of that name; rename it on the host", name))
		}
	}
	// Without BINARY a user's SYS would be the server's sys.
	return m.column(ctx, s, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE LOWER(SCHEMA_NAME) NOT IN ('information_schema', 'performance_schema') "+
		"AND BINARY SCHEMA_NAME NOT IN ('mysql', 'sys', 'lost+found', '#mysql50#lost+found', '"+notes+"') ORDER BY BINARY SCHEMA_NAME;")
}

func (m *mariadb) makeNotes(ctx context.Context) error {
	return m.exec(ctx, beyond, "CREATE DATABASE IF NOT EXISTS "+notes+";\n"+
		"CREATE TABLE IF NOT EXISTS "+notes+".transfers (plan VARCHAR(190) NOT NULL, item VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL, "+
		"source VARCHAR(4096) NOT NULL, sum VARCHAR(64) NOT NULL, PRIMARY KEY (plan, item)) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ENGINE=InnoDB;")
}

// owner is whose marks are read: several lifts may use one server.
func owner(t handoff.Transfer) string { return t.Plan + "/" + t.Workload }

// hasNotes reports whether there is a place of the marks.
func (m *mariadb) hasNotes(ctx context.Context) (bool, error) {
	there, err := m.column(ctx, beyond, "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = '"+notes+"' AND TABLE_NAME = 'transfers';")
	return len(there) > 0, err
}

func (m *mariadb) noted(ctx context.Context) ([]string, error) {
	if ok, err := m.hasNotes(ctx); err != nil || !ok {
		return nil, err
	}
	return m.column(ctx, beyond, "SELECT item FROM "+notes+".transfers WHERE plan = "+literal(owner(m.order))+" ORDER BY BINARY item;")
}

func (m *mariadb) mark(ctx context.Context, item string) (out mark, err error) {
	if ok, err := m.hasNotes(ctx); err != nil || !ok {
		return out, err
	}
	err = m.query(ctx, beyond, "SELECT state, source, sum FROM "+notes+".transfers WHERE plan = "+literal(owner(m.order))+" AND item = "+literal(item)+";", func(c []string) error {
		out = mark{state: c[0], source: c[1], sum: c[2]}
		return nil
	})
	return out, err
}

func (m *mariadb) setMark(ctx context.Context, item string, k mark) error {
	return m.exec(ctx, beyond, fmt.Sprintf("REPLACE INTO %s.transfers VALUES (%s, %s, %s, %s, %s);",
		notes, literal(owner(m.order)), literal(item), literal(k.state), literal(k.source), literal(k.sum)))
}

func (m *mariadb) standing(ctx context.Context, database string) (standing, error) {
	db := literal(database)
	found, err := m.column(ctx, beyond, "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+db+") + "+
		"(SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = "+db+") + "+
		"(SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = "+db+") FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "+db+";")
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return absent, nil
	case found[0] == "0":
		return empty, nil
	}
	return occupied, nil
}

func (m *mariadb) drop(ctx context.Context, database string) error {
	return m.exec(ctx, beyond, "DROP DATABASE IF EXISTS "+backtick(database)+";")
}

// restore leaves events for later: they would change rows before these are
// compared. An empty database that is there is made anew, with its charset.
func (m *mariadb) restore(ctx context.Context, database string, there bool) (string, int64, error) {
	if there {
		if err := m.drop(ctx, database); err != nil {
			return "", 0, err
		}
	}
	// Rows as one statement each would be slow; all other options make the dump
	// complete, and the same whenever it is made (mariadb-dump(1)).
	dump := []string{
		m.dump, m.option(files), "--single-transaction", "--quick", "--routines", "--triggers", "--hex-blob", "--default-character-set=utf8mb4",
		"--max-allowed-packet=1G", "--skip-dump-date", "--tz-utc",
	}
	history, err := m.dumpsHistory(ctx)
	if err != nil {
		return "", 0, err
	}
	if history {
		dump = append(dump, "--dump-history")
	}
	// A name may look like an option.
	dump = append(dump, "--databases", "--", database)
	sum, size, err := m.pipe(ctx, dump, []string{m.sql, m.option(beyond), "--batch", "--binary-mode", "--default-character-set=utf8mb4", "--max-allowed-packet=1G"})
	if err != nil && tooLarge.MatchString(err.Error()) {
		err = m.packet(ctx, database, err)
	}
	return sum, size, err
}

// dumpsHistory reports whether the program can dump what rows of system-versioned
// tables were (since MariaDB 10.11). One that cannot dumps what they are, and the
// proof finds that the others are missing.
func (m *mariadb) dumpsHistory(ctx context.Context) (bool, error) {
	help, err := exec.CommandContext(ctx, m.dump, "--no-defaults", "--help").Output()
	if err != nil {
		return false, fmt.Errorf("%s --help: %w", m.dump, err)
	}
	return strings.Contains(string(help), "--dump-history"), nil
}

// tooLarge are the errors of a statement that is larger than a packet may be: the
// server's own, and that of a connection which it closed, which may have another
// cause.
var tooLarge = regexp.MustCompile(`ERROR (1153|2006) `)

// packet says what to do about a row that the other server does not take. In the
// dump a byte of a BLOB is two digits.
func (m *mariadb) packet(ctx context.Context, database string, err error) error {
	limit, failed := first(m.column(ctx, beyond, "SELECT @@max_allowed_packet;"))
	if failed != nil {
		return err
	}
	return fmt.Errorf("%w: a row of database %s may be larger than the server at %s takes (max_allowed_packet is %s bytes there). "+
		"Set it there to more than twice the largest row, up to 1G, and run again, or keep the database in the cluster", err, database, m.order.Host, limit)
}

// finish brings the events.
func (m *mariadb) finish(ctx context.Context, database string) error {
	_, _, err := m.pipe(ctx,
		[]string{m.dump, m.option(files), "--events", "--no-create-info", "--no-data", "--skip-triggers", "--skip-dump-date", "--default-character-set=utf8mb4", "--databases", "--no-create-db", "--", database},
		[]string{m.sql, m.option(beyond), "--batch", "--binary-mode", "--default-character-set=utf8mb4"})
	return err
}

// definitions has the same program dump both sides without rows, and without locks:
// others may be at work in the other server.
func (m *mariadb) definitions(ctx context.Context, s side, database string) (string, error) {
	cmd, words := m.process(ctx, m.dump, m.option(s), "--skip-lock-tables", "--no-data", "--routines", "--triggers", "--events", "--skip-comments", "--skip-dump-date", "--default-character-set=utf8mb4", "--databases", "--", database)
	out, err := cmd.Output()
	return string(out), words.explain(m.dump, err)
}

func (m *mariadb) notes() []string { return m.told }

func (m *mariadb) close(ctx context.Context) error {
	return m.exec(ctx, files, "DROP USER IF EXISTS '"+ownAccount+"'@'localhost';")
}
