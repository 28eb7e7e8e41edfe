package verify

import (
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/handoff"
)

// Without a cluster nothing is looked at; one that does not answer is said.
func TestNoCluster(t *testing.T) {
	r := &run{Stage: &Stage{}, made: Made{Plan: handoff.Plan{Workloads: []handoff.Workload{{Name: "web"}}}}}
	if err := r.inCluster(t.Context()); err != nil || len(r.checks) > 0 {
		t.Errorf("%v %+v", err, r.checks)
	}
	t.Setenv("KUBECONFIG", "/nonexistent")
	r.made.Target = handoff.Target{Context: "nobody", Namespace: "x"}
	if err := r.inCluster(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.checks) != 1 || r.checks[0].OK || r.checks[0].What != "cluster" || r.checks[0].Name != "nobody/x" || !strings.Contains(r.checks[0].Detail, "nobody") {
		t.Errorf("%+v", r.checks)
	}
}
