package admit

import (
	"context"
	"fmt"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name: "admit", Summary: "stops before any work when the cluster cannot serve the plan, with the choices",
		Effects: pipeline.Local, Resumes: "judging again", Version: 1,
	}
}

// Stage is the gate.
type Stage struct{}

// New makes the stage.
func New() *Stage { return &Stage{} }

// Rehearsal is the target of a run without a cluster.
const Rehearsal = "rehearsal"

// Run lets a plan pass that its target can serve. Otherwise the error is a
// [pipeline.Blocked] with every block and its choices.
func (s *Stage) Run(_ context.Context, _ *pipeline.Env, plan handoff.Plan, target handoff.Target) (handoff.Admission, error) {
	if target.Context == "" {
		return handoff.Admission{Target: Rehearsal}, nil
	}
	name := target.Context + "/" + target.Namespace
	if len(plan.Blocks) == 0 {
		return handoff.Admission{Target: name}, nil
	}
	return handoff.Admission{}, &pipeline.Blocked{Question: question(name, plan.Blocks)}
}

// question is all blocks, numbered, each with its choices.
func question(name string, blocks []handoff.Block) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot serve this plan as it is, and nothing was begun:", name)
	for i, block := range blocks {
		fmt.Fprintf(&b, "\n%d. %s", i+1, block.Text)
		for _, c := range block.Choices {
			fmt.Fprintf(&b, "\n   - %s", c)
		}
	}
	return b.String()
}
