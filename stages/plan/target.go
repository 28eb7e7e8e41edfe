package plan

import (
	"github.com/statelift/statelift/pipeline/handoff"
)

// fitTarget judges whether the cluster can serve the plan. In a rehearsal there
// is nothing to judge.
func (p *planner) fitTarget() {
	if p.target.Context == "" {
		return
	}
	p.plan.Blocks = Blocks(p.plan, p.target)
}

// Blocks are why the target cannot serve the plan, with the choices. It decides
// by the two alone.
func Blocks(pl handoff.Plan, t handoff.Target) []handoff.Block {
	return nil
}
