package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// small is a host with the given units and a few users.
func small(units ...facts.Unit) *testHost {
	return &testHost{
		os: facts.OS{Hostname: "atlas"}, units: units,
		users: []facts.User{
			{Name: "root", Home: "/root", Shell: "/bin/sh"}, {Name: "app", UID: 900, GID: 901, Home: "/var/lib/app", Shell: "/bin/sh"},
			{Name: "www-data", UID: 33, GID: 33, Home: "/var/www"},
		},
		groups: []facts.Group{{Name: "app", GID: 901}, {Name: "adm", GID: 4, Members: []string{"app"}}, {Name: "ssl", GID: 110}, {Name: "www-data", GID: 33}},
		items:  []item{{path: "/etc"}, {path: "/var/log"}},
		rules:  profile.Rules{Units: []profile.UnitRule{{Name: "ssh", Units: []string{"ssh*.service"}, Reason: "login", File: "units"}}},
	}
}

func TestSelection(t *testing.T) {
	masked := unit("masked.service", true, "Service.ExecStart=/bin/a")
	masked.Masked = true
	packaged := unit("packaged.service", true, "Service.Type=oneshot", "Service.ExecStart=/bin/a")
	packaged.Package = "packaged"
	bus := unit("bus.service", true, "Service.Type=dbus", "Service.ExecStart=/bin/a")
	bus.Package = "bus"
	alias := unit("other-name.service", true, "Service.ExecStart=/bin/plain")
	alias.Path = "/etc/systemd/system/plain.service"
	h := small(
		masked, packaged, bus, alias,
		unit("plain.service", true, "Service.ExecStart=/bin/plain", "Unit.Wants=pulled.service"),
		unit("pulled.service", false, "Service.ExecStart=/bin/pulled"),
		unit("static.service", false, "Service.ExecStart=/bin/a"),
		unit("template@.service", false, "Service.ExecStart=/bin/a"),
		unit("template@one.service", true, "Service.ExecStart=/bin/a %i"),
		unit("ssh@x.service", true, "Service.ExecStart=/bin/a"),
		unit("nothing.service", true),
		unit("activated.service", false, "Service.ExecStart=/bin/activated"),
		unit("activated.socket", true, "Socket.ListenStream=8125"),
		unit("renamed.socket", true, "Socket.Service=target.service", "Socket.ListenStream=/run/target.sock"),
		unit("target.service", false, "Service.ExecStart=/bin/target"),
		unit("hourly.timer", true, "Timer.OnCalendar=hourly"),
		unit("hourly.service", false, "Service.Type=oneshot", "Service.ExecStart=/bin/first", "Service.ExecStart=/bin/second"),
		unit("often.timer", true, "Timer.OnBootSec=2min", "Timer.OnUnitActiveSec=15min"),
		unit("often.service", false, "Service.Type=oneshot", "Service.ExecStart=/bin/often"),
		unit("late.timer", true, "Timer.OnCalendar=*-*~1"),
		unit("late.service", false, "Service.Type=oneshot", "Service.ExecStart=/bin/late"),
		unit("two.timer", true, "Timer.OnCalendar=Mon 1:00", "Timer.OnCalendar=Thu 5:00"),
		unit("two.service", false, "Service.Type=oneshot", "Service.ExecStart=/bin/two"),
		unit("forced.service", false, "Service.ExecStart=/bin/forced"),
		unit("gone.service", true, "Service.ExecStart=/bin/gone"),
	)
	h.processes = []facts.Process{{PID: 7, Exe: "/bin/a", Unit: "static.service"}}
	h.scripts = []facts.Script{
		{Name: "boots", Path: "/etc/init.d/boots", StartLevels: []string{"S"}, Daemon: "/bin/boots"},
		{Name: "step", Path: "/etc/init.d/step", StartLevels: []string{"2"}},
	}
	h.decisions = decisions.PlanPart{File: "statelift.yaml", Units: []decisions.Unit{{Unit: "gone.service", LeaveOut: true, Line: 3}, {Unit: "forced.service", Keep: true}}}
	pl, _, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"masked.service": "unit/masked", "packaged.service": "unit/oneshot", "bus.service": "unit/dbus", "ssh@x.service": "rule units/ssh",
		"nothing.service": "unit/oneshot", "late.service": "timer/schedule", "gone.service": "statelift.yaml:3",
		"boots.service": "script/disabled", "step.service": "script/no-daemon",
	}
	if diff := cmp.Diff(want, leftOut(pl)); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	var units []string
	for _, w := range pl.Workloads {
		for _, c := range w.Containers {
			units = append(units, c.Unit)
		}
	}
	slices.Sort(units)
	wantUnits := []string{"activated.service", "forced.service", "hourly.service", "often.service", "plain.service", "pulled.service", "static.service", "target.service", "template@one.service", "two.service"}
	if diff := cmp.Diff(wantUnits, units); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
	if c := container(t, pl, "template@one.service"); !slices.Equal(c.Command, []string{"/bin/a", "one"}) || c.Name != "template-one" {
		t.Errorf("template@one: %s %q", c.Name, c.Command)
	}
	if c := container(t, pl, "activated.service"); len(c.Ports) != 1 || c.Ports[0].Number != 8125 || !risk(pl, "activated.service", "open socket") {
		t.Errorf("activated: %+v", c.Ports)
	}
	hourly := workload(t, pl, "hourly")
	if hourly.Schedule != "0 * * * *" || !slices.Equal(hourly.Containers[0].Command, []string{"/bin/second"}) || len(hourly.Containers[0].Before) != 1 {
		t.Errorf("hourly: %+v", hourly.Containers[0])
	}
	if w := workload(t, pl, "often"); w.Schedule != "*/15 * * * *" {
		t.Errorf("often at %q", w.Schedule)
	}
	if w := workload(t, pl, "two"); w.Schedule != "0 1 * * 1" || !question(pl, "schedule-two") || !question(pl, "schedule-late") {
		t.Errorf("two at %q, questions %+v", w.Schedule, pl.Questions)
	}
	if !risk(pl, "static.service", "by hand") {
		t.Error("no risk for a unit that runs without being enabled")
	}

	h.decisions.Answers = map[string]string{"schedule-late": "0 0 28 * *", "schedule-two": "leave out"}
	if pl, _, err = h.plan(t); err != nil {
		t.Fatal(err)
	}
	if w := workload(t, pl, "late"); w.Schedule != "0 0 28 * *" || leftOut(pl)["two.service"] != "statelift.yaml" {
		t.Errorf("answers: late at %q, left out %v", w.Schedule, leftOut(pl))
	}
}

func TestContainer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		check func(t *testing.T, w handoff.Workload, c handoff.Container, pl handoff.Plan)
	}{
		{"user and groups", []string{"Service.User=app", "Service.SupplementaryGroups=ssl", "Service.ExecStart=/bin/a"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if c.UID != 900 || c.GID != 901 || !slices.Equal(c.Groups, []uint32{4, 110}) || c.StartsAsRoot || len(c.Capabilities) > 0 {
				t.Errorf("%d:%d %v root %v %v", c.UID, c.GID, c.Groups, c.StartsAsRoot, c.Capabilities)
			}
		}},
		{"another group", []string{"Service.User=app", "Service.Group=ssl", "Service.ExecStart=/bin/a"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if c.GID != 110 {
				t.Errorf("gid %d", c.GID)
			}
		}},
		{"a number", []string{"Service.User=4711", "Service.ExecStart=/bin/a"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if c.UID != 4711 || c.GID != 4711 {
				t.Errorf("%d:%d", c.UID, c.GID)
			}
		}},
		{"unknown user", []string{"Service.User=nobody-knows", "Service.ExecStart=/bin/a"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, pl handoff.Plan) {
			if c.UID != 65534 || !risk(pl, "x.service", "nobody-knows") {
				t.Errorf("%d, risks %v", c.UID, pl.Risks)
			}
		}},
		{"dynamic user", []string{"Service.DynamicUser=yes", "Service.StateDirectory=x", "Service.ExecStart=/bin/a"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if c.UID < 61184 || c.UID > 65519 {
				t.Errorf("uid %d", c.UID)
			}
		}},
		{"root", []string{"Service.ExecStart=/bin/a", "Service.CapabilityBoundingSet=CAP_SETUID CAP_CHOWN"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, pl handoff.Plan) {
			if !c.StartsAsRoot || !slices.Equal(c.Capabilities, []string{"CHOWN", "SETUID"}) || !risk(pl, "x.service", "runs as root") {
				t.Errorf("root %v, %v", c.StartsAsRoot, c.Capabilities)
			}
		}},
		{"ambient capabilities", []string{"Service.User=app", "Service.AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_RAW", "Service.ExecStart=/bin/a -p 25"}, func(t *testing.T, w handoff.Workload, c handoff.Container, pl handoff.Plan) {
			if len(c.Capabilities) > 0 || !w.LowPorts || !risk(pl, "x.service", "NET_RAW") {
				t.Errorf("%v, low ports %v", c.Capabilities, w.LowPorts)
			}
		}},
		{"stopping", []string{"Service.ExecStart=/bin/a", "Service.KillSignal=QUIT", "Service.TimeoutStopSec=2min"}, func(t *testing.T, w handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if c.StopSignal != "SIGQUIT" || w.GraceSeconds != 120 {
				t.Errorf("%s after %d s", c.StopSignal, w.GraceSeconds)
			}
		}},
		{"stopping takes forever", []string{"Service.ExecStart=/bin/a", "Service.TimeoutStopSec=infinity"}, func(t *testing.T, w handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if c.StopSignal != "" || w.GraceSeconds != 3600 {
				t.Errorf("%s after %d s", c.StopSignal, w.GraceSeconds)
			}
		}},
		{"at home", []string{"Service.User=app", "Service.WorkingDirectory=-~", "Service.ExecStart=/bin/a"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if c.WorkDir != "/var/lib/app" {
				t.Errorf("in %s", c.WorkDir)
			}
		}},
		{"before", []string{"Service.ExecStartPre=-/bin/mk %N", "Service.ExecStartPre=/bin/systemctl x", "Service.ExecStart=/bin/a"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if diff := cmp.Diff([][]string{{"/bin/sh", "-c", `"$@" || :`, "sh", "/bin/mk", "x"}}, c.Before); diff != "" {
				t.Error(diff)
			}
		}},
		{"forks", []string{"Service.Type=forking", "Service.KillSignal=SIGINT", "Service.ExecStart=/bin/a -d"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, pl handoff.Plan) {
			if c.Command[0] != "/bin/sh" || !strings.Contains(c.Command[2], "kill -INT") || !slices.Equal(c.Command[4:], []string{"/bin/a", "-d"}) || !question(pl, "foreground-x") {
				t.Errorf("%q", c.Command)
			}
		}},
		{"resources", []string{"Service.ExecStart=/bin/a", "Service.MemoryMax=64M", "Service.MemoryLow=1G"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if c.Resources.MemoryLimit != 64<<20 || c.Resources.Memory != 64<<20 {
				t.Errorf("%+v", c.Resources)
			}
		}},
		{"environment", []string{"Service.User=app", `Service.Environment=A=1 "B=two words" C=$(x) PATH=/opt/bin`, "Service.Environment=A=2", "Service.ExecStart=/bin/a ${A} $B"}, func(t *testing.T, _ handoff.Workload, c handoff.Container, _ handoff.Plan) {
			got := map[string]string{}
			for _, e := range c.Env {
				got[e.Name] = e.Value
			}
			want := map[string]string{"A": "2", "B": "two words", "C": "$$(x)", "PATH": "/opt/bin", "HOME": "/var/lib/app", "USER": "app", "LOGNAME": "app", "SHELL": "/bin/sh"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"/bin/a", "$(A)", "two", "words"}, c.Command); diff != "" {
				t.Error(diff)
			}
		}},
		{"listens", []string{"Service.User=app", "Service.ExecStart=/bin/a --listen=0.0.0.0:8080 -l 127.0.0.1:9090 --to db.example.org:5432"}, func(t *testing.T, w handoff.Workload, c handoff.Container, _ handoff.Plan) {
			if len(c.Ports) != 1 || c.Ports[0].Number != 8080 || c.Ready == nil || c.Ready.Port != 8080 || len(w.Service) != 1 {
				t.Errorf("%+v, ready %+v", c.Ports, c.Ready)
			}
		}},
		{"broken", []string{`Service.ExecStart=/bin/a "x`}, func(t *testing.T, _ handoff.Workload, _ handoff.Container, pl handoff.Plan) {
			if !risk(pl, "x.service", "x.service:2") {
				t.Errorf("risks: %+v", pl.Risks)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pl, _, err := small(unit("x.service", true, tt.lines...)).plan(t)
			if err != nil {
				t.Fatal(err)
			}
			w := workload(t, pl, "x")
			tt.check(t, w, w.Containers[0], pl)
		})
	}
}

// TestSecretInUnit: a credential in the unit itself is read from there when the
// Secret is made; it is neither in the plan nor in the command.
func TestSecretInUnit(t *testing.T) {
	h := small(unit("x.service", true, "Service.User=app", "Service.Environment=TOKEN="+facts.Redacted, "Service.ExecStart=/bin/a --token ${TOKEN}"))
	h.items = append(h.items, item{path: "/etc/systemd/system/x.service", class: claim.Secret, content: "[Service]\nEnvironment=TOKEN=never-shown\n"})
	pl, text, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	c := container(t, pl, "x.service")
	want := handoff.Env{Name: "TOKEN", From: "x-secret", Key: "x.TOKEN", Secret: true}
	if !slices.Contains(c.Env, want) || !slices.Equal(c.Command, []string{"/bin/a", "--token", "$(TOKEN)"}) || strings.Contains(text, "never-shown") {
		t.Errorf("%+v %q", c.Env, c.Command)
	}
	if f := pl.Secrets[0].Files; !slices.ContainsFunc(f, func(k handoff.KeyFile) bool {
		return k.Variable == "TOKEN" && k.Path == hostpath.Path("/etc/systemd/system/x.service")
	}) {
		t.Errorf("files of the Secret: %+v", f)
	}
}
