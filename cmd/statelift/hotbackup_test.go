package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/live"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/quiesce"
	"github.com/statelift/statelift/pipeline/workspace"
)

// serving is a host that serves, with a writer.
type serving struct {
	*testing.T
	host *live.Host
	log  string // of the writer
}

func startHost(t *testing.T, fixture string) *live.Host {
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
	return h
}

// write has a writer at the site until the test ends.
func (b *serving) write(site live.Site) {
	b.Helper()
	b.log = filepath.Join(b.TempDir(), "log")
	log, err := live.OpenLog(b.log)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var writer errgroup.Group
	writer.Go(func() error {
		return live.Writer{Site: site, Side: "source", Log: log, Prefix: "busy", Every: 50 * time.Millisecond}.Run(ctx)
	})
	b.Cleanup(func() {
		stop()
		if err := writer.Wait(); err != nil {
			b.Error(err)
		}
		log.Close()
	})
	for deadline := time.Now().Add(time.Minute); len(b.acknowledged(time.Now())) < 20; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("nothing is acknowledged")
		}
	}
}

// acknowledged are the titles that were acknowledged before a moment, of what a
// database keeps.
func (b *serving) acknowledged(before time.Time) (titles []string) {
	b.Helper()
	attempts, err := live.ReadLog(b.log)
	if err != nil {
		b.Fatal(err)
	}
	for _, a := range attempts {
		if a.Acknowledged() && a.Ended.Before(before) && a.Kind != "record" {
			titles = append(titles, a.Title)
		}
	}
	return titles
}

// lift runs the host's lift into a workspace and returns what it printed to standard
// error. What changed since the scan in directories that are no databases is not
// what this is about.
func (b *serving) lift(ws string) string {
	b.Helper()
	cmd := b.run(ws)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 5 {
		b.Fatalf("run: %v\n%.20000s", err, out)
	}
	return string(out)
}

func (b *serving) run(ws string) *exec.Cmd {
	return exec.CommandContext(b.Context(), shipped(), "run", b.host.Root, "-w", ws, "--quiesce", "--on-source", quiesce.Quote(b.host.Enter()))
}

// nothingLeft makes sure that the source has no copy any more, and that each
// database is said to have been taken by its tool.
func (b *serving) nothingLeft(ws string, tools ...string) {
	b.Helper()
	if left, _ := filepath.Glob(filepath.Join(b.host.Root, "var/lib/statelift*")); len(left) > 0 {
		b.Errorf("left on the source: %s", left)
	}
	w, err := workspace.Open(ws)
	if err != nil {
		b.Fatal(err)
	}
	verdicts, err := pipeline.Read(w, handoff.VerdictsKey)
	if err != nil {
		b.Fatal(err)
	}
	var taken []string
	for _, c := range verdicts.Checks {
		if !c.OK {
			b.Errorf("%s %s: %s", c.What, c.Name, c.Detail)
		}
		if c.What == "database" {
			tool, _, _ := strings.Cut(strings.TrimPrefix(c.Detail, "taken by "), " ")
			taken = append(taken, tool)
			b.Logf("%s: %s", c.Name, c.Detail)
		}
	}
	if !slices.Equal(taken, tools) {
		b.Errorf("taken by %q, want %q", taken, tools)
	}
	receipts, err := filepath.Glob(filepath.Join(ws, "receipts", "*.json"))
	if err != nil || len(receipts) == 0 {
		b.Fatal("no receipts", err)
	}
	said := ""
	for _, name := range receipts {
		text, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		said += string(text)
	}
	for _, tool := range tools {
		if !strings.Contains(said, "taken by "+tool+" while it ran, from ") {
			b.Errorf("no receipt says that a database was taken by %s", tool)
		}
	}
}

// revive puts the volumes below these directories into a second host, whose services
// are stopped.
func (b *serving) revive(second *live.Host, ws string, paths ...string) {
	b.Helper()
	w, err := workspace.Open(ws)
	if err != nil {
		b.Fatal(err)
	}
	plan, err := pipeline.Read(w, handoff.PlanKey)
	if err != nil {
		b.Fatal(err)
	}
	found := 0
	for _, v := range plan.Volumes {
		if !slices.Contains(paths, string(v.Path)) {
			continue
		}
		found++
		to := filepath.Join(second.Root, string(v.Path))
		if out, err := exec.CommandContext(b.Context(), "sh", "-c", `find "$2" -mindepth 1 -delete && cp -a "$1/." "$2/"`, "sh", w.Path(workspace.Volumes, v.Name), to).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	if found != len(paths) {
		b.Fatalf("%d of the volumes %q", found, paths)
	}
}

// in runs a script in a host.
func (b *serving) in(h *live.Host, script string) string {
	b.Helper()
	out, err := h.Run(b.Context(), "sh", "-ec", script)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// everyRow wants each title once.
func (b *serving) everyRow(want []string, out string) {
	b.Helper()
	there := map[string]int{}
	for line := range strings.Lines(out) {
		there[strings.TrimSpace(line)]++
	}
	for _, title := range want {
		if there[title] != 1 {
			b.Errorf("%s was acknowledged before the copy, and is there %d times", title, there[title])
		}
	}
	b.Logf("%d were acknowledged before the copy, %d are there", len(want), len(there))
}

// TestBackupPostgres lifts a host while its PostgreSQL, with a tablespace elsewhere,
// and its Redis, with a password, are written to. The engines themselves judge what
// came to the volumes: they are started on a second host with them.
func TestBackupPostgres(t *testing.T) {
	b := &serving{T: t, host: startHost(t, hosts.Postgres(t))}
	const redis = `export REDISCLI_AUTH=$(sed -n 's/^requirepass //p' /etc/redis/redis.conf); `
	b.write(b.host.Docket())
	// Some in a moment, and from then on all the time.
	b.in(b.host, redis+`for i in $(seq 500); do echo "SET early$i value$i"; done | redis-cli >/dev/null
(i=0; while :; do i=$((i + 1)); redis-cli set late$i $i || exit; sleep 0.02; done) </dev/null >/dev/null 2>&1 &`)
	ws := filepath.Join(t.TempDir(), "ws")

	// A run that is killed while the copy is made leaves it behind, and the next one
	// removes it.
	killed := b.run(ws)
	b.killAt(killed, func() bool {
		found, _ := filepath.Glob(filepath.Join(b.host.Root, "var/lib/statelift/backups/*/1/data/base"))
		return len(found) > 0
	})

	before := time.Now()
	said := b.lift(ws)
	password := strings.TrimSpace(b.in(b.host, `sed -n 's/^requirepass //p' /etc/redis/redis.conf`))
	if len(password) < 20 || strings.Contains(said, password) {
		t.Error("the password of Redis was shown")
	}
	for _, want := range []string{"on the source, to make a private directory", "by pg_basebackup while it runs: ", "by BGSAVE while it runs: ", "on the source, to remove the copies"} {
		if !strings.Contains(said, want) {
			t.Errorf("not shown: %q", want)
		}
	}
	b.nothingLeft(ws, "pg_basebackup", "BGSAVE")

	second := startHost(t, hosts.Postgres(t))
	b.in(second, "service docket stop; service postgresql stop; service redis-server stop")
	b.revive(second, ws, "/var/lib/postgresql", "/srv/attic", "/srv/books", "/var/lib/redis")
	b.in(second, `bin=/usr/lib/postgresql/15/bin; runuser -u postgres -- $bin/pg_verifybackup --quiet /var/lib/postgresql/15/main`)
	b.in(second, `cd /var/lib/redis; redis-check-rdb dump.rdb; redis-check-aof appendonlydir/appendonly.aof.manifest`)
	b.in(second, "service postgresql start; service redis-server start")
	b.in(second, `cd /; runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_amcheck --all --install-missing --heapallindexed`)
	rows, err := second.Docket().SQL(t.Context(), `SELECT title FROM entries JOIN journal ON entry = id WHERE title LIKE 'busy%'`)
	if err != nil {
		t.Fatal(err)
	}
	b.everyRow(b.acknowledged(before), rows)
	if got := b.in(second, redis+`until redis-cli ping | grep -q PONG; do sleep 0.1; done; for i in $(seq 500); do echo "GET early$i"; done | redis-cli | grep -c '^value'`); strings.TrimSpace(got) != "500" {
		t.Errorf("of 500 keys that were there before the copy, there are %s", got)
	}
}

// killAt kills a run when something is seen, and what it started on this machine, but
// not what runs on the source.
func (b *serving) killAt(cmd *exec.Cmd, seen func() bool) {
	b.Helper()
	said, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
		}
	}()
	for deadline := time.Now().Add(2 * time.Minute); !seen(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("the moment of the kill never came")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		b.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if left, _ := filepath.Glob(filepath.Join(b.host.Root, "var/lib/statelift/backups/*/1")); len(left) != 1 {
		b.Fatalf("the kill left %q: it came too late", left)
	}
}

// TestBackupMariaDB is the same with MariaDB, whose tool is not on the host: the run
// is blocked and says which package to install.
func TestBackupMariaDB(t *testing.T) {
	b := &serving{T: t, host: startHost(t, hosts.WordPress(t))}
	site, err := b.host.WordPress()
	if err != nil {
		t.Fatal(err)
	}
	site.Tally = nil
	b.write(site)
	ws := filepath.Join(t.TempDir(), "ws")
	blocked := b.run(ws)
	out, err := blocked.CombinedOutput()
	if blocked.ProcessState.ExitCode() != 4 || !strings.Contains(string(out), "install it there: mariadb-backup") || strings.Contains(string(out), "on the source, to") {
		t.Fatalf("without the tool: %v\n%s", err, out)
	}
	if err := b.host.Install(t.Context(), "mariadb-backup"); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	b.lift(ws)
	b.nothingLeft(ws, "mariadb-backup")

	second := startHost(t, hosts.WordPress(t))
	b.in(second, "service apache2 stop; service mariadb stop")
	b.revive(second, ws, "/var/lib/mysql")
	b.in(second, `rm -f /var/log/mysql/error.log; service mariadb start`)
	checked := b.in(second, `mariadb-check --all-databases --check --extended 2>&1`)
	if !strings.Contains(checked, " OK\n") || strings.Contains(strings.ToLower(checked), "error") || strings.Contains(strings.ToLower(checked), "warning") {
		t.Errorf("mariadb-check:\n%s", checked)
	}
	rows := b.in(second, fmt.Sprintf(`mariadb -N -e "SELECT post_title FROM wordpress.wp_posts WHERE post_type IN ('post', 'attachment') AND post_title LIKE '%s%%'"`, "busy"))
	b.everyRow(b.acknowledged(before), rows)
}
