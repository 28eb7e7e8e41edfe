package quiesce_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/live"
	"github.com/statelift/statelift/pipeline/quiesce"
)

// dies is a runner that is killed in the n-th of the commands that change the
// source, and with it the command, when that calls systemctl(1) for the first time
// (what calls none is done). There is none after it.
type dies struct {
	quiesce.Runner
	host *live.Host
	n    int
}

var errDead = errors.New("dead")

func (d *dies) dead() bool { return d.n <= 0 }

func (d *dies) Run(ctx context.Context, argv []string) ([]byte, error) {
	switch {
	case d.dead():
		return nil, errDead
	case argv[3] == "ask":
		return d.Runner.Run(ctx, argv)
	}
	if d.n--; !d.dead() {
		return d.Runner.Run(ctx, argv)
	}
	if _, err := d.host.Run(ctx, "touch", "/run/cut"); err != nil {
		return nil, err
	}
	_, err := d.Runner.Run(ctx, argv)
	_, errLeft := d.host.Run(ctx, "rm", "-f", "/run/cut")
	return nil, errors.Join(errDead, err, errLeft)
}

// Nobody but this test asks for /run/cut.
const cutter = `#!/bin/sh
[ "$1" = --version ] && [ -e /run/old ] && echo systemd 215 && exit
if [ -e /run/cut ]; then
	rm /run/cut
	kill -KILL $PPID
	exit 1
fi
exec /usr/bin/systemctl "$@"
`

// TestSystemdBreaks has the stop and the way back go wrong.
func TestSystemdBreaks(t *testing.T) {
	t.Parallel()
	host := bootSystemd(t)
	// What comes and goes, and what takes long to stop, is in TestSystemd.
	tell(t, host, "systemctl", "stop", "crash", "tick.timer", "tick.service", "legacy", "stray")
	tell(t, host, "rm", "/etc/cron.d/trial") // its job of the boot starts them again
	tell(t, host, "sh", "-c", `printf '%s' "$1" >/usr/local/sbin/systemctl && chmod 0755 /usr/local/sbin/systemctl`, "sh", cutter)
	t.Run("killed", func(t *testing.T) { killed(t, host) })
	t.Run("refused", func(t *testing.T) { refused(t, host) })
	t.Run("wanted", func(t *testing.T) { wanted(t, host) })
	t.Run("jobs", func(t *testing.T) { jobs(t, host) })
	t.Run("old", func(t *testing.T) { old(t, host) })
	t.Run("unloaded", func(t *testing.T) { unloaded(t, host) })
}

// killed kills the stop, the fence and the way back in each of their commands: the
// next way back finds what is left, and all is as before.
func killed(t *testing.T, host *live.Host) {
	ctx := t.Context()
	tell(t, host, "bash", "-c", connect)
	poll(t, "the socket has started its service", func() bool { return slices.Contains(active(t, host), "gate.service") })
	before, files := active(t, host), configured(t, host)
	s := systemdSource(t, host, "gate.service generic-unit", "needs.service generic-unit")
	sound := s.Runner

	there := func() error {
		if err := s.Stop(ctx); err != nil {
			return err
		}
		return s.Fence(ctx)
	}
	back := func() error {
		if err := s.Unfence(ctx); err != nil {
			return err
		}
		return s.Start(ctx)
	}
	for what, way := range map[string]func() error{"there": there, "back": back} {
		for n := 1; ; n++ {
			if what == "back" {
				must(t, there())
			}
			d := &dies{Runner: sound, host: host, n: n}
			s.Runner = d
			err := way()
			s.Runner = sound
			if d.dead() != errors.Is(err, errDead) {
				t.Fatalf("%s, command %d: %v", what, n, err)
			}
			must(t, back())
			if diff := cmp.Diff(before, active(t, host)); diff != "" {
				t.Errorf("%s, command %d: what runs, before and after:\n%s", what, n, diff)
			}
			if diff := cmp.Diff(files, configured(t, host)); diff != "" {
				t.Errorf("%s, command %d: files, before and after:\n%s", what, n, diff)
			}
			if !d.dead() {
				t.Logf("%s: killed in each of %d commands", what, n-1)
				break
			}
		}
	}
}

// refused: what does not stop by itself, or not at all, is said.
func refused(t *testing.T, host *live.Host) {
	ctx := t.Context()
	tell(t, host, "systemctl", "start", "hang", "refuse")
	s := systemdSource(t, host, "hang.service generic-unit")
	var notes []string
	s.Note = func(n string) { notes = append(notes, n) }
	must(t, s.Stop(ctx))
	if len(notes) != 1 || !strings.Contains(notes[0], "hang.service did not end in the time") {
		t.Errorf("a service that systemd had to kill: %q", notes)
	}
	must(t, s.Start(ctx))

	s = systemdSource(t, host, "refuse.service generic-unit")
	began := time.Now()
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "refuse.service runs on") || !strings.Contains(err.Error(), "Operation refused") {
		t.Errorf("a service that cannot be stopped: %v", err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("a stop that was refused took %s", took)
	}
	must(t, s.Start(ctx))
	if up := active(t, host); !slices.Contains(up, "hang.service") || !slices.Contains(up, "refuse.service") {
		t.Errorf("not all that ran runs again: %q", up)
	}
}

// wanted: what was stopped by hand is not started because something else wants it.
func wanted(t *testing.T, host *live.Host) {
	ctx := t.Context()
	tell(t, host, "systemctl", "stop", "redis-server")
	before := active(t, host)
	s := systemdSource(t, host, "docket.service generic-unit", "redis.service redis")
	must(t, s.Stop(ctx))
	must(t, s.Fence(ctx))
	must(t, s.Unfence(ctx))
	must(t, s.Start(ctx))
	if diff := cmp.Diff(before, active(t, host)); diff != "" {
		t.Errorf("what runs, before and after:\n%s", diff)
	}
}

// old: the fence of a systemd that knows no assertions.
func old(t *testing.T, host *live.Host) {
	ctx := t.Context()
	tell(t, host, "touch", "/run/old")
	before, files := active(t, host), configured(t, host)
	s := systemdSource(t, host, "worker@1.service generic-unit")
	must(t, s.Stop(ctx))
	must(t, s.Fence(ctx))
	if text := tell(t, host, "systemctl", "cat", "worker@1"); strings.Contains(text, "Assert") {
		t.Errorf("the fence is an assertion: %s", text)
	}
	_, _ = host.Run(ctx, "systemctl", "start", "worker@1")
	if up := active(t, host); slices.Contains(up, "worker@1.service") {
		t.Error("worker@1 runs in spite of the fence")
	}
	must(t, s.Unfence(ctx))
	must(t, s.Start(ctx))
	if diff := cmp.Diff(before, active(t, host)); diff != "" {
		t.Errorf("what runs, before and after:\n%s", diff)
	}
	if diff := cmp.Diff(files, configured(t, host)); diff != "" {
		t.Errorf("files, before and after:\n%s", diff)
	}
}

// unloaded: what systemd has forgotten since it was fenced is not fenced for ever.
func unloaded(t *testing.T, host *live.Host) {
	ctx := t.Context()
	tell(t, host, "systemctl", "stop", "gate.socket", "gate.service")
	// Nothing but its failure keeps a socket in mind that is neither wanted nor runs.
	tell(t, host, "systemd-run", "--quiet", "--unit=taker", "systemd-socket-activate", "--listen=127.0.0.1:6390", "cat")
	poll(t, "the port is taken", func() bool {
		_, err := host.Run(ctx, "grep", "-q", ":18F6 ", "/proc/net/tcp") // 6390
		return err == nil
	})
	if _, err := host.Run(ctx, "systemctl", "start", "gate.socket"); err == nil {
		t.Fatal("a socket starts on a port that is taken")
	}
	files := configured(t, host)
	s := systemdSource(t, host, "gate.service generic-unit")
	must(t, s.Stop(ctx))
	must(t, s.Fence(ctx))
	tell(t, host, "test", "-e", "/etc/systemd/system/gate.socket.d/statelift-fence.conf")
	tell(t, host, "systemctl", "reset-failed", "gate.socket")
	must(t, s.Unfence(ctx))
	must(t, s.Start(ctx))
	if diff := cmp.Diff(files, configured(t, host)); diff != "" {
		t.Errorf("files, before and after:\n%s", diff)
	}
}
