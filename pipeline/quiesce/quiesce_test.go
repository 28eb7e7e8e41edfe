package quiesce

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/templates"
)

func profiles(t *testing.T) []profile.Profile {
	t.Helper()
	list, err := profile.Load(templates.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// one is a plan with a workload for each unit: UNIT PROFILE.
func one(units ...string) handoff.Plan {
	var p handoff.Plan
	for _, u := range units {
		unit, prof, _ := strings.Cut(u, " ")
		p.Workloads = append(p.Workloads, handoff.Workload{Name: "w", Containers: []handoff.Container{{Name: "c", Unit: unit, Profile: prof}}})
	}
	return p
}

func TestFor(t *testing.T) {
	a, err := For(one("postgresql@15-main.service postgresql", "docket.service generic-unit", "cron:cron.d/dump:1 wordpress", "mysql.service mariadb", "nginx.service nginx", "cron:x cron"), profiles(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range a.Services {
		got = append(got, string(s.Tier)+" "+s.Unit+" "+strings.Join(s.Scripts, ","))
	}
	want := []string{
		"jobs anacron.service anacron", "jobs anacron.timer anacron", "jobs cron.service cron", "jobs crond.service crond",
		"web nginx.service nginx", "application docket.service docket",
		"database mysql.service mysql,mariadb,mysqld", "database postgresql@15-main.service postgresql",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a, err := For(one("nginx.service nginx"), profiles(t)); err != nil || len(a.Services) != 1 {
		t.Errorf("without a job: %+v, %v", a, err)
	}
	if _, err := For(one(" nginx"), profiles(t)); err == nil {
		t.Error("a container without a unit is stopped somehow")
	}
}

// TestTimed: where systemd does not run, what only its timer starts is left alone,
// with a note; a daemon without a script is refused, and so is a job that runs.
func TestTimed(t *testing.T) {
	plan := one("report.service generic-unit", "nginx.service nginx")
	plan.Workloads[0].Kind = handoff.CronJob
	plan.Workloads[0].Containers[0].Command = []string{"/opt/report/bin/report"}
	daemon := one("report.service generic-unit", "nginx.service nginx")
	const (
		scripts = "root\nsysv\nscript nginx 0\nprocesses\nx /proc/1/ns/pid -> a\n"
		runs    = "x /proc/7/ns/pid -> a\nx /proc/7/exe -> /opt/report/bin/report\n"
		none    = "root\nsystemd\nunit\nId=nginx.service\nNames=nginx.service\nLoadState=loaded\nActiveState=active\nprocesses\n"
	)
	for _, tt := range []struct {
		name, said string
		plan       handoff.Plan
		note, want string // in the notes, and in the error
	}{
		{"a job", scripts, plan, "nothing to stop of report.service", ""},
		{"a job that runs", scripts + runs, plan, "", "report.service"},
		{"a daemon", scripts, daemon, "", "report.service"},
		{"a job whose unit systemd does not know", none, plan, "", "report.service"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := For(tt.plan, profiles(t))
			if err != nil {
				t.Fatal(err)
			}
			s := Source{Actions: a, Runner: says(tt.said)}
			standing, err := s.Reach(t.Context())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want one of %q", err, tt.want)
			}
			if notes := strings.Join(standing.Notes, "\n"); (tt.note == "") != (notes == "") || !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if standing.Running != 1 {
				t.Errorf("%d services run, want 1", standing.Running)
			}
		})
	}
}

// says answers every command alike.
type says string

func (s says) Run(context.Context, []string) ([]byte, error) { return []byte(s + "\nend\n"), nil }

// TestHalfAnswer: what is cut short does not say that nothing runs.
func TestHalfAnswer(t *testing.T) {
	s := Source{Runner: cut("root\nsysv\nprocesses\n")}
	if running, err := s.Running(t.Context()); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("%v run, %v", running, err)
	}
}

type cut string

func (c cut) Run(context.Context, []string) ([]byte, error) { return []byte(c), nil }

// TestHangs: a source that does not answer keeps nobody waiting for ever.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Source{Runner: hangs{}}
		_, err := s.Reach(t.Context())
		if err == nil || !strings.Contains(err.Error(), "does the source answer") {
			t.Errorf("a question that hangs: %v", err)
		}
		err = s.run(t.Context(), changeTime, Command{What: "stop"})
		if err == nil || !strings.Contains(err.Error(), "does the source answer") {
			t.Errorf("a command that hangs: %v", err)
		}
	})
}

type hangs struct{}

func (hangs) Run(ctx context.Context, _ []string) ([]byte, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestOnSource runs commands behind prefixes that pass arguments on in both ways
// that there are.
func TestOnSource(t *testing.T) {
	// As ssh(1): the words are joined and given to a shell.
	joins := `sh -c 'eval "$*"' joins`
	for _, prefix := range []string{"", "env A=b", joins} {
		r, err := OnSource(prefix)
		if err != nil {
			t.Fatal(err)
		}
		nasty := "it's $HOME `x` \"\\ \n end"
		out, err := r.Run(t.Context(), []string{"printf", "%s", nasty})
		if err != nil || string(out) != nasty {
			t.Errorf("%q: %q, %v", prefix, out, err)
		}
		out, err = r.Run(t.Context(), []string{"sh", "-c", "cat; echo out; echo err >&2; exit 255"})
		exit := (*ExitError)(nil)
		if !errors.As(err, &exit) || exit.Status != 255 || string(out) != "out\nerr\n" {
			t.Errorf("%q: %q, %v", prefix, out, err)
		}
		// A service keeps what it inherited.
		began := time.Now()
		if _, err = r.Run(t.Context(), []string{"sh", "-c", "sleep 20 & echo $!"}); err != nil || time.Since(began) > 15*time.Second {
			t.Errorf("%q: a service keeps the command: %v after %s", prefix, err, time.Since(began))
		}
	}
	for _, prefix := range []string{"false", "sh -c 'exit 0'", "sh -c 'exit 255'", "/nonexistent", "kill -9 $$"} {
		r, err := OnSource(prefix)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Run(t.Context(), []string{"true"})
		if exit := (*ExitError)(nil); err == nil || errors.As(err, &exit) {
			t.Errorf("a prefix that runs nothing (%q) gives %v", prefix, err)
		}
	}
	for _, prefix := range []string{"ssh 'x", "a | b", "a; b"} {
		if _, err := OnSource(prefix); err == nil {
			t.Errorf("%q is a prefix", prefix)
		}
	}
	r, _ := OnSource("")
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err := r.Run(ctx, []string{"sleep", "30"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that is interrupted gives %v", err)
	}
}

// TestServiceIn: a process is its own systemd's, not a container's or a user's.
func TestServiceIn(t *testing.T) {
	for cgroup, want := range map[string]string{
		"0::/system.slice/nginx.service": "nginx.service",
		"1:name=systemd:/system.slice/system-postgresql.slice/postgresql@15-main.service": "postgresql@15-main.service",
		"0::/system.slice/docker.service/sub":                                             "docker.service",
		"0::/system.slice/docker-1f.scope/system.slice/nginx.service":                     "",
		"0::/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service": "systemd-nspawn@web.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service":        "user@1000.service",
		"0::/": "", "9:name=systemd:/init.scope": "", "": "",
	} {
		if got := serviceIn(cgroup); got != want {
			t.Errorf("%s is %q, want %q", cgroup, got, want)
		}
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("it's", "$x\n")
	f.Add("", "-n")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsRune(a+b, 0) {
			return // no argument has it
		}
		out, err := exec.Command("sh", "-c", "printf '%s\\0' "+Quote([]string{a, b})).Output()
		if want := a + "\x00" + b + "\x00"; err != nil || string(out) != want {
			t.Errorf("sh reads %q, %v; want %q", out, err, want)
		}
	})
}

func FuzzSurvey(f *testing.F) {
	f.Add([]byte("root\nmark nginx.service\nsystemd\nunit\nId=nginx.service\nNames=nginx.service www.service\nLoadState=loaded\nActiveState=active\nTriggeredBy=nginx.socket\nSubState=running\nType=forking\nResult=success\nSourcePath=/etc/init.d/nginx\nDropInPaths=/etc/systemd/system/nginx.service.d/statelift-fence.conf\nRequiredBy=a.service nginx.service\nunit\nId=a.service\nActiveState=active\nBoundBy=nginx.service a.service\nunit\nfenced nginx.service\nprocesses\nlrwxrwxrwx 1 root root 0 Nov 22 19:00 /proc/9/ns/pid -> 'pid:[4026531836]'\n/proc/9/cgroup:0::/system.slice/nginx.service\n"))
	f.Add([]byte("sysv\nscript cron 0\nscript old mute-on\nprocesses\nx /proc/1/ns/pid -> a\nx /proc/1/ns/pid -> a\nx /proc/1/exe -> /usr/sbin/cron (deleted)\n"))
	a := Actions{Services: []Service{{Unit: "nginx.service", Scripts: []string{"cron"}, Programs: []string{"/usr/sbin/*"}}}}
	f.Fuzz(func(t *testing.T, out []byte) {
		s, err := parseSurvey(out)
		if err != nil {
			return
		}
		targets, _ := a.targets(s)
		if len(targets) > 1 {
			t.Errorf("%d targets of one service", len(targets))
		}
		s.busy(targets)
		s.marking(target{})
		for _, t := range targets {
			s.marking(t)
			s.ended(t)
		}
		s.fences(targets)
		a.notes(s)
	})
}
