package decisions

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/claim"
)

const whole = `name: blog
namespace: web
accept:
- path: /home/x
  reason: stale
paths:
- path: /srv/archive
  class: object
  reason: nobody reads it
- path: '/srv/caf\xe9*'
  class: drop
- path: '/srv/a*b'
  reach: exact
  class: image
rules: {off: [host/tmp]}
profiles:
  off: [redis]
  use: {app.service: generic-unit}
units:
- unit: rsyslog.service
  keep: true
workloads:
- name: blog
  units: [apache2.service]
  replicas: 0
volumes:
- path: /var/lib/mysql
  size: 20Gi
answers: {logs: keep}
images: {tag: v1.2, labels: {vendor: Example}}
host: {addresses: [192.0.2.10]}
smoke:
- name: front
  http: {workload: blog, path: /, host: blog.example.org, contains: Welcome}
- exec: {workload: blog, command: [id, -u], contains: "33"}
  seconds: 5
`

func TestParse(t *testing.T) {
	got, err := Parse("statelift.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	none := int32(0)
	want := Decisions{
		File: "statelift.yaml", Name: "blog", Namespace: "web",
		Accept: []Accept{{Path: "/home/x", Reason: "stale", Line: 4}},
		Paths: []Path{
			{Path: "/srv/archive", Class: claim.Object, Reason: "nobody reads it", Line: 7},
			{Path: "/srv/caf\xe9*", Class: claim.Drop, Line: 10},
			{Path: "/srv/a*b", Class: claim.Image, Reach: claim.Exact, Line: 12},
		},
		Rules:     Rules{Off: []string{"host/tmp"}, Line: 15},
		Profiles:  Profiles{Off: []string{"redis"}, Use: map[string]string{"app.service": "generic-unit"}, Line: 17},
		Units:     []Unit{{Unit: "rsyslog.service", Keep: true, Line: 20}},
		Workloads: []Workload{{Name: "blog", Units: []string{"apache2.service"}, Replicas: &none, Line: 23}},
		Volumes:   []Volume{{Path: "/var/lib/mysql", Size: 20 << 30, Line: 27}},
		Answers:   map[string]string{"logs": "keep"},
		Images:    Images{Tag: "v1.2", Labels: map[string]string{"vendor": "Example"}, Line: 30},
		Host:      Host{Addresses: []string{"192.0.2.10"}, Line: 31},
		Smoke: []Smoke{
			{Name: "front", HTTP: SmokeHTTP{Workload: "blog", Path: "/", Host: "blog.example.org", Contains: "Welcome"}, Line: 33},
			{Exec: SmokeExec{Workload: "blog", Command: []string{"id", "-u"}, Contains: "33"}, Seconds: 5, Line: 35},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var reaches []claim.Reach
	for _, p := range got.Paths {
		reaches = append(reaches, p.Reaches())
	}
	if diff := cmp.Diff([]claim.Reach{claim.Tree, claim.Glob, claim.Exact}, reaches); diff != "" {
		t.Error(diff)
	}
	if at := got.At(got.Paths[0].Line); at != "statelift.yaml:7" {
		t.Error(at)
	}
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"unknown key":       {"paths:\n- path: /a\n  klass: drop\n", `f:3: unknown key "klass"`},
		"unknown class":     {"paths:\n- path: /a\n  class: trash\n", `f:3: unknown class "trash"`},
		"contradiction":     {"paths:\n- {path: /a, class: drop}\n- {path: /a/, class: image}\n", "f:3: /a is image here and drop in line 2"},
		"twice":             {"paths:\n- {path: /a, class: drop}\n- {path: /a, class: drop}\n", "f:3: /a is given twice, first in line 2"},
		"unreadable":        {"paths:\n- {path: /a, class: unreadable}\n", "f:2: /a: what can be read is not unreadable"},
		"everything":        {"paths:\n- {path: /, class: image}\n", "f:2: / with everything below it"},
		"no class":          {"paths:\n- path: /a\n", "f:2: class is missing for /a"},
		"no path":           {"paths:\n- class: drop\n", "f:2: path is missing"},
		"bad pattern":       {"paths:\n- {path: '/a[', class: drop}\n", "f:2: pattern /a["},
		"bad reach":         {"paths:\n- {path: /a, class: drop, reach: far}\n", `f:2: unknown reach "far"`},
		"unit both":         {"units:\n- {unit: a.service, keep: true, leaveOut: true}\n", "f:2: a.service: exactly one of"},
		"unit neither":      {"units:\n- {unit: a.service}\n", "f:2: a.service: exactly one of"},
		"unit twice":        {"units:\n- {unit: a, keep: true}\n- {unit: a, leaveOut: true}\n", "f:3: unit a is given twice"},
		"together, split":   {"workloads:\n- {name: a, together: true, split: true}\n", "f:2: workload a is together and split"},
		"workload name":     {"workloads:\n- {name: A_b}\n", `f:2: workload "A_b" is no DNS label`},
		"two workloads":     {"workloads:\n- {name: a, units: [x]}\n- {name: b, units: [x]}\n", "f:3: unit x is in workload b here and in a in line 2"},
		"left out and used": {"units:\n- {unit: x, leaveOut: true}\nworkloads:\n- {name: a, units: [x]}\n", "f:4: unit x is left out, and in workload a"},
		"kind":              {"workloads:\n- {name: a, kind: DaemonSet}\n", `f:2: unknown kind "DaemonSet"`},
		"size":              {"volumes:\n- {path: /a, size: 20GB}\n", `f:2: "20GB" is no size`},
		"size and headroom": {"volumes:\n- {path: /a, size: 20G, headroom: 1}\n", "f:2: size and headroom contradict"},
		"volume or not":     {"paths:\n- {path: /a, class: drop}\nvolumes:\n- {path: /a}\n", "f:4: /a is a volume here and drop in line 2"},
		"volume name twice": {"volumes:\n- {path: /a, name: x}\n- {path: /b, name: x}\n", "f:3: volume name x is given twice"},
		"registry":          {"name: x\nimages:\n  registry: registry.example/team\n", `f:3: unknown key "registry" (known: labels, tag)`},
		"tag":               {"images: {tag: 'a:b'}\n", `f:1: "a:b" is no tag of an image`},
		"label":             {"images: {labels: {io.statelift.host: x}}\n", "f:1: label io.statelift.host cannot be decided"},
		"access mode":       {"volumes:\n- {path: /a, accessMode: RWX}\n", `f:2: unknown accessMode "RWX"`},
		"accept everything": {"accept:\n- path: /\n", "f:2: accept wants a path below /"},
		"name":              {"name: My Host\n", `f:1: name "My Host" is no DNS label`},
		"smoke of nothing":  {"smoke:\n- name: x\n", "f:2: a smoke check wants exactly one of http and exec"},
		"smoke of both":     {"smoke:\n- http: {workload: a}\n  exec: {workload: a, command: [x]}\n", "f:2: a smoke check wants exactly one of http and exec"},
		"smoke, no place":   {"name: x\nsmoke:\n- http: {path: /}\n", "f:3: http wants exactly one of workload and service"},
		"smoke, no port":    {"smoke:\n- http: {service: a}\n", "f:2: port is missing for the Service a"},
		"smoke path":        {"smoke:\n- http: {workload: a, path: x}\n", `f:2: path "x" is none of a request`},
		"smoke host":        {"smoke:\n- http: {workload: a, host: \"a\\r\\nX: y\"}\n", `f:2: host "a\r\nX: y" is no name`},
		"smoke status":      {"smoke:\n- http: {workload: a, status: 99}\n", "f:2: status 99 is none of HTTP"},
		"smoke, no command": {"smoke:\n- exec: {workload: a}\n", "f:2: exec wants a command"},
		"smoke exit code":   {"smoke:\n- exec: {workload: a, command: [x], status: 256}\n", "f:2: status 256 is no exit code"},
		"smoke, too long":   {"smoke:\n- {http: {workload: a}, seconds: 601}\n", "f:2: a smoke check of 601 seconds"},
		"smoke, a password": {"smoke:\n- exec: {workload: a, command: [mysql, --password=Xo9wq2, x]}\n", "f:2: the command holds a credential"},
		"smoke, a typo":     {"smoke:\n- http: {workload: a, stattus: 200}\n", `f:2: unknown key "stattus"`},
		"profile off, used": {"profiles:\n  off: [a]\n  use: {x.service: a}\n", `f:2: profile "a" is off, and used for x.service`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.in))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "statelift.yaml")
	if d, err := Load(name); err != nil || d.File != "statelift.yaml" {
		t.Fatalf("without a file: %v %v", d, err)
	}
	if err := os.WriteFile(name, []byte("nome: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(name)
	var input *pipeline.InputError
	if !errors.As(err, &input) || !strings.Contains(err.Error(), "statelift.yaml:1: ") {
		t.Errorf("got %v", err)
	}
}

// Each part changes with what it depends on and with nothing else.
func TestParts(t *testing.T) {
	parts := func(text string) (string, string) {
		d, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, _ := json.Marshal(d.ForSplit())
		p, _ := json.Marshal(d.ForPlan())
		return string(s), string(p)
	}
	s0, p0 := parts(whole)
	for _, c := range []struct {
		from, to    string
		split, plan bool
	}{
		{"size: 20Gi", "size: 21Gi", false, true},
		{"class: object", "class: volume", true, false},
		{"reason: stale", "reason: gone", true, false},
		{"logs: keep", "logs: drop", false, true},
		{"keep: true", "leaveOut: true", true, true},
		{"off: [redis]", "off: [nginx]", true, true},
		{"replicas: 0", "replicas: 2", false, true},
		{"contains: Welcome", "contains: Hello", false, true},
	} {
		s, p := parts(strings.Replace(whole, c.from, c.to, 1))
		if (s != s0) != c.split || (p != p0) != c.plan {
			t.Errorf("%s: split changed %v, plan changed %v", c.to, s != s0, p != p0)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add(Template())
	f.Add([]byte("paths:\n- {path: /a, class: drop}\n- {path: /a, class: image}\n"))
	f.Add([]byte("volumes:\n- {path: /a, size: 9999999999Pi, headroom: .nan}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse("f", data)
		if err != nil {
			return
		}
		for _, v := range []any{d.ForSplit(), d.ForPlan()} {
			if _, err := json.Marshal(v); err != nil {
				t.Error(err)
			}
		}
		for _, p := range d.Paths {
			if p.Line < 1 {
				t.Errorf("%s has no line", p.Path)
			}
			if _, err := claim.NewResolver(claim.Claim{ID: 1, Path: p.Path, Reach: p.Reaches(), Class: p.Class}); err != nil {
				t.Error(err)
			}
		}
	})
}
