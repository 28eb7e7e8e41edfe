package manifests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

func TestEdited(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		edits []handoff.Edit
		want  string
		wrong bool
	}{
		"none":           {"abc", nil, "abc", false},
		"one":            {"host = localhost\n", []handoff.Edit{{At: 7, Old: "localhost", New: "db"}}, "host = db\n", false},
		"several":        {"abc", []handoff.Edit{{At: 0, Old: "a", New: "xx"}, {At: 2, New: "-"}, {At: 3, New: "."}}, "xxb-c.", false},
		"another text":   {"host = 10.0.0.1\n", []handoff.Edit{{At: 7, Old: "localhost", New: "db"}}, "", true},
		"behind the end": {"abc", []handoff.Edit{{At: 4, New: "x"}}, "", true},
		"one in another": {"abcd", []handoff.Edit{{At: 0, Old: "abc", New: "x"}, {At: 1, Old: "b", New: "y"}}, "", true},
	} {
		got, err := edited([]byte(c.text), c.edits)
		if (err != nil) != c.wrong || string(got) != c.want {
			t.Errorf("%s: %q %v, want %q", name, got, err, c.want)
		}
	}
}

// A rewritten file is in the ConfigMap as it is to be, one that is made, too; and
// a port for other workloads is open to them alone.
func TestRewritten(t *testing.T) {
	b := newBench(t, map[hostpath.Path]string{"/etc/my.cnf": "[mysqld]\nbind-address = 127.0.0.1\n"})
	plan := handoff.Plan{
		Name: "atlas",
		Workloads: []handoff.Workload{{
			Name: "db", Kind: handoff.StatefulSet, Replicas: 1, Containers: []handoff.Container{{Name: "db", Image: "db", UID: 1}},
			Service: []handoff.Port{{Name: "mysql", Number: 3306, Protocol: "TCP", From: []string{"web", "dump"}}, {Name: "http", Number: 80, Protocol: "TCP"}},
		}},
		Configs: []handoff.FileSet{{Name: "db-config", Owner: "db", Files: []handoff.KeyFile{
			{Key: "my.cnf", Path: "/etc/my.cnf", Edits: []handoff.Edit{{At: 24, Old: "127.0.0.1", New: "*"}}},
			{Key: "made.sql", Path: "/etc/statelift/made.sql", Made: "SELECT 1;\n"},
		}}},
	}
	if _, err := b.run(t, Options{}, plan, handoff.Images{}, handoff.Seeds{}); err != nil {
		t.Fatal(err)
	}
	text := b.read(t, "configmap-atlas-db-config.yaml")
	if !strings.Contains(text, "bind-address = *\n") || !strings.Contains(text, "SELECT 1;") {
		t.Errorf("ConfigMap:\n%s", text)
	}
	var policy networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict([]byte(b.read(t, "networkpolicy-atlas-db.yaml")), &policy); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, rule := range policy.Spec.Ingress {
		for _, p := range rule.Ports {
			got[p.Port.String()] = nil
			for _, from := range rule.From {
				got[p.Port.String()] = append(got[p.Port.String()], from.PodSelector.MatchLabels["app.kubernetes.io/name"])
			}
		}
	}
	if diff := cmp.Diff(map[string][]string{"80": nil, "3306": {"web", "dump"}}, got); diff != "" {
		t.Errorf("who reaches which port (-want +got):\n%s", diff)
	}
	plan.Configs[0].Files[0].Edits[0].Old = "10.0.0.1"
	if _, err := b.run(t, Options{}, plan, handoff.Images{}, handoff.Seeds{}); err == nil || !strings.Contains(err.Error(), "/etc/my.cnf: is not as the plan saw it") {
		t.Errorf("a file of another content: %v", err)
	}
}
