package systemd_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
	"github.com/statelift/statelift/stages/scan/systemd"
)

func collected(t *testing.T, root string) (units map[string]facts.Unit, problems []facts.Problem) {
	t.Helper()
	r, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	units = map[string]facts.Unit{}
	err = systemd.Collector{}.Collect(context.Background(), r, []hostpath.Path{"/usr/lib/systemd/system"}, func(f collect.Found) error {
		switch d := f.Data.(type) {
		case facts.Unit:
			if f.Kind != facts.KindUnit || f.Name != d.Name || f.Source.Path != d.Path {
				t.Errorf("envelope of %s: %+v", d.Name, f)
			}
			if _, ok := units[d.Name]; ok {
				t.Errorf("%s came twice", d.Name)
			}
			units[d.Name] = d
		case facts.Problem:
			problems = append(problems, d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return units, problems
}

// line is a unit in short.
func line(u facts.Unit) string {
	s := fmt.Sprintf("%s path=%s", u.Name, u.Path)
	for _, f := range []struct {
		on   bool
		word string
	}{{u.Enabled, "enabled"}, {u.Masked, "masked"}, {u.Static, "static"}} {
		if f.on {
			s += " " + f.word
		}
	}
	if len(u.WantedBy) > 0 {
		s += " by=" + strings.Join(u.WantedBy, ",")
	}
	if len(u.Aliases) > 0 {
		s += " alias=" + strings.Join(u.Aliases, ",")
	}
	if u.Instance != "" {
		s += " instance=" + u.Instance
	}
	for _, d := range u.Directives {
		if d.Section == "Service" {
			s += fmt.Sprintf(" %s=%s@%s:%d", d.Key, d.Value, d.Path.Base(), d.Line)
		}
	}
	return s
}

const service = "[Service]\nExecStart=/nonexistent/%s\n[Install]\nWantedBy=multi-user.target\n"

func unitText(exec string) string { return fmt.Sprintf(service, exec) }

func TestCollect(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"precedence and drop-ins", map[string]string{
			"usr/lib/systemd/system/a.service":                     unitText("vendor"),
			"usr/local/lib/systemd/system/a.service":               unitText("local"),
			"usr/lib/systemd/system/a.service.d/10.conf":           "[Service]\nUser=vendor\n",
			"usr/lib/systemd/system/a.service.d/20.conf":           "[Service]\nGroup=vendor\n",
			"etc/systemd/system/a.service.d/20.conf":               "[Service]\nGroup=admin\n",
			"etc/systemd/system/a.service.d/30.conf":               "[Service]\nExecStart=\nExecStart=/nonexistent/b\n",
			"etc/systemd/system/a.service.d/10.conf":               "-> /dev/null",
			"etc/systemd/system/a.service.d/README":                "[Service]\nUser=no\n",
			"etc/systemd/system/service.d/05.conf":                 "[Service]\nNice=5\n",
			"etc/systemd/system/service.d/20.conf":                 "[Service]\nGroup=weakest\n",
			"usr/lib/systemd/system/b.service":                     unitText("b"),
			"etc/systemd/system/b.service":                         "-> /usr/lib/systemd/system/b.service",
			"etc/systemd/system/multi-user.target.wants/a.service": "-> ../a.service",
		}, []string{
			"a.service path=/usr/local/lib/systemd/system/a.service enabled by=multi-user.target Nice=5@05.conf:2 Group=admin@20.conf:2 ExecStart=/nonexistent/b@30.conf:3",
			"b.service path=/usr/lib/systemd/system/b.service ExecStart=/nonexistent/b@b.service:2 Nice=5@05.conf:2 Group=weakest@20.conf:2",
		}},
		{"dashed prefixes", map[string]string{
			"etc/systemd/system/x-y-z.service":         unitText("x"),
			"etc/systemd/system/x-.service.d/a.conf":   "[Service]\nUser=x\n",
			"etc/systemd/system/x-y-.service.d/a.conf": "[Service]\nUser=xy\n",
			"etc/systemd/system/x-.service.d/b.conf":   "[Service]\nGroup=x\n",
			"etc/systemd/system/x-y.service.d/b.conf":  "[Service]\nGroup=other\n",
		}, []string{"x-y-z.service path=/etc/systemd/system/x-y-z.service ExecStart=/nonexistent/x@x-y-z.service:2 User=xy@a.conf:2 Group=x@b.conf:2"}},
		{"templates", map[string]string{
			"usr/lib/systemd/system/g@.service":                        unitText("%i"),
			"etc/systemd/system/g@.service.d/a.conf":                   "[Service]\nUser=all\n",
			"etc/systemd/system/g@two.service.d/b.conf":                "[Service]\nGroup=two\n",
			"etc/systemd/system/multi-user.target.wants/g@one.service": "-> /usr/lib/systemd/system/g@.service",
			"etc/systemd/system/multi-user.target.wants/g@two.service": "-> /usr/lib/systemd/system/g@.service",
			"etc/systemd/system/multi-user.target.wants/g@.service":    "-> /usr/lib/systemd/system/g@.service",
			"etc/systemd/system/g@three.service":                       "-> /usr/lib/systemd/system/g@.service",
		}, []string{
			"g@.service path=/usr/lib/systemd/system/g@.service ExecStart=/nonexistent/%i@g@.service:2 User=all@a.conf:2",
			"g@one.service path=/usr/lib/systemd/system/g@.service enabled by=multi-user.target instance=one ExecStart=/nonexistent/%i@g@.service:2 User=all@a.conf:2",
			"g@three.service path=/usr/lib/systemd/system/g@.service instance=three ExecStart=/nonexistent/%i@g@.service:2 User=all@a.conf:2",
			"g@two.service path=/usr/lib/systemd/system/g@.service enabled by=multi-user.target instance=two ExecStart=/nonexistent/%i@g@.service:2 User=all@a.conf:2 Group=two@b.conf:2",
		}},
		{"aliases, masks, linked", map[string]string{
			"usr/lib/systemd/system/ssh.service":                        "[Service]\nExecStart=/nonexistent/sshd\n[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n",
			"etc/systemd/system/sshd.service":                           "-> /usr/lib/systemd/system/ssh.service",
			"etc/systemd/system/sshd.service.d/a.conf":                  "[Service]\nUser=by-alias\n",
			"usr/lib/systemd/system/dm.service":                         unitText("dm"),
			"etc/systemd/system/dm2.service":                            "-> dm.service",
			"etc/systemd/system/multi-user.target.wants/dm2.service":    "-> ../dm2.service",
			"usr/lib/systemd/system/m1.service":                         unitText("m"),
			"etc/systemd/system/m1.service":                             "-> /dev/null",
			"usr/lib/systemd/system/m2.service":                         unitText("m"),
			"etc/systemd/system/m2.service":                             "",
			"etc/systemd/system/linked.service":                         "-> /opt/x/linked.service",
			"opt/x/linked.service":                                      "[Service]\nExecStart=/nonexistent/l\n",
			"etc/systemd/system/dangling.service":                       "-> /opt/x/no.service",
			"etc/systemd/system/loop1.service":                          "-> loop2.service",
			"etc/systemd/system/loop2.service":                          "-> loop1.service",
			"usr/lib/systemd/system/multi-user.target.wants/m3.service": "-> ../m3.service",
			"etc/systemd/system/multi-user.target.wants/m3.service":     "-> /dev/null",
			"usr/lib/systemd/system/m3.service":                         "[Service]\nExecStart=/nonexistent/m3\n",
			"usr/lib/systemd/system/x.slice":                            "[Slice]\n",
		}, []string{
			"dm.service path=/usr/lib/systemd/system/dm.service enabled by=multi-user.target alias=dm2.service ExecStart=/nonexistent/dm@dm.service:2",
			"linked.service path=/opt/x/linked.service static ExecStart=/nonexistent/l@linked.service:2",
			"m1.service path=/etc/systemd/system/m1.service masked",
			"m2.service path=/etc/systemd/system/m2.service masked",
			"m3.service path=/usr/lib/systemd/system/m3.service static ExecStart=/nonexistent/m3@m3.service:2",
			"ssh.service path=/usr/lib/systemd/system/ssh.service enabled alias=sshd.service ExecStart=/nonexistent/sshd@ssh.service:2 User=by-alias@a.conf:2",
		}},
		{"split usr", map[string]string{"lib/systemd/system/a.service": unitText("a")},
			[]string{"a.service path=/lib/systemd/system/a.service ExecStart=/nonexistent/a@a.service:2"}},
		{"merged usr", map[string]string{"usr/lib/systemd/system/a.service": unitText("a"), "lib": "-> usr/lib",
			"etc/systemd/system/b.service": "-> /lib/systemd/system/a.service"},
			[]string{"a.service path=/usr/lib/systemd/system/a.service alias=b.service ExecStart=/nonexistent/a@a.service:2"}},
		{"credentials", map[string]string{"etc/systemd/system/a.service": "[Service]\nEnvironment=\"DB_PASSWORD=a b\" LANG=C TOKEN=k9J2x8Qa01\nExecStart=/bin/x --password=hunter2 --user u\nSetCredential=id:geheim\nPassEnvironment=DB_PASSWORD\n"},
			[]string{"a.service path=/etc/systemd/system/a.service static Environment=DB_PASSWORD=[redacted] LANG=C TOKEN=[redacted]@a.service:2 ExecStart=/bin/x --password=[redacted] --user u@a.service:3 SetCredential=id:[redacted]@a.service:4 PassEnvironment=DB_PASSWORD@a.service:5"}},
		{"generated clusters", map[string]string{
			"usr/lib/systemd/system/postgresql@.service": unitText("pg"), "usr/lib/systemd/system/postgresql.service": unitText("all"),
			"etc/postgresql/15/main/postgresql.conf": "", "etc/postgresql/15/main/start.conf": "# how\nauto # yes\n",
			"etc/postgresql/15/old/postgresql.conf": "", "etc/postgresql/15/old/start.conf": "manual\n",
		}, []string{
			"postgresql.service path=/usr/lib/systemd/system/postgresql.service ExecStart=/nonexistent/all@postgresql.service:2",
			"postgresql@.service path=/usr/lib/systemd/system/postgresql@.service ExecStart=/nonexistent/pg@postgresql@.service:2",
			"postgresql@15-main.service path=/usr/lib/systemd/system/postgresql@.service enabled by=postgresql.service instance=15-main ExecStart=/nonexistent/pg@postgresql@.service:2",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			units, problems := collected(t, collecttest.Plant(t, tt.files))
			var got []string
			for _, u := range units {
				got = append(got, line(u))
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if len(problems) > 0 {
				t.Errorf("problems: %v", problems)
			}
		})
	}
}

func TestBrokenUnits(t *testing.T) {
	root := collecttest.Plant(t, map[string]string{
		"etc/systemd/system/a.service":        "nonsense\n[Service]\nExecStart=/bin/a\n",
		"etc/systemd/system/big.service":      strings.Repeat("#\n", 1<<20),
		"etc/systemd/system/dir.service/":     "",
		"etc/systemd/system/c.service.d":      "a file",
		"etc/systemd/system/c.service":        "[Service]\nExecStart=/bin/c\n",
		"etc/systemd/system/x.target.wants":   "a file",
		"etc/systemd/system/\xff\xfe.service": "[Service]\n",
	})
	units, problems := collected(t, root)
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%s %s:%d %s", p.Collector, p.Path, p.Line, p.What))
	}
	slices.Sort(got)
	want := []string{
		"systemd /etc/systemd/system/a.service:1 assignment outside of a section",
		"systemd /etc/systemd/system/big.service:0 read /etc/systemd/system/big.service: over 1048576 bytes: file is larger than expected",
		"systemd /etc/systemd/system/x.target.wants:0 read: not a directory",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, name := range []string{"a.service", "c.service"} {
		if u := units[name]; len(u.Values("Service", "ExecStart")) != 1 {
			t.Errorf("%s was lost", name)
		}
	}
}

// TestStatesAgainstSystemctl compares with what systemctl itself says of a
// root: this machine's, a planted one, and the WordPress host's.
func TestStatesAgainstSystemctl(t *testing.T) {
	planted := collecttest.Plant(t, map[string]string{
		"usr/lib/systemd/system/en.service":                      unitText("a"),
		"etc/systemd/system/multi-user.target.wants/en.service":  "-> /usr/lib/systemd/system/en.service",
		"usr/lib/systemd/system/dis.service":                     unitText("a"),
		"usr/lib/systemd/system/st.service":                      "[Service]\nExecStart=/bin/true\n",
		"usr/lib/systemd/system/mask.service":                    unitText("a"),
		"etc/systemd/system/mask.service":                        "-> /dev/null",
		"usr/lib/systemd/system/t@.service":                      unitText("a"),
		"etc/systemd/system/multi-user.target.wants/t@x.service": "-> /usr/lib/systemd/system/t@.service",
		"usr/lib/systemd/system/al.service":                      "[Service]\nExecStart=/bin/true\n[Install]\nAlias=other.service\n",
		"etc/systemd/system/other.service":                       "-> /usr/lib/systemd/system/al.service",
		"usr/lib/systemd/system/plain.service":                   unitText("a"),
		"usr/lib/systemd/system/nick.service":                    "-> plain.service",
	})
	for _, root := range []string{"/", planted, filepath.Join(hosts.WordPress(t), "root")} {
		out, err := exec.Command("systemctl", "--root="+root, "list-unit-files", "--no-legend", "--no-pager").Output()
		if err != nil {
			t.Fatal(err)
		}
		units, _ := collected(t, root)
		seen := 0
		for l := range strings.Lines(string(out)) {
			f := strings.Fields(l)
			if len(f) < 2 {
				continue
			}
			name, state := f[0], f[1]
			switch filepath.Ext(name) {
			case ".slice", ".scope", ".device":
				continue
			}
			u, ok := units[name]
			if state == "alias" {
				if ok {
					t.Errorf("%s: alias %s is a unit of its own", root, name)
				}
				continue
			}
			if !ok {
				t.Errorf("%s: %s (%s) is missing", root, name, state)
				continue
			}
			seen++
			if got := u.Masked; got != strings.HasPrefix(state, "masked") {
				t.Errorf("%s: %s: masked=%v, systemctl says %s", root, name, got, state)
			}
			if got := u.Static && !u.Masked; got != (state == "static") && state != "generated" && !strings.HasPrefix(state, "linked") {
				t.Errorf("%s: %s: static=%v, systemctl says %s", root, name, got, state)
			}
			// systemctl calls a template enabled when an instance is.
			if state == "enabled" && !u.Enabled && !strings.Contains(name, "@.") || state == "disabled" && u.Enabled {
				t.Errorf("%s: %s: enabled=%v, systemctl says %s", root, name, u.Enabled, state)
			}
		}
		if seen < 6 {
			t.Errorf("%s: only %d units compared", root, seen)
		}
	}
}

// TestLoadingAgainstSystemd lets systemd-analyze load units with drop-ins: it
// names the program of the ExecStart= that counts, since there is none.
func TestLoadingAgainstSystemd(t *testing.T) {
	reset := func(x string) string { return "[Service]\nExecStart=\nExecStart=/nonexistent/" + x + "\n" }
	files := map[string]string{
		"usr/lib/systemd/system/sysinit.target": "[Unit]\nDescription=x\n", "usr/lib/systemd/system/basic.target": "[Unit]\nDescription=x\n",
		"usr/lib/systemd/system/shutdown.target": "[Unit]\nDescription=x\n",
		"usr/lib/systemd/system/a.service":       unitText("vendor"), "etc/systemd/system/a.service.d/z.conf": reset("a-z"), "usr/lib/systemd/system/a.service.d/zz.conf": reset("a-zz"),
		"usr/lib/systemd/system/b.service": unitText("vendor"), "etc/systemd/system/b.service.d/z.conf": reset("b-etc"), "usr/lib/systemd/system/b.service.d/z.conf": reset("b-usr"),
		"usr/lib/systemd/system/c-d-e.service": unitText("vendor"), "etc/systemd/system/c-.service.d/z.conf": reset("c"), "usr/lib/systemd/system/c-d-.service.d/z.conf": reset("c-d"),
		"usr/lib/systemd/system/f.service": unitText("vendor"), "usr/lib/systemd/system/f.service.d/z.conf": reset("f"), "etc/systemd/system/service.d/z.conf": reset("type"),
		"usr/lib/systemd/system/g.service":  unitText("vendor"),
		"usr/lib/systemd/system/h@.service": unitText("vendor"), "etc/systemd/system/h@.service.d/z.conf": reset("template"), "usr/lib/systemd/system/h@i.service.d/z.conf": reset("instance"),
		"usr/lib/systemd/system/i.service": unitText("vendor"), "etc/systemd/system/j.service": "-> /usr/lib/systemd/system/i.service", "etc/systemd/system/j.service.d/z.conf": reset("alias"),
		"usr/lib/systemd/system/k.service": unitText("vendor"), "usr/lib/systemd/system/k.service.d/z.conf": reset("k-usr"), "etc/systemd/system/k.service.d/z.conf": "-> /dev/null",
		"usr/lib/systemd/system/l.service": "[Service]\n ExecStart = \\\n# comment\n   /nonexistent/continued\\\n -x\n", "etc/systemd/system/l.service.d/z.conf": "-> /dev/null",
		"usr/lib/systemd/system/m--.service": unitText("vendor"), "etc/systemd/system/m-.service.d/z.conf": reset("m"),
	}
	root := collecttest.Plant(t, files)
	units, _ := collected(t, root)
	for _, name := range []string{"a", "b", "c-d-e", "f", "g", "h@i", "i", "k", "l", "m--"} {
		name += ".service"
		out, _ := exec.Command("systemd-analyze", "--root="+root, "--man=no", "--recursive-errors=no", "verify", name).CombinedOutput()
		_, rest, ok := strings.Cut(string(out), "Command /nonexistent/")
		if !ok {
			t.Errorf("%s: systemd-analyze says %s", name, out)
			continue
		}
		want, _, _ := strings.Cut(rest, " ")
		u, ok := units[name]
		if !ok { // an instance that nothing asks for is no unit of the host
			if name != "h@i.service" {
				t.Errorf("%s is missing", name)
			}
			continue
		}
		got := u.Values("Service", "ExecStart")
		if len(got) != 1 || strings.Fields(got[0].Value)[0] != "/nonexistent/"+want {
			t.Errorf("%s: ExecStart %v, systemd has %s", name, got, want)
		}
	}
}

func TestWants(t *testing.T) {
	for p, want := range map[hostpath.Path]bool{
		"/etc/systemd/system/a.service": true, "/usr/lib/systemd/system/a.service.d/x.conf": true, "/etc/systemd/journald.conf": false,
		"/usr/lib/systemd/user/a.service": false, "/home/x/systemd/system/a": false, "/etc/systemd/systems/a": false,
	} {
		if got := (systemd.Collector{}).Wants(p, "f"); got != want {
			t.Errorf("Wants(%s) = %v", p, got)
		}
	}
}
