package admit

import (
	"context"

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
	return name + " cannot serve this plan as it is, and nothing was begun:\n" + handoff.BlocksText(blocks)
}
