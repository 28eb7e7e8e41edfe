package quiesce_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/live"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/quiesce"
	"github.com/statelift/statelift/templates"
)

// source is a host that runs, as the source of a plan with these containers: UNIT
// PROFILE.
func source(t *testing.T, host *live.Host, units ...string) *quiesce.Source {
	t.Helper()
	profiles, err := profile.Load(templates.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	var plan handoff.Plan
	for _, u := range units {
		unit, prof, _ := strings.Cut(u, " ")
		plan.Workloads = append(plan.Workloads, handoff.Workload{Name: "w", Containers: []handoff.Container{{Name: "c", Unit: unit, Profile: prof, Command: []string{"/opt/docket/bin/docketd"}}}})
	}
	actions, err := quiesce.For(plan, profiles)
	if err != nil {
		t.Fatal(err)
	}
	runner, err := quiesce.OnSource(quiesce.Quote(host.Enter()))
	if err != nil {
		t.Fatal(err)
	}
	return &quiesce.Source{Actions: actions, Runner: runner}
}

// serving are the daemons that pgrep(1) finds in the host.
func serving(t *testing.T, host *live.Host) []string {
	t.Helper()
	out, _ := host.Run(t.Context(), "ps", "-e", "-o", "comm=")
	var found []string
	for _, name := range []string{"cron", "docketd", "nginx", "postgres", "redis-server"} {
		if slices.Contains(strings.Fields(out), name) {
			found = append(found, name)
		}
	}
	return found
}

// initState is all of the host that decides what starts.
func initState(t *testing.T, root string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `cd "$1/etc" && find init.d rc?.d statelift ../var/lib/statelift -printf '%p %M %U %G %s %T@ %l\n' 2>/dev/null | grep -v '^\(init.d\|rc..d\) ' | sort; cat init.d/* | sha256sum`, "sh", root).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestSystemV stops, fences, unfences and starts the services of a host that runs,
// with its own init scripts.
func TestSystemV(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, err := live.Start(ctx, hosts.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	all := []string{"cron", "docketd", "nginx", "postgres", "redis-server"}
	poll(t, "all serve", func() bool { return slices.Equal(serving(t, host), all) })
	before := initState(t, host.Root)

	units := []string{"postgresql@15-main.service postgresql", "docket.service generic-unit", "nginx.service nginx", "redis-server.service redis", "cron:cron.d/x:1 cron"}
	s := source(t, host, units...)
	var shown []string
	s.Show = func(c quiesce.Command) { shown = append(shown, c.What) }
	if standing, err := s.Reach(ctx); err != nil || standing.Running != 5 || len(standing.Notes) > 0 {
		t.Errorf("Reach: %+v, %v", standing, err)
	}
	if got, err := s.Running(ctx); err != nil || len(got) != 5 {
		t.Errorf("Running: %q, %v", got, err)
	}
	wanted, err := s.Commands(ctx)
	must(t, err)
	if len(shown) > 0 || len(wanted) != 12 {
		t.Errorf("%d commands are to come, and already run: %q", len(wanted), shown)
	}
	if diff := cmp.Diff(before, initState(t, host.Root)); diff != "" {
		t.Errorf("questions changed the source:\n%s", diff)
	}

	must(t, s.Stop(ctx))
	if diff := cmp.Diff([]string{"stop cron", "stop nginx", "stop docket", "stop postgresql", "stop redis-server"}, shown); diff != "" {
		t.Errorf("commands shown:\n%s", diff)
	}
	if got := serving(t, host); len(got) > 0 {
		t.Errorf("%q serve after the stop", got)
	}
	must(t, s.Fence(ctx))
	fenced := initState(t, host.Root)
	must(t, s.Stop(ctx)) // each once more, as after a kill
	must(t, s.Fence(ctx))
	if diff := cmp.Diff(withoutTimes(fenced), withoutTimes(initState(t, host.Root))); diff != "" {
		t.Errorf("the fence once more:\n%s", diff)
	}
	if out, err := host.Run(ctx, "service", "nginx", "start"); err == nil || !strings.Contains(err.Error(), "statelift rollback") {
		t.Errorf("a fenced service starts, or nobody says why not: %s %v", out, err)
	}
	must(t, host.Restart(ctx))
	s = source(t, host, units...)
	if got, err := s.Running(ctx); err != nil || len(got) > 0 || len(serving(t, host)) > 0 {
		t.Errorf("after a boot run %q (%q), %v", got, serving(t, host), err)
	}

	must(t, s.Unfence(ctx))
	must(t, s.Unfence(ctx))
	must(t, s.Start(ctx))
	poll(t, "all serve again", func() bool { return slices.Equal(serving(t, host), all) })
	if diff := cmp.Diff(before, initState(t, host.Root)); diff != "" {
		t.Errorf("what decides what starts is not as it was:\n%s", diff)
	}
	must(t, s.Start(ctx)) // nothing is left to start

	// What did not run is not started, and what runs beside its script is seen.
	_, err = host.Run(ctx, "service", "nginx", "stop")
	must(t, err)
	must(t, s.Stop(ctx))
	_, err = host.Run(ctx, "sh", "-c", "nginx -g 'daemon on;'")
	must(t, err)
	if got, err := s.Running(ctx); err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "nginx") {
		t.Errorf("nginx started beside its script: %q, %v", got, err)
	}
	_, err = host.Run(ctx, "nginx", "-s", "stop")
	must(t, err)
	must(t, s.Start(ctx))
	if got := serving(t, host); slices.Contains(got, "nginx") || !slices.Contains(got, "postgres") {
		t.Errorf("after the start %q serve", got)
	}
	lateStop(t, host, s)
	if _, err := source(t, host, "absent.service generic-unit").Reach(ctx); err == nil || !strings.Contains(err.Error(), "absent.service") {
		t.Errorf("a service that the host has not is reached: %v", err)
	}
}

// lateStop kills a stop whose command goes on, and starts again at once: the service
// runs in the end.
func lateStop(t *testing.T, host *live.Host, s *quiesce.Source) {
	t.Helper()
	ctx := t.Context()
	commands, err := s.Commands(ctx)
	must(t, err)
	i := slices.IndexFunc(commands, func(c quiesce.Command) bool { return c.What == "stop docket" })
	_, err = host.Run(ctx, "pkill", "-STOP", "docketd") // it does not end before it goes on
	must(t, err)
	stop := exec.CommandContext(ctx, "nsenter", append(host.Enter()[1:], commands[i].Argv...)...)
	must(t, stop.Start())
	poll(t, "the stop is under way", func() bool {
		_, err := host.Run(ctx, "pgrep", "-f", "^start-stop-daemon --stop")
		return err == nil
	})
	must(t, stop.Process.Kill())
	_ = stop.Wait() // killed
	started := make(chan error, 1)
	go func() { started <- s.Start(ctx) }()
	time.Sleep(time.Second) // for what does not wait for the stop
	_, err = host.Run(ctx, "pkill", "-CONT", "docketd")
	must(t, err)
	must(t, <-started)
	poll(t, "the stop is over", func() bool {
		_, err := host.Run(ctx, "pgrep", "-f", "^start-stop-daemon --stop")
		return err != nil
	})
	if got := serving(t, host); !slices.Contains(got, "docketd") {
		t.Errorf("after a stop that was late %q serve", got)
	}
}

// TestJobs waits for a job that cron has started.
func TestJobs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, err := live.Start(ctx, hosts.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	jobs(t, host)
}

// jobs stops cron(8) while a job of it runs.
func jobs(t *testing.T, host *live.Host) {
	ctx := t.Context()
	s := source(t, host, "cron:cron.d/x:1 cron")
	// The jobs of a boot are those of a cron that finds no trace of another before it.
	const job = "@reboot root trap '' HUP; sleep 5; echo done >/run/job-done\n"
	_, err := host.Run(ctx, "sh", "-c", `printf '%s' "$1" >/etc/cron.d/statelift-test && rm -f /run/crond.reboot && service cron restart`, "sh", job)
	must(t, err)
	poll(t, "the job runs", func() bool { return jobRuns(ctx, host) })
	must(t, s.Stop(ctx))
	if _, err := host.Run(ctx, "test", "-e", "/run/job-done"); err != nil {
		t.Errorf("Stop did not wait for the job: %v", err)
	}
}

func jobRuns(ctx context.Context, host *live.Host) bool {
	_, err := host.Run(ctx, "pgrep", "-f", "^sleep 5$")
	return err == nil
}

func withoutTimes(state string) string {
	var out []string
	for line := range strings.Lines(state) {
		f := strings.Fields(line)
		if len(f) > 5 {
			f = slices.Delete(f, 5, 6)
		}
		out = append(out, filepath.Clean(strings.Join(f, " ")))
	}
	return strings.Join(out, "\n")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(300 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}
