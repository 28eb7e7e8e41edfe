package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

// answer is what the user answered to a question, "" for nothing.
func (p *planner) answer(question string) string {
	if p.asked == nil {
		p.asked = map[string]bool{}
	}
	p.asked[question] = true
	return p.decisions.Answers[question]
}

// unheard names the decisions that fit nothing on this host: one that silently
// does nothing is a typing error, most of the time.
func (p *planner) unheard() error {
	var faults []error
	fault := func(line strictyaml.Line, format string, args ...any) {
		faults = append(faults, &strictyaml.Error{File: p.decisions.File, Line: int(line), Text: fmt.Sprintf(format, args...)})
	}
	for _, w := range p.decisions.Workloads {
		for _, u := range w.Units {
			if why := p.noService(u); why != "" {
				fault(w.Line, "workload %s: %s", w.Name, why)
			}
			if p.isJob(u) && (w.Kind != "" || w.Replicas != nil || w.Together || w.Split) {
				fault(w.Line, "workload %s: %s runs at its times: it is a CronJob of its own, and only its name can be decided", w.Name, u)
			}
		}
		if len(w.Units) == 0 {
			fault(w.Line, "workload %s names no units", w.Name)
		}
	}
	for _, v := range p.decisions.Volumes {
		if !slices.ContainsFunc(p.plan.Volumes, func(have handoff.Volume) bool { return have.Path == v.Path }) {
			fault(v.Line, "the plan has no volume at %s", v.Path)
		}
	}
	faults = append(faults, p.planSmoke()...)
	faults = append(faults, p.unasked()...)
	if len(faults) > 0 {
		return &pipeline.InputError{What: "your decisions", Err: errors.Join(faults...)}
	}
	return nil
}

func (p *planner) isJob(unit string) bool {
	return slices.ContainsFunc(p.services, func(s *service) bool { return s.id == unit && s.job() })
}

// noService says why a unit is in no workload, "" when it is.
func (p *planner) noService(unit string) string {
	if slices.ContainsFunc(p.services, func(s *service) bool { return s.id == unit }) {
		return ""
	}
	i := slices.IndexFunc(p.plan.LeftOut, func(l handoff.LeftOut) bool { return l.Unit == unit })
	if i < 0 {
		return "the host has no unit " + unit
	}
	return fmt.Sprintf("%s is left out: %s", unit, p.plan.LeftOut[i].Reason)
}

// unasked names answers to questions that nobody asks, and those that are none
// of the choices, where all choices are words.
func (p *planner) unasked() (faults []error) {
	for _, id := range slices.Sorted(maps.Keys(p.decisions.Answers)) {
		i := slices.IndexFunc(p.plan.Questions, func(q handoff.Question) bool { return q.ID == id })
		if i < 0 && !p.asked[id] {
			faults = append(faults, fmt.Errorf("%s: answers: there is no question %q", p.decisions.File, id))
		}
		if i < 0 {
			continue
		}
		choices, given := p.plan.Questions[i].Choices, p.decisions.Answers[id]
		words := !slices.ContainsFunc(choices, func(c string) bool { return strings.Contains(c, " ") })
		if words && len(choices) > 1 && !slices.Contains(choices, given) {
			faults = append(faults, fmt.Errorf("%s: answers: %s: %q is none of %s", p.decisions.File, id, given, strings.Join(choices, ", ")))
		}
	}
	return faults
}
