package profile

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

func fsOf(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func TestLoad(t *testing.T) {
	got, err := Load(fsOf(map[string]string{
		"b.yaml":    "name: b\ntitle: B\nrecognise: {}\nrun: {uses: [a]}\n",
		"a.yaml":    "name: a\ntitle: A\nrecognise: {units: [a, \"a@*\"]}\npaths:\n- path: /var/lib/a\n  class: volume\n  reason: data\n",
		"notes.txt": "no profile",
		"x/c.yaml":  "nor this",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := []Profile{
		{Name: "a", Title: "A", File: "a.yaml", Line: 1, Recognise: Recognise{Units: []string{"a", "a@*"}},
			Paths: []Path{{Path: "/var/lib/a", Class: claim.Volume, Reason: "data", Line: 5}}},
		{Name: "b", Title: "B", File: "b.yaml", Line: 1, Run: Run{Uses: []string{"a"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadFaults(t *testing.T) {
	const head = "name: a\ntitle: A\nrecognise: {}\n"
	for text, want := range map[string]string{
		"name: a\ntitle: A\nrekognise: {}\n":          `a.yaml:3: unknown key "rekognise"`,
		"name: b\ntitle: A\n":                         `a.yaml:1: name is "b" in a file of another name`,
		"name: a\n":                                   "a.yaml:1: title is missing",
		head + "paths:\n- {class: drop, reason: x}\n": "a.yaml:5: exactly one of path and setting",
		head + "paths:\n- {path: /a, setting: b, class: drop, reason: x}\n":               "a.yaml:5: exactly one of path and setting",
		head + "paths:\n- {path: /a, reason: x}\n":                                        "a.yaml:5: class is missing",
		head + "paths:\n- {path: /a, class: drop}\n":                                      "a.yaml:5: reason is missing",
		head + "paths:\n- {path: a, class: drop, reason: x}\n":                            `a.yaml:5: "a" is no clean absolute path`,
		head + "paths:\n- {path: /a/../b, class: drop, reason: x}\n":                      `a.yaml:5: "/a/../b" is no clean absolute path`,
		head + "paths:\n- {path: /a, class: bin, reason: x}\n":                            `a.yaml:5: unknown class "bin"`,
		head + "paths:\n- {path: /a, class: drop, reason: x, reach: far}\n":               `a.yaml:5: unknown reach "far"`,
		head + "paths:\n- {path: /a, class: drop, reason: x, when: size=3}\n":             `a.yaml:5: condition "size=3": unknown key`,
		head + "paths:\n- {path: /a, class: drop, reason: x, confidence: sure}\n":         `a.yaml:5: unknown confidence "sure"`,
		head + "paths:\n- {path: /a, class: drop, reason: x, default: /b}\n":              "a.yaml:5: default is for a setting",
		head + "paths:\n- {path: /a, class: drop, reason: x, code: true}\n":               "a.yaml:5: code trees are image or volume",
		head + "settings:\n- {format: toml, files: [/a]}\n":                               `a.yaml:1: unknown format "toml"`,
		head + "run: {uses: [zzz]}\n":                                                     `a.yaml:1: there is no profile "zzz"`,
		head + "run: {logs: syslog}\n":                                                    `a.yaml:1: run.logs is "syslog"`,
		head + "run: {logLinks: {/var/log/x: /dev/null}}\n":                               `a.yaml:1: run.logLinks: /var/log/x leads to "/dev/null"`,
		head + "run: {capabilities: [CAP_CHOWN]}\n":                                       `a.yaml:1: run.capabilities: "CAP_CHOWN"`,
		head + "run: {sharedMemory: 512}\n":                                               `a.yaml:1: run.sharedMemory is 512 bytes`,
		head + "run: {stopSignal: TERM}\n":                                                `a.yaml:1: run.stopSignal is "TERM"`,
		head + "run: {ports: [{name: much-too-long-a-name, number: 1, protocol: TCP}]}\n": "a.yaml:1: run.ports",
		head + "run: {runtime: [{path: /run/a, mode: \"0999\"}]}\n":                       `a.yaml:1: run.runtime: mode "0999" is not octal`,
		head + "data: {writers: two}\n":                                                   `a.yaml:1: data.writers is "two"`,
		head + "data: {school: elsewhere}\n":                                              `a.yaml:1: unknown data.school "elsewhere"`,
		head + "config: [\"/etc/[\"]\n":                                                   "a.yaml:1: pattern /etc/[",
	} {
		_, err := Load(fsOf(map[string]string{"a.yaml": text}))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestLoadRules(t *testing.T) {
	got, err := LoadRules(fsOf(map[string]string{"host.yaml": `authority: host
when: type=f
paths:
- {name: one, paths: [/a], class: drop, reason: x}
- {name: two, paths: [/b], class: image, reason: x, authority: default, when: type=d}
units:
- {name: ssh, units: ["ssh*.service"], reason: login}
- {name: upkeep, jobs: [dpkg], reason: upkeep}
`}))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Paths) != 2 || got.Paths[0].By() != "rule host/one" || got.Paths[0].Level() != claim.ByHost || got.Paths[0].When != "type=f" ||
		got.Paths[1].Level() != claim.ByDefault || got.Paths[1].When != "type=d" {
		t.Errorf("%+v", got.Paths)
	}
	if r, ok := got.LeftOut("ssh@1.service"); !ok || r.By() != "rule host/ssh" {
		t.Errorf("%+v", r)
	}
	if _, ok := got.LeftOut("app.service"); ok {
		t.Error("app.service is left out")
	}
	if r, ok := got.LeftOutJob("dpkg"); !ok || r.By() != "rule host/upkeep" {
		t.Errorf("%+v", r)
	}
	if _, ok := got.LeftOut("dpkg"); ok {
		t.Error("the rule of a job leaves a unit out")
	}
	for text, want := range map[string]string{
		"paths:\n- {name: a, paths: [/a], class: drop, reason: x}\n":                                                                    `x.yaml:2: authority is ""`,
		"authority: host\npaths:\n- {name: a, paths: [/a], class: drop}\n":                                                              "x.yaml:3: reason is missing",
		"authority: host\npaths:\n- {paths: [/a], class: drop, reason: x}\n":                                                            "x.yaml:3: name is missing",
		"authority: host\npaths:\n- {name: a, class: drop, reason: x}\n":                                                                "x.yaml:3: class and paths are wanted",
		"authority: host\npaths:\n- {name: a, paths: [/a], class: drop, reason: x}\n- {name: a, paths: [/a], class: drop, reason: x}\n": `x.yaml:4: a second rule "a"`,
		"units:\n- {name: a, reason: x}\n":                                                                                              "x.yaml:2: units or jobs are wanted",
		"units:\n- {name: a, jobs: [\"[\"], reason: x}\n":                                                                               "x.yaml:2: syntax error in pattern",
		"units:\n- {name: a, units: [\"[\"], reason: x}\n":                                                                              "x.yaml:2: syntax error in pattern",
	} {
		if _, err := LoadRules(fsOf(map[string]string{"x.yaml": text})); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	profiles := []Profile{
		{Name: "any-db", Recognise: Recognise{Units: []string{"*db"}}},
		{Name: "mariadb", Recognise: Recognise{Units: []string{"mariadb", "mariadb@*"}, Packages: []string{"mariadb-client"}}},
		{Name: "fpm", Recognise: Recognise{Units: []string{"php*-fpm"}}},
		{Name: "prog", Recognise: Recognise{Programs: []string{"/usr/bin/serv?"}}},
		{Name: "files", Recognise: Recognise{Files: []string{"/etc/files/*.php"}, Programs: []string{"/usr/share/files/**"}}, Run: Run{PartOf: []string{"fpm"}}},
		{Name: "library", Recognise: Recognise{Packages: []string{"lib*"}}},
	}
	exec := func(name, value string) facts.Unit {
		return facts.Unit{Name: name, Type: "service", Directives: []facts.Directive{{Section: "Service", Key: "ExecStart", Value: value}}}
	}
	got := Find(profiles, Runnable{
		Units: []facts.Unit{
			exec("mariadb.service", "/usr/sbin/mariadbd"), exec("mariadb@two.service", "x"), exec("mariadb@.service", "x"), exec("yourdb.service", "x"),
			exec("php8.2-fpm.service", "x"), exec("mine.service", "-/usr/bin/servd --x"), exec("other.service", "/bin/x"), exec("job.service", "/usr/share/files/cron.php"),
			{Name: "mariadb.timer", Type: "timer"},
		},
		Scripts:  []facts.Script{{Name: "old", Daemon: "/usr/bin/serve"}},
		Packages: []facts.Package{{Name: "mariadb-client"}, {Name: "libx"}},
		Files: func(glob string) []hostpath.Path {
			if glob == "/etc/files/*.php" {
				return []hostpath.Path{"/etc/files/a.php"}
			}
			return nil
		},
	})
	var list []string
	for _, m := range got {
		list = append(list, m.Profile.Name+" "+m.Unit)
	}
	want := []string{"files ", "library ", "mariadb mariadb.service", "mariadb mariadb@two.service", "prog mine.service", "prog old.service", "fpm php8.2-fpm.service", "any-db yourdb.service"}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
}

func TestMatchKey(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"DocumentRoot", "VirtualHost.DocumentRoot", true},
		{"DocumentRoot", "documentroot", true},
		{"*.datadir", "mysqld.datadir", true},
		{"*.log-bin", "mysqld.log_bin", true},
		{"log-bin", "mysqld.log_bin", true},
		{"datadir", "mysqld.xdatadir", false},
		{"root", "server.location./img/.root", true},
		{"*.listen", "www.listen", true},
		{"*.listen", "www.listen.owner", false},
		{"session.save_path", "PHP.session.save_path", false},
		{"*session.save_path", "PHP.session.save_path", true},
	} {
		if got := MatchKey(c.pattern, c.key); got != c.want {
			t.Errorf("MatchKey(%q, %q) = %v", c.pattern, c.key, got)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("name: a\ntitle: A\nrecognise: {units: [a]}\npaths:\n- {path: /a, class: volume, reason: x}\nrun: {ports: [{name: x, number: 1, protocol: TCP}]}\n"))
	f.Add([]byte("authority: host\npaths:\n- {name: a, paths: [/a], class: drop, reason: x, when: \"type=f state!=same\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := fstest.MapFS{"a.yaml": &fstest.MapFile{Data: data}}
		if list, err := Load(fsys); err == nil {
			for _, p := range list {
				for _, c := range p.Paths {
					if err := c.validate(); err != nil {
						t.Error(err)
					}
				}
			}
		}
		if rules, err := LoadRules(fsys); err == nil {
			for _, r := range rules.Paths {
				if r.Level() == 0 {
					t.Errorf("rule %s has no authority", r.Name)
				}
			}
		}
	})
}
