package hotbackup_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/live"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hotbackup"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/quiesce"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/templates"
)

var (
	postgres = handoff.Database{Path: "/var/lib/postgresql/15/main", Engine: "postgresql", Profile: "postgresql", Unit: "postgresql@15-main.service"}
	redis    = handoff.Database{Path: "/var/lib/redis", Engine: "redis", Profile: "redis", Unit: "redis-server.service"}
)

// host is one that runs, with what takes copies there.
type host struct {
	*testing.T
	*live.Host
	taker *hotbackup.Taker
	asked [][]string // what was run on the source
}

// record keeps the commands of the taker.
func (h *host) record(r quiesce.Runner) quiesce.Runner { return recorder{h, r} }

type recorder struct {
	h *host
	quiesce.Runner
}

func (r recorder) Run(ctx context.Context, argv []string) ([]byte, error) {
	r.h.asked = append(r.h.asked, argv)
	return r.Runner.Run(ctx, argv)
}

func start(t *testing.T) *host {
	t.Helper()
	running, err := live.Start(t.Context(), hosts.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Close(); err != nil {
			t.Error(err)
		}
	})
	profiles, err := profile.Load(templates.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	runner, err := quiesce.OnSource(quiesce.Quote(running.Enter()))
	if err != nil {
		t.Fatal(err)
	}
	h := &host{T: t, Host: running}
	h.taker = &hotbackup.Taker{Runner: h.record(runner), Profiles: profiles, Identity: "0123456789abcdef"}
	return h
}

func (h *host) sh(script string) string {
	h.Helper()
	out, err := h.Host.Run(h.Context(), "sh", "-ec", script)
	if err != nil {
		h.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// refused wants that a database cannot be copied, and a reason and remedy with these
// words.
func (h *host) refused(when string, d handoff.Database, words ...string) {
	h.Helper()
	_, err := hotbackup.Ask(h.Context(), h.taker.Runner, d, h.taker.Profiles)
	refusal := (*hotbackup.Refusal)(nil)
	if !errors.As(err, &refusal) {
		h.Errorf("%s: %v", when, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			h.Errorf("%s: no word of %q: %v", when, w, err)
		}
	}
}

// empty wants that nothing is left on the source.
func (h *host) empty(when string) {
	h.Helper()
	if _, err := os.Lstat(filepath.Join(h.Root, "var/lib/statelift")); !os.IsNotExist(err) {
		h.Errorf("%s, something is left: %v\n%s", when, err, h.sh(`find /var/lib/statelift | head`))
	}
}

func TestLive(t *testing.T) {
	h := start(t)
	t.Run("take", func(t *testing.T) { h.T = t; testTake(h) })
	t.Run("faults", func(t *testing.T) { h.T = t; testFaults(h) })
}

// testFaults is all that keeps a database from being copied while it runs: each is
// named with its remedy, and nothing stays behind.
func testFaults(h *host) {
	both := []handoff.Database{postgres, redis}
	h.refused("without a profile that can", handoff.Database{Path: "/srv", Profile: "cron"}, "has none", "--hold")

	const tools = `/usr/lib/postgresql/15/bin/pg_basebackup /usr/bin/pg_basebackup /usr/bin/redis-cli`
	h.sh(`for f in ` + tools + `; do [ ! -e $f ] || mv $f $f.away; done`)
	h.refused("without the tool", postgres, "not on the source", "install it there: postgresql-client")
	h.refused("without the tool", redis, "not on the source", "install it there: redis-tools")
	h.sh(`for f in ` + tools + `; do [ ! -e $f.away ] || mv $f.away $f; done`)

	h.sh(`cp -p /etc/redis/redis.conf /tmp/; sed -i '/^requirepass/d' /etc/redis/redis.conf`)
	h.refused("without the password", redis, "asks for a password", "/etc/redis/redis.conf")
	h.sh(`sed -i 's|^dir .*|dir /srv|' /etc/redis/redis.conf`)
	h.refused("without a configuration", redis, "no file of its configuration")
	// Quoted, as redis-server reads it, and the last line counts.
	h.sh(`cp -p /tmp/redis.conf /etc/redis/; sed -i 's/^requirepass \(.*\)/requirepass other\nREQUIREPASS   "\1"/' /etc/redis/redis.conf`)
	if _, err := hotbackup.Ask(h.Context(), h.taker.Runner, redis, h.taker.Profiles); err != nil {
		h.Error(err)
	}
	h.sh(`cp -p /tmp/redis.conf /etc/redis/`)

	// The tool fails: nobody may replicate.
	h.sh(`cd /etc/postgresql/15/main; cp -p pg_hba.conf /tmp/; sed -i '/replication/d' pg_hba.conf; service postgresql reload`)
	if _, err := h.taker.Take(h.Context(), both); err == nil || !strings.Contains(err.Error(), "no pg_hba.conf entry for replication") {
		h.Errorf("without the right to replicate: %v", err)
	}
	h.empty("after the tool failed")
	h.sh(`cp -p /tmp/pg_hba.conf /etc/postgresql/15/main/; service postgresql reload`)

	// As root of the host sees it; the mount is in its namespace only.
	h.sh(`mkdir -p /var/lib/statelift; mount -t tmpfs -o size=1m none /var/lib/statelift`)
	if _, err := h.taker.Take(h.Context(), both); !errors.Is(err, hotbackup.ErrNoRoom) {
		h.Errorf("without room: %v", err)
	}
	if left := h.sh(`ls -A /var/lib/statelift`); left != "" {
		h.Errorf("without room, left are %s", left)
	}
	h.sh(`umount /var/lib/statelift; rmdir /var/lib/statelift`)

	h.sh(`service redis-server stop; service postgresql stop`)
	h.refused("stopped", redis, "no server of redis-server.service runs", "start redis-server.service")
	h.refused("stopped", postgres, "no server of postgresql@15-main.service runs")
	h.sh(`echo 1 >/var/lib/postgresql/15/main/postmaster.pid`)
	h.refused("with an old file of a process", postgres, "no server")
}

// testTake copies two databases; what an earlier call left, also a tool that still
// runs, is ended and removed. No password is an argument of anything.
func testTake(h *host) {
	// A tool of a call that was killed: it names the directory.
	h.sh(`mkdir -p /var/lib/statelift/backups/0123456789abcdef/1 /var/lib/statelift/backups/another; cp /bin/sleep /tmp/tool; /tmp/tool 1000 </dev/null >/dev/null 2>&1 &
sh -c ': "$1"; while :; do touch "$1/x"; sleep 0.01; done' sh /var/lib/statelift/backups/0123456789abcdef/1/data </dev/null >/dev/null 2>&1 & sleep 0.1`)
	copies, err := h.taker.Take(h.Context(), []handoff.Database{postgres, redis})
	if err != nil {
		h.Fatal(err)
	}
	if n := h.sh(`grep -l "0123456789abcde[f]/1/data" /proc/[0-9]*/cmdline 2>/dev/null | wc -l`); n != "0" {
		h.Errorf("%s processes of the earlier call still run", n)
	}
	if h.sh(`pidof tool`) == "" {
		h.Error("a process of somebody else was ended")
	}
	if mode := h.sh(`stat -c '%a %U' /var/lib/statelift/backups/0123456789abcdef/1 /var/lib/statelift/backups/0123456789abcdef/2`); mode != "700 postgres\n700 redis" {
		h.Errorf("the copies are not private: %s", mode)
	}
	root, err := rootfs.Open(h.Root)
	if err != nil {
		h.Fatal(err)
	}
	defer root.Close()
	for i, want := range []datastore.State{datastore.Recoverable, datastore.Clean} {
		c := copies[i]
		v, err := datastore.JudgeBackup(h.Context(), root, datastore.Engine(c.Database.Engine), c.Dirs[0].Copy)
		if err != nil || v.State != want {
			h.Errorf("%s: %v %v", c.Database.Path, v, err)
		}
		if c.Began.IsZero() || c.Ended.Before(c.Began) || time.Since(c.Ended) > time.Hour {
			h.Errorf("%s: taken from %s to %s", c.Database.Path, c.Began, c.Ended)
		}
	}
	// Not a copy any more.
	h.sh(`cd /var/lib/statelift/backups/0123456789abcdef/1/data; cp -p backup_label /tmp/; rm pg_wal/0*`)
	h.judged(root, copies[0], datastore.Unclean)
	h.sh(`cd /var/lib/statelift/backups/0123456789abcdef/1/data; echo hello >backup_label`)
	h.judged(root, copies[0], datastore.Unknown)
	h.sh(`rm /var/lib/statelift/backups/0123456789abcdef/1/data/backup_label`)
	h.judged(root, copies[0], datastore.Unclean)

	password := h.sh(`sed -n 's/^requirepass //p' /etc/redis/redis.conf`)
	for _, argv := range h.asked {
		if strings.Contains(strings.Join(argv, " "), password) {
			h.Errorf("the password is among the arguments: %q", argv)
		}
	}
	if err := h.taker.Remove(h.Context()); err != nil {
		h.Fatal(err)
	}
	defer h.sh(`rm -r /var/lib/statelift`)
	if left := h.sh(`ls /var/lib/statelift/backups`); left != "another" {
		h.Errorf("after the removal there are %q, and should be those of another workspace", left)
	}
}

func (h *host) judged(root *rootfs.Root, c hotbackup.Copy, want datastore.State) {
	h.Helper()
	v, err := datastore.JudgeBackup(h.Context(), root, datastore.Engine(c.Database.Engine), c.Dirs[0].Copy)
	if err != nil || v.State != want {
		h.Errorf("%v %v, want %s", v.Text(), err, want)
	}
}
