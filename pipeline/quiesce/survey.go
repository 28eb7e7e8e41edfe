package quiesce

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
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
	marks     map[string]bool
	processes map[string]string // pid to executable, of the source's own namespace
}

// unit is one that systemctl(1) showed.
type unit struct {
	id, load, active string
	triggers         []string
}

// found reports whether there is such a unit.
func (u *unit) found() bool { return u != nil && (u.load == "loaded" || u.load == "masked") }

// runs reports whether anything of the unit is, or will be, there.
func (u *unit) runs() bool {
	return u != nil && u.active != "inactive" && u.active != "failed" && u.active != ""
}

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
	s := &survey{units: map[string]*unit{}, scripts: map[string]string{}, fenced: map[string]bool{}, marks: map[string]bool{}, processes: map[string]string{}}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, maxOutput)
	init := ""
	u := &unit{}
	for lines.Scan() {
		line := lines.Text()
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "processes":
			s.processes = processes(lines)
		case line == "root":
			s.root = true
		case line == "systemd" || line == "sysv":
			init = line
		case line == "unit":
			u = &unit{}
		case word == "mark":
			s.marks[rest] = true
		case word == "fenced":
			s.fenced[rest] = true
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
	case "TriggeredBy":
		u.triggers = strings.Fields(value)
	}
}

// processes reads the links that ls(1) showed: "… /proc/PID/exe -> FILE". The first
// namespace is that of the shell.
func processes(lines *bufio.Scanner) map[string]string {
	own, spaces, programs := "", map[string]string{}, map[string]string{}
	for lines.Scan() {
		head, target, ok := strings.Cut(lines.Text(), " -> ")
		i := strings.Index(head, "/proc/")
		if !ok || i < 0 {
			continue
		}
		pid, what, _ := strings.Cut(head[i+len("/proc/"):], "/")
		switch {
		case what == "exe":
			programs[pid] = strings.TrimSuffix(target, " (deleted)")
		case own == "":
			own = target
		}
		if what == "ns/pid" {
			spaces[pid] = target
		}
	}
	for pid := range programs {
		if spaces[pid] != own {
			delete(programs, pid)
		}
	}
	return programs
}

// target is a service as the source knows it.
type target struct {
	Service
	name     string   // of the unit or the script
	also     []string // what would start it: sockets, timers, paths
	running  bool
	mute     bool // it is started at boot, and its script cannot tell whether it runs
	shielded bool // it is fenced
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
	for _, service := range a.Services {
		if _, ok := s.find(service); !ok && s.idle(service) {
			out = append(out, fmt.Sprintf("there is nothing to stop of %s, which a timer of systemd starts: systemd does not run there", service.Unit))
		}
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
		t.name, t.also, t.running, t.shielded = u.id, u.triggers, u.runs(), s.fenced[u.id]
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

// running are the processes of the service's programs, in the order of their ids.
func (s *survey) running(service Service) []string {
	var out []string
	for pid, program := range s.processes {
		if slices.ContainsFunc(service.Programs, func(g string) bool {
			return claim.MatchGlob(hostpath.Path(g), hostpath.Path(program))
		}) {
			out = append(out, pid)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return out
}

// busy names what of the services still runs.
func (s *survey) busy(targets []target) []string {
	var out []string
	for _, t := range targets {
		// systemd knows all processes of a service but the jobs that cron leaves behind.
		var pids []string
		if !s.systemd || t.Tier == profile.JobsTier {
			pids = s.running(t.Service)
		}
		switch {
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
