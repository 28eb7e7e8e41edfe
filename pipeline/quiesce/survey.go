package quiesce

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed ask.sh
var askScript string

// survey is how the source was when it was asked.
type survey struct {
	root      bool
	systemd   bool
	units     map[string]*unit // by each of their names
	scripts   map[string]string
	fenced    map[string]bool
	with      map[string][]string // by target: what was fenced with it
	marks     map[string]mark     // by target
	processes map[string]string   // pid to executable, of the source's own namespace
	services  map[string]string   // pid to the unit whose cgroup it is in
}

// unit is one that systemctl(1) showed.
type unit struct {
	id, load, active, sub string
	kind, result          string // of a service: Type= and how it ended
	script                string // in /etc/init.d that systemd made the unit from
	triggers              []string
	dependents            []string // that systemd stops when it stops this one
}

// found reports whether there is such a unit.
func (u *unit) found() bool { return u != nil && (u.load == "loaded" || u.load == "masked") }

// runs reports whether anything of the unit is, or will be, there.
func (u *unit) runs() bool {
	return u != nil && u.active != "inactive" && u.active != "failed" && u.active != ""
}

// exited reports whether it runs without a process (RemainAfterExit=).
func (u *unit) exited() bool { return u.runs() && u.sub == "exited" }

// ask surveys the services.
func (a Actions) ask(ctx context.Context, r Runner) (*survey, error) {
	argv := []string{"sh", "-c", askScript, "ask"}
	for _, s := range a.Services {
		argv = append(argv, s.Unit)
	}
	argv = append(argv, "--")
	for _, s := range a.Services {
		for _, name := range s.Scripts {
			if !slices.Contains(argv, name) {
				argv = append(argv, name)
			}
		}
	}
	ctx, end := bound(ctx, answerTime)
	defer end()
	out, err := r.Run(ctx, argv)
	if err != nil {
		return nil, err
	}
	// Half an answer, of a source whose disk is full, names fewer processes than run.
	whole, ok := bytes.CutSuffix(out, []byte("\nend\n"))
	if !ok {
		return nil, errors.New("what the source said of its services is cut short: is its /tmp full?")
	}
	return parseSurvey(whole)
}

// parseSurvey reads what ask.sh printed.
func parseSurvey(out []byte) (*survey, error) {
	s := &survey{
		units: map[string]*unit{}, scripts: map[string]string{}, fenced: map[string]bool{},
		with: map[string][]string{}, marks: map[string]mark{},
		processes: map[string]string{}, services: map[string]string{},
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, maxOutput)
	init := ""
	u := &unit{}
	for lines.Scan() {
		line := lines.Text()
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "processes":
			s.readProcesses(lines)
		case line == "root":
			s.root = true
		case line == "systemd" || line == "sysv":
			init = line
		case line == "unit":
			u = &unit{}
		case word == "mark":
			name, lines, _ := strings.Cut(rest, " ")
			s.marks[name] = s.marks[name].add(strings.Fields(lines)...)
		case word == "fenced":
			name, target, _ := strings.Cut(rest, " ")
			s.fenced[name] = true
			if target != "" && target != name {
				s.with[target] = append(s.with[target], name)
			}
		case word == "script":
			name, status, _ := strings.Cut(rest, " ")
			s.scripts[name] = status
		default:
			s.property(u, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("what the source said of its services: %w", err)
	}
	if init == "" {
		return nil, errors.New("what the source said of its services cannot be read")
	}
	s.systemd = init == "systemd"
	return s, nil
}

// property is one line of systemctl show. A unit is known by all its names.
func (s *survey) property(u *unit, line string) {
	key, value, _ := strings.Cut(line, "=")
	switch key {
	case "Id":
		u.id = value
		s.units[value] = u
	case "Names":
		for _, name := range strings.Fields(value) {
			s.units[name] = u
		}
	case "LoadState":
		u.load = value
	case "ActiveState":
		u.active = value
	case "SubState":
		u.sub = value
	case "Type":
		u.kind = value
	case "Result":
		u.result = value
	case "SourcePath":
		if dir, name := path.Split(value); dir == "/etc/init.d/" || dir == "/etc/rc.d/init.d/" {
			u.script = name
		}
	case "DropInPaths":
		// A manager that has not read anew since the file went still goes by it.
		if slices.ContainsFunc(strings.Fields(value), func(path string) bool { return strings.HasSuffix(path, "/"+fenceFile) }) {
			s.fenced[u.id] = true
		}
	case "TriggeredBy":
		u.triggers = strings.Fields(value)
	case "RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo":
		u.dependents = append(u.dependents, strings.Fields(value)...)
	}
}

// target is a service as the source knows it.
type target struct {
	Service
	name     string   // of the unit or the script
	also     []string // what would start it: sockets, timers, paths
	running  bool
	mute     bool // it is started at boot, and its script cannot tell whether it runs
	shielded bool // it is fenced
	ending   bool // it is a job, which may begin at any time until its timer is stopped, and ends by itself
}

// targets are the services that the source has. Those that it must have and has
// not are an error beside the others.
func (a Actions) targets(s *survey) ([]target, error) {
	var out []target
	var missing []string
	for _, service := range a.Services {
		t, ok := s.find(service)
		switch {
		case ok && !slices.ContainsFunc(out, func(o target) bool { return o.name == t.name }):
			out = append(out, t)
		case !ok && !service.Optional && !s.idle(service):
			missing = append(missing, service.Unit)
		}
	}
	if len(missing) > 0 {
		init := "a script in /etc/init.d"
		if s.systemd {
			init = "a unit"
		}
		return out, fmt.Errorf("the source has not %s for %s, which become workloads: what starts and stops them is not known", init, strings.Join(missing, ", "))
	}
	return out, nil
}

// idle reports whether there is nothing to stop of a service of which the source
// has no script: without systemd nobody keeps its timer, and none of its programs
// runs.
func (s *survey) idle(service Service) bool {
	return service.Timed && !s.systemd && len(s.running(service)) == 0
}

// notes say what there is nothing to stop of, and why.
func (a Actions) notes(s *survey) []string {
	var out []string
	targets, _ := a.targets(s) // what is missing is an error elsewhere
	var dragged []string
	for _, service := range a.Services {
		t, ok := s.find(service)
		if !ok && s.idle(service) {
			out = append(out, fmt.Sprintf("there is nothing to stop of %s, which a timer of systemd starts: systemd does not run there", service.Unit))
		}
		dragged = append(dragged, s.dragged(t)...)
	}
	slices.Sort(dragged)
	dragged = slices.DeleteFunc(slices.Compact(dragged), func(name string) bool { return slices.Contains(namesOf(targets), name) })
	if len(dragged) > 0 {
		out = append(out, fmt.Sprintf("systemd stops %s with them, which need what is stopped and do not become workloads: they stay stopped until a rollback", strings.Join(dragged, ", ")))
	}
	return out
}

func (s *survey) find(service Service) (target, bool) {
	t := target{Service: service}
	if s.systemd {
		u := s.units[service.Unit]
		if !u.found() {
			return target{}, false
		}
		t.name, t.running, t.shielded = u.id, u.runs(), s.fenced[u.id]
		// One that systemd has not loaded (any more) is not shown to start it.
		also := mark(nil).add(u.triggers...).add(s.with[u.id]...).add(s.marks[u.id].own()...)
		t.also = slices.DeleteFunc(also, func(name string) bool { return name == u.id })
		t.ending = service.Timed && !u.exited()
		return t, true
	}
	for _, name := range service.Scripts {
		status, ok := s.scripts[name]
		if !ok {
			continue
		}
		t.name, t.shielded = name, s.fenced[name]
		t.running = status == "0" || len(s.running(service)) > 0
		t.mute = status == "mute-on"
		return t, true
	}
	return target{}, false
}

// busy names what of the services still runs.
func (s *survey) busy(targets []target) []string {
	var out []string
	for _, t := range targets {
		pids := s.left(t)
		switch {
		case s.systemd && t.running:
			out = append(out, t.name)
		case len(pids) > 0:
			out = append(out, fmt.Sprintf("%s (%s, process %s)", t.name, path.Base(s.processes[pids[0]]), strings.Join(pids, " ")))
		case t.running:
			out = append(out, t.name)
		}
		for _, name := range t.also {
			if s.units[name].runs() {
				out = append(out, name)
			}
		}
	}
	return out
}
