package quiesce_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/live"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/quiesce"
)

// lifted are the units that become workloads, with their profiles.
var lifted = []string{
	"nginx.service nginx", "docket.service generic-unit", "postgresql@15-main.service postgresql", "redis.service redis",
	"pulse.service generic-unit", "crash.service generic-unit", "gate.service generic-unit", "tick.service generic-unit",
	"drop.service generic-unit", "worker@1.service generic-unit", "legacy.service generic-unit", "stray.service generic-unit",
	"halted.service generic-unit", "unwanted.service generic-unit", "barred.service generic-unit",
}

// names are what systemd calls them, and what starts them.
var names = []string{
	"barred.service", "beat.service", "crash.service", "docket.service", "drop.path", "drop.service", "gate.service", "gate.socket",
	"halted.service", "legacy.service", "nginx.service", "postgresql@15-main.service", "redis-server.service",
	"stray.service", "tick.service", "tick.timer", "unwanted.service", "worker@1.service",
}

// bootSystemd boots a host with its own systemd and the units of testdata/systemd.
func bootSystemd(t *testing.T) *live.Host {
	t.Helper()
	host, err := live.StartSystemd(t.Context(), hosts.Postgres(t), "testdata/systemd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	tell(t, host, "systemctl", "--quiet", "enable", "--now", "beat", "crash", "tick.timer", "drop.path", "worker@1", "worker@2",
		"legacy", "stray", "bound", "needs", "further", "part", "halted")
	tell(t, host, "systemctl", "start", "unwanted", "gate.socket") // which after a boot nothing loads
	tell(t, host, "systemctl", "stop", "halted")
	return host
}

func tell(t *testing.T, host *live.Host, argv ...string) string {
	t.Helper()
	out, err := host.Run(t.Context(), argv...)
	must(t, err)
	return out
}

// active are those units of the host that systemctl(1) shows as anything but off,
// for services, timers, sockets and paths.
func active(t *testing.T, host *live.Host) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(tell(t, host, "systemctl", "list-units", "--plain", "--no-legend", "--type=service,timer,socket,path", "--state=active,activating,reloading,deactivating")) {
		out = append(out, strings.Fields(line)[0])
	}
	return out
}

// among are those of the units that are lifted.
func among(units []string) []string {
	return slices.DeleteFunc(slices.Clone(units), func(u string) bool { return !slices.Contains(names, u) })
}

// configured is what is to be as before when all is taken back. Whether a unit is
// enabled or masked is told by links in /etc.
func configured(t *testing.T, host *live.Host) string {
	t.Helper()
	return tell(t, host, "sh", "-c", `find /etc /run /var/lib/statelift ! -path '/run/systemd/units*' ! -path '/run/systemd/journal*' ! -name '*pid' -printf '%p %M %u %g %l\n' 2>/dev/null | sort
		cat /etc/init.d/* | sha256sum`)
}

// processes are those of units that are lifted, which their command lines tell.
func processes(t *testing.T, host *live.Host) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(tell(t, host, "ps", "-e", "-o", "args=")) {
		for _, own := range []string{"nginx", "docketd", "postgres", "redis-server", "serve beat", "proxyd", "/trial/tick", "serve drop", "worker-1", "/trial/legacy", "/trial/stray", "serve halted", "serve unwanted"} {
			if strings.Contains(line, own) && !strings.Contains(line, "for s in") { // the job that tries to start them
				out = append(out, strings.TrimSpace(line))
			}
		}
	}
	return out
}

func systemdSource(t *testing.T, host *live.Host, units ...string) *quiesce.Source {
	t.Helper()
	s := source(t, host, units...)
	for i := range s.Actions.Services {
		if s.Actions.Services[i].Unit == "tick.service" {
			s.Actions.Services[i].Timed, s.Actions.Services[i].Tier = true, profile.JobsTier
		}
	}
	return s
}

// connect has systemd start what is behind a socket.
const connect = "exec 3<>/dev/tcp/127.0.0.1/6390"

// TestSystemd stops, fences, unfences and starts the services of a host that runs,
// with its own systemd.
func TestSystemd(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host := bootSystemd(t)
	tell(t, host, "bash", "-c", connect+"; touch /run/drop")
	var before []string
	poll(t, "all run, and the job of a timer", func() bool {
		before = active(t, host)
		return cmp.Equal(names, append(among(before), "barred.service", "halted.service"), cmpopts.SortSlices(strings.Compare))
	})
	poll(t, "the job at the boot is over", func() bool { _, err := host.Run(ctx, "test", "-e", "/run/tried"); return err == nil })
	files := configured(t, host)

	s := systemdSource(t, host, lifted...)
	running, err := s.Running(ctx)
	must(t, err)
	job := cmpopts.IgnoreSliceElements(func(name string) bool { return name == "tick.service" }) // it comes and goes
	if diff := cmp.Diff(among(before), running, cmpopts.SortSlices(strings.Compare), job); diff != "" {
		t.Errorf("what runs (systemctl list-units -, Running +):\n%s", diff)
	}
	standing, err := s.Reach(ctx)
	must(t, err)
	if notes := strings.Join(standing.Notes, "\n"); !strings.Contains(notes, "systemd stops bound.service, further.service, needs.service, part.service with them") {
		t.Errorf("what is stopped with them is not said: %q", notes)
	}
	if diff := cmp.Diff(files, configured(t, host)); diff != "" {
		t.Errorf("questions changed the source:\n%s", diff)
	}

	must(t, s.Stop(ctx))
	if left := processes(t, host); len(left) > 0 {
		t.Errorf("after the stop run %q", left)
	}
	for name, last := range map[string]string{"legacy": "last", "stray": "late", "tick": "ended"} {
		if text := tell(t, host, "tail", "-n", "1", "/var/lib/trial/"+name); strings.TrimSpace(text) != last {
			t.Errorf("%s was not waited for: it wrote %q", name, text)
		}
	}
	must(t, s.Fence(ctx))
	must(t, s.Stop(ctx)) // each once more, as after a kill
	must(t, s.Fence(ctx))
	for _, attempt := range []string{
		"systemctl start $UNITS", "systemctl restart $UNITS", "systemctl isolate multi-user.target", "systemctl start needs further bound",
		"service nginx restart", "/etc/init.d/redis-server start", "/etc/init.d/legacy start", "touch /run/drop; " + connect,
	} {
		if out, err := host.Run(ctx, "bash", "-c", strings.ReplaceAll(attempt, "$UNITS", strings.Join(names, " "))); err == nil && !strings.Contains(attempt, "isolate") {
			t.Errorf("%q succeeds: %s", attempt, out)
		}
		if up := append(among(active(t, host)), processes(t, host)...); len(up) > 0 {
			t.Errorf("after %q run %q", attempt, up)
		}
	}
	must(t, host.Restart(ctx))
	poll(t, "the job at the boot has tried all", func() bool { _, err := host.Run(ctx, "test", "-e", "/run/tried"); return err == nil })
	if up := append(among(active(t, host)), processes(t, host)...); len(up) > 0 {
		t.Errorf("after a boot run %q", up)
	}

	// More often than StartLimitBurst= grants, which counts from the boot.
	_, _ = host.Run(ctx, "bash", "-c", "for i in 1 2 3 4 5 6; do systemctl start "+strings.Join(names, " ")+"; done")
	s = systemdSource(t, host, lifted...)
	must(t, s.Unfence(ctx))
	must(t, s.Unfence(ctx))
	must(t, s.Start(ctx))
	poll(t, "all run that ran before", func() bool { return cmp.Equal(before, active(t, host)) })
	if diff := cmp.Diff(files, configured(t, host)); diff != "" {
		t.Errorf("files and unit files, before and after:\n%s", diff)
	}
	must(t, s.Start(ctx)) // nothing is left to start
}
