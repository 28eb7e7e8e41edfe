package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
)

func TestSmoke(t *testing.T) {
	for name, c := range map[string]struct {
		said decisions.Smoke
		want handoff.Smoke
		err  string
	}{
		"a page of a workload": {
			decisions.Smoke{HTTP: decisions.SmokeHTTP{Workload: "apache2"}},
			handoff.Smoke{Name: "apache2 /", HTTP: &handoff.SmokeHTTP{Service: "atlas-apache2", Port: 80, Path: "/", Status: 200}, Seconds: 30}, "",
		},
		"all said": {
			decisions.Smoke{Name: "front", Seconds: 5, HTTP: decisions.SmokeHTTP{Workload: "apache2", Port: 443, TLS: true, Path: "/x?y", Host: "blog", Status: 301, Contains: "a"}},
			handoff.Smoke{Name: "front", HTTP: &handoff.SmokeHTTP{Service: "atlas-apache2", Port: 443, TLS: true, Path: "/x?y", Host: "blog", Status: 301, Contains: "a"}, Seconds: 5}, "",
		},
		"another service": {
			decisions.Smoke{HTTP: decisions.SmokeHTTP{Service: "gate", Port: 8080, Path: "/a"}},
			handoff.Smoke{Name: "gate /a", HTTP: &handoff.SmokeHTTP{Service: "gate", Port: 8080, Path: "/a", Status: 200}, Seconds: 30}, "",
		},
		"the only container": {
			decisions.Smoke{Exec: decisions.SmokeExec{Workload: "gatelog", Command: []string{"id"}, Status: 1, Contains: "x"}},
			handoff.Smoke{Name: "gatelog: id", Exec: &handoff.SmokeExec{Workload: "gatelog", Container: "gatelog", Command: []string{"id"}, Status: 1, Contains: "x"}, Seconds: 30}, "",
		},
		"no workload":        {decisions.Smoke{HTTP: decisions.SmokeHTTP{Workload: "web"}}, handoff.Smoke{}, "statelift.yaml:7: smoke: the plan has no workload web (it has apache2, "},
		"no port":            {decisions.Smoke{HTTP: decisions.SmokeHTTP{Workload: "apache2", Port: 81}}, handoff.Smoke{}, "workload apache2 has no port 81 (it has 80, 443)"},
		"no port at all":     {decisions.Smoke{HTTP: decisions.SmokeHTTP{Workload: "site-dump"}}, handoff.Smoke{}, "workload site-dump has no port"},
		"several containers": {decisions.Smoke{Exec: decisions.SmokeExec{Workload: "apache2", Command: []string{"id"}}}, handoff.Smoke{}, "name one of apache2, mariadb, tallyd"},
		"another container":  {decisions.Smoke{Exec: decisions.SmokeExec{Workload: "apache2", Container: "php", Command: []string{"id"}}}, handoff.Smoke{}, "workload apache2 has no container php"},
		"a job":              {decisions.Smoke{Exec: decisions.SmokeExec{Workload: "site-dump", Command: []string{"id"}}}, handoff.Smoke{}, "workload site-dump runs at its times only"},
	} {
		t.Run(name, func(t *testing.T) {
			h := site()
			c.said.Line = 7
			h.decisions = decisions.PlanPart{File: "statelift.yaml", Smoke: []decisions.Smoke{c.said}}
			pl, _, err := h.plan(t)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.want.Said = "statelift.yaml:7"
			if diff := cmp.Diff([]handoff.Smoke{c.want}, pl.Smoke); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
