package plan

import (
	"slices"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
)

// Options is what changes the result: the part of statelift.yaml that the plan
// reads.
type Options struct {
	Decisions decisions.PlanPart `json:"decisions,omitzero"`
	// CopierArch is what the program is for that fills volumes in a cluster.
	CopierArch string `json:"copierArch,omitempty"`
}

// unitDecision is what the user decided about a unit that has one of the names.
func (p *planner) unitDecision(ids ...string) (decisions.Unit, bool) {
	for _, id := range ids {
		if u, ok := p.decisions.Unit(id); ok {
			return u, true
		}
	}
	return decisions.Unit{}, false
}

// kept reports whether the user wants the unit whatever a rule says.
func (p *planner) kept(ids ...string) bool {
	u, ok := p.unitDecision(ids...)
	return ok && u.Keep
}

// leaveByUser leaves the unit out when the user said so.
func (p *planner) leaveByUser(sel *selection, id string, ids ...string) bool {
	u, ok := p.unitDecision(append([]string{id}, ids...)...)
	if !ok || !u.LeaveOut {
		return false
	}
	sel.leave(id, p.decisions.At(u.Line), "%s", firstOf(u.Reason, "the user left it out"))
	return true
}

// workloadDecision is what the user decided about the workload that holds the
// unit.
func (p *planner) workloadDecision(unit string) (decisions.Workload, bool) {
	i := slices.IndexFunc(p.decisions.Workloads, func(w decisions.Workload) bool { return slices.Contains(w.Units, unit) })
	if i < 0 {
		return decisions.Workload{}, false
	}
	return p.decisions.Workloads[i], true
}

// volumeDecision is what the user decided about the volume at the path.
func (p *planner) volumeDecision(root hostpath.Path) (decisions.Volume, bool) {
	i := slices.IndexFunc(p.decisions.Volumes, func(v decisions.Volume) bool { return v.Path == root })
	if i < 0 {
		return decisions.Volume{}, false
	}
	return p.decisions.Volumes[i], true
}

// questionID names a question so that it can be a key in statelift.yaml without
// quotes.
func questionID(kind, about string) string { return kubename.Label(kind+"-"+about, kubename.MaxLabel) }
