package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// TestPlanBlocks: what the cluster cannot serve is on standard output, each with
// its choices, and a script sees it by the exit code.
func TestPlanBlocks(t *testing.T) {
	p := &planSummary{Plan: handoff.Plan{Name: "tiny", Into: "shop"}}
	if err := p.blocked("prod"); err != nil {
		t.Errorf("nothing blocks, and got %v", err)
	}
	p.Blocks = []handoff.Block{{Text: "a quota is too small", Choices: []string{"have it raised", "do with less"}}, {Text: "a name is taken", Choices: []string{"name: tiny-2"}}}
	var out strings.Builder
	if err := p.write(&out); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(out.String(), "\n\n2 things ")
	want := `stand in the way of a run into namespace shop:
1. a quota is too small
   - have it raised
   - do with less
2. a name is taken
   - name: tiny-2

`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if code := exitCode(t.Context(), p.blocked("prod")); code != exitBlocked {
		t.Errorf("exit code %d", code)
	}
}
