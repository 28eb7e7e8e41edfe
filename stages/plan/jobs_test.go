package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/templates"
)

// Which jobs of packages are a host's own upkeep is data, and can be overruled.
func TestJobsOfPackages(t *testing.T) {
	rules, err := profile.LoadRules(templates.Rules())
	if err != nil {
		t.Fatal(err)
	}
	job := func(name, pkg string, path hostpath.Path) facts.Cron {
		return facts.Cron{Name: name, Schedule: "25 6 * * *", User: "root", Command: string(path), Package: pkg, Source: facts.Source{Path: path}}
	}
	h := &testHost{rules: rules, items: []item{{path: "/etc/cron.weekly/quota", mode: 0o755, content: "#!/bin/sh\n"}}, users: []facts.User{{Name: "root", Home: "/root"}}, crons: []facts.Cron{
		job("cron.daily/dpkg", "dpkg", "/etc/cron.daily/dpkg"),
		job("cron.weekly/quota", "", "/etc/cron.weekly/quota"),
		job("cron.daily/man-db", "man-db", "/etc/cron.daily/man-db"),
		job("cron.daily/app", "app", "/etc/cron.daily/app"),
	}}
	for _, c := range []struct {
		off  []string
		want map[string]string
	}{
		{nil, map[string]string{"cron:cron.daily/dpkg": "rule jobs/packages", "cron:cron.daily/man-db": "rule units/packages"}},
		{[]string{"jobs/packages"}, map[string]string{"cron:cron.daily/man-db": "rule units/packages"}},
	} {
		h.decisions = decisions.PlanPart{RulesOff: c.off}
		pl, _, err := h.plan(t)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, leftOut(pl)); diff != "" {
			t.Errorf("without %v (-want +got):\n%s", c.off, diff)
		}
	}
}
