package main

import (
	"fmt"
	"io"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// problems are what the scan could not read or understand of the host's
// configuration: it went on, and what stands there may be missing from the plan.
type problems struct {
	Count int             `json:"problemCount"`
	First []facts.Problem `json:"problems,omitempty"` // at most a thousand; inventory.db has all
}

// readProblems reads what the scan left; there are none before it.
func readProblems(w workspace.Workspace) problems {
	inv, err := pipeline.Read(w, handoff.InventoryKey)
	if err != nil {
		return problems{}
	}
	return problems{Count: inv.Facts[facts.KindProblem], First: inv.Problems}
}

// shownProblems is how many are told on a terminal.
const shownProblems = 10

func (p problems) write(w io.Writer) {
	if p.Count == 0 {
		return
	}
	fmt.Fprintf(w, "\n%d places of the host's configuration could not be read or understood; the plan may miss what they say:\n", p.Count)
	for _, q := range p.First[:min(len(p.First), shownProblems)] {
		at := q.Path.String()
		if q.Line > 0 {
			at = fmt.Sprintf("%s:%d", at, q.Line)
		}
		if q.Path == "" {
			at = "-"
		}
		fmt.Fprintf(w, "  %s %s: %s\n", q.Collector, at, q.What)
	}
	if more := p.Count - shownProblems; more > 0 {
		fmt.Fprintf(w, "  … and %d more, in the report\n", more)
	}
}
