package datastore_test

import (
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/live"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// host is a host that runs, with its root as a source.
type host struct {
	*testing.T
	*live.Host
	root *rootfs.Root
}

func start(t *testing.T, fixture string) host {
	t.Helper()
	h, err := live.Start(t.Context(), fixture)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	root, err := rootfs.Open(h.Root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return host{t, h, root}
}

// sh runs a script in the host.
func (h host) sh(script string) string {
	h.Helper()
	out, err := h.Host.Run(h.Context(), "sh", "-ec", script)
	if err != nil {
		h.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// is judges the directory, by its files alone and with who uses it.
func (h host) is(when string, engine datastore.Engine, dir hostpath.Path, files, all datastore.State) datastore.Verdict {
	h.Helper()
	v, err := datastore.Judge(h.Context(), h.root, engine, dir)
	if err != nil {
		h.Fatal(err)
	}
	if files != "" && v.State != files {
		h.Errorf("%s, by the files: %s, want %s", when, v.Text(), files)
	}
	if err := v.Use(h.Context(), h.root); err != nil {
		h.Fatal(err)
	}
	if v.State != all {
		h.Errorf("%s: %s, want %s", when, v.Text(), all)
	}
	return v
}

// Scripts that run the host's own mariadbd, with its words in a file of their own.
const (
	startMariaDB = `rm -f /tmp/said.err; install -d -o mysql /run/mysqld; mariadbd --user=mysql --log-error=/tmp/said.err </dev/null >/dev/null 2>&1 &
for i in $(seq 300); do mariadb-admin ping >/dev/null 2>&1 && exit; sleep 0.1; done; cat /tmp/said.err >&2; exit 1`
	stopMariaDB = `pid=$(pidof mariadbd); mariadb-admin shutdown; while [ -e /proc/$pid ]; do sleep 0.1; done`
	killMariaDB = `pid=$(pidof mariadbd); kill -9 $pid; while [ -e /proc/$pid ]; do sleep 0.1; done`
	recovered   = `grep -c 'Starting crash recovery' /tmp/said.err || true`
)

// TestInnoDB judges a real server's files, and asks the server itself whether it
// had to recover.
func TestInnoDB(t *testing.T) {
	h := start(t, hosts.WordPress(t))
	const dir = "/var/lib/mysql"
	load := `mariadb -e "CREATE DATABASE IF NOT EXISTS judged; CREATE TABLE IF NOT EXISTS judged.rows (id INT AUTO_INCREMENT PRIMARY KEY, text LONGTEXT); USE judged; INSERT INTO judged.rows (text) SELECT REPEAT(MD5(RAND()), 50) FROM seq_1_to_$1;"`
	write := func(rows string) { h.sh(`set -- ` + rows + `; ` + load) }
	h.sh(`service mariadb stop`)
	h.is("stopped by its service", datastore.InnoDB, dir, datastore.Clean, datastore.Clean)
	h.sh(startMariaDB)
	h.is("while it runs", datastore.InnoDB, dir, "", datastore.Live)

	for _, rows := range []string{"1", "1000", "20000"} {
		write(rows)
		h.sh(killMariaDB)
		h.is("killed after "+rows+" rows", datastore.InnoDB, dir, datastore.Unclean, datastore.Unclean)
		h.sh(startMariaDB)
		if got := h.sh(recovered); got != "1" {
			t.Errorf("killed after %s rows, the server says nothing of a recovery: %s", rows, h.sh(`cat /tmp/said.err`))
		}
		write(rows)
		h.sh(stopMariaDB)
		h.is("stopped after "+rows+" rows", datastore.InnoDB, dir, datastore.Clean, datastore.Clean)
		h.sh(startMariaDB)
		if got := h.sh(recovered); got != "0" {
			t.Errorf("stopped after %s rows, the server recovered what was judged clean: %s", rows, h.sh(`cat /tmp/said.err`))
		}
	}
	h.sh(`kill -9 $(pidof mariadbd)`)
}

func TestOfPostgresHost(t *testing.T) {
	h := start(t, hosts.Postgres(t))
	t.Run("Redis", func(t *testing.T) { testRedis(t, h) })
	t.Run("PostgreSQL", func(t *testing.T) { testPostgres(t, h) })
}

// testPostgres judges a real server's files, and asks pg_controldata(1).
func testPostgres(t *testing.T, h host) {
	h.T = t
	const dir = "/var/lib/postgresql/15/main"
	oracle := func(want string) {
		t.Helper()
		got := h.sh(`LC_ALL=C /usr/lib/postgresql/15/bin/pg_controldata ` + dir + ` | sed -n 's/^Database cluster state: *//p'`)
		if got != want {
			t.Errorf("pg_controldata says %q, want %q", got, want)
		}
	}
	v := h.is("while it runs", datastore.PostgreSQL, dir, datastore.Unclean, datastore.Live)
	oracle("in production")
	if !strings.Contains(v.Text(), "postgres") {
		t.Errorf("nobody is named: %s", v.Text())
	}
	h.sh(`service postgresql stop`)
	h.is("stopped", datastore.PostgreSQL, dir, datastore.Clean, datastore.Clean)
	oracle("shut down")
	// A tablespace that is not there, a backup's label, a broken file.
	h.sh(`mv ` + dir + `/pg_tblspc/* /tmp/; ln -s /nowhere ` + dir + `/pg_tblspc/1`)
	h.is("without a tablespace", datastore.PostgreSQL, dir, datastore.Unknown, datastore.Unknown)
	h.sh(`rm ` + dir + `/pg_tblspc/1; touch ` + dir + `/backup_label`)
	h.is("with a backup's label", datastore.PostgreSQL, dir, datastore.Unclean, datastore.Unclean)
	h.sh(`rm ` + dir + `/backup_label; cp ` + dir + `/global/pg_control /tmp/; printf x | dd of=` + dir + `/global/pg_control bs=1 seek=40 conv=notrunc 2>/dev/null`)
	h.is("broken", datastore.PostgreSQL, dir, datastore.Unknown, datastore.Unknown)
	h.sh(`cat /tmp/pg_control >` + dir + `/global/pg_control; find /tmp -maxdepth 1 -type l -exec mv {} ` + dir + `/pg_tblspc/ \;; service postgresql start`)
	h.sh(`pid=$(head -n 1 ` + dir + `/postmaster.pid); kill -9 $pid; while [ -e /proc/$pid ]; do sleep 0.1; done; while pidof postgres; do sleep 0.1; done`)
	h.is("killed", datastore.PostgreSQL, dir, datastore.Unclean, datastore.Unclean)
	oracle("in production")
}

// testRedis judges a real server's files, and asks redis-check-rdb(1) and
// redis-check-aof(1).
func testRedis(t *testing.T, h host) {
	h.T = t
	const dir = "/var/lib/redis"
	check := func(tool, file string) bool {
		_, err := h.Host.Run(t.Context(), tool, dir+"/"+file)
		return err == nil
	}
	h.is("while it runs", datastore.Redis, dir, "", datastore.Live)
	h.sh(`service redis-server stop`)
	h.is("stopped", datastore.Redis, dir, datastore.Clean, datastore.Clean)
	if !check("redis-check-rdb", "dump.rdb") {
		t.Error("redis-check-rdb finds a fault in what was stopped")
	}
	aof := h.sh(`cd ` + dir + `; ls -S appendonlydir/*.incr.aof | head -n 1`)
	h.sh(`cd ` + dir + `; printf '*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab' >>` + aof)
	h.is("with a torn command", datastore.Redis, dir, datastore.Unclean, datastore.Unclean)
	if check("redis-check-aof", aof) {
		t.Error("redis-check-aof finds no fault in a torn command")
	}
	h.sh(`cd ` + dir + `; truncate -s -35 ` + aof)
	h.sh(`cd ` + dir + `; cp dump.rdb /tmp; printf x | dd of=dump.rdb bs=1 seek=100 conv=notrunc 2>/dev/null`)
	h.is("with a broken snapshot", datastore.Redis, dir, datastore.Unclean, datastore.Unclean)
	if check("redis-check-rdb", "dump.rdb") {
		t.Error("redis-check-rdb finds no fault in a broken snapshot")
	}
	h.sh(`cd ` + dir + `; head -c 300 /tmp/dump.rdb >dump.rdb`)
	h.is("with a cut snapshot", datastore.Redis, dir, datastore.Unclean, datastore.Unclean)
	h.sh(`cd ` + dir + `; cat /tmp/dump.rdb >dump.rdb; rm ` + aof)
	h.is("without a file of the manifest", datastore.Redis, dir, datastore.Unclean, datastore.Unclean)
}
