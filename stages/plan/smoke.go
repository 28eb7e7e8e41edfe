package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

// smokeSeconds is how long a smoke check may take when nothing is said.
const smokeSeconds = 30

// planSmoke fills in what the user's smoke checks leave open. What they ask of
// must be in the plan.
func (p *planner) planSmoke() (faults []error) {
	for _, s := range p.decisions.Smoke {
		out := handoff.Smoke{Name: s.Name, Said: p.decisions.At(s.Line), Seconds: cmp.Or(s.Seconds, smokeSeconds)}
		var err error
		if len(s.Exec.Command) > 0 {
			out.Exec, err = p.smokeExec(s.Exec)
			out.Name = firstOf(out.Name, s.Exec.Workload+": "+s.Exec.Command[0])
		} else {
			out.HTTP, err = p.smokeHTTP(s.HTTP)
			out.Name = firstOf(out.Name, firstOf(s.HTTP.Workload, s.HTTP.Service)+" "+firstOf(s.HTTP.Path, "/"))
		}
		if err != nil {
			faults = append(faults, &strictyaml.Error{File: p.decisions.File, Line: int(s.Line), Text: fmt.Sprintf("smoke: %v", err)})
			continue
		}
		p.plan.Smoke = append(p.plan.Smoke, out)
	}
	return faults
}

func (p *planner) smokeHTTP(h decisions.SmokeHTTP) (*handoff.SmokeHTTP, error) {
	out := &handoff.SmokeHTTP{
		Service: h.Service, Port: h.Port, TLS: h.TLS, Path: firstOf(h.Path, "/"), Host: h.Host,
		Status: cmp.Or(h.Status, 200), Contains: h.Contains,
	}
	if h.Workload == "" {
		return out, nil
	}
	w, err := p.smokeWorkload(h.Workload)
	if err != nil {
		return nil, err
	}
	var ports []string
	for _, port := range w.Service {
		if port.Protocol != "TCP" {
			continue
		}
		if out.Port == 0 {
			out.Port = port.Number
		}
		ports = append(ports, fmt.Sprint(port.Number))
	}
	switch {
	case len(ports) == 0:
		return nil, fmt.Errorf("workload %s has no port that others reach", h.Workload)
	case !slices.Contains(ports, fmt.Sprint(out.Port)):
		return nil, fmt.Errorf("workload %s has no port %d (it has %s)", h.Workload, out.Port, strings.Join(ports, ", "))
	}
	out.Service = p.plan.ObjectName(w.Name)
	return out, nil
}

func (p *planner) smokeExec(e decisions.SmokeExec) (*handoff.SmokeExec, error) {
	w, err := p.smokeWorkload(e.Workload)
	if err != nil {
		return nil, err
	}
	if w.Kind == handoff.CronJob {
		return nil, fmt.Errorf("workload %s runs at its times only", e.Workload)
	}
	var names []string
	for _, c := range w.Containers {
		names = append(names, c.Name)
	}
	out := &handoff.SmokeExec{Workload: w.Name, Container: e.Container, Command: e.Command, Status: e.Status, Contains: e.Contains}
	switch {
	case e.Container == "" && len(names) > 1:
		return nil, fmt.Errorf("workload %s has several containers: name one of %s", e.Workload, strings.Join(names, ", "))
	case e.Container == "":
		out.Container = names[0]
	case !slices.Contains(names, e.Container):
		return nil, fmt.Errorf("workload %s has no container %s (it has %s)", e.Workload, e.Container, strings.Join(names, ", "))
	}
	return out, nil
}

func (p *planner) smokeWorkload(name string) (handoff.Workload, error) {
	i := slices.IndexFunc(p.plan.Workloads, func(w handoff.Workload) bool { return w.Name == name })
	if i >= 0 {
		return p.plan.Workloads[i], nil
	}
	var names []string
	for _, w := range p.plan.Workloads {
		names = append(names, w.Name)
	}
	return handoff.Workload{}, fmt.Errorf("the plan has no workload %s (it has %s)", name, strings.Join(names, ", "))
}
