package quiesce

import (
	"bufio"
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// readProcesses reads the links that ls(1) showed, "… /proc/PID/exe -> FILE", of
// which the first namespace is that of the shell; and the lines of cgroups(7),
// "/proc/PID/cgroup:0::PATH".
func (s *survey) readProcesses(lines *bufio.Scanner) {
	own, spaces := "", map[string]string{}
	for lines.Scan() {
		_, line, ok := strings.Cut(lines.Text(), "/proc/")
		if !ok {
			continue
		}
		pid, what, _ := strings.Cut(line, "/")
		if cgroup, ok := strings.CutPrefix(what, "cgroup:"); ok {
			if unit := serviceIn(cgroup); unit != "" {
				s.services[pid] = unit
			}
			continue
		}
		what, target, ok := strings.Cut(what, " -> ")
		switch {
		case !ok:
		case what == "exe" && strings.HasPrefix(target, "/"):
			s.processes[pid] = strings.TrimSuffix(target, " (deleted)")
		case what == "ns/pid":
			own = cmp.Or(own, target)
			spaces[pid] = target
		}
	}
	for pid := range s.processes {
		if spaces[pid] != own {
			delete(s.processes, pid)
		}
	}
}

// serviceIn is the unit of a process in that cgroup, "HIERARCHY:CONTROLLERS:PATH":
// the first of the path, as what is further down belongs to another systemd, in a
// container or a user's.
func serviceIn(cgroup string) string {
	for name := range strings.SplitSeq(cgroup, "/") {
		switch path.Ext(name) {
		case ".service":
			return name
		case ".scope":
			return ""
		}
	}
	return ""
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
	slices.SortFunc(out, byNumber)
	return out
}

func byNumber(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }

// left are the processes of the target, in the order of their ids. Those of a unit
// may outlive it (systemd.kill(5), KillMode=). So do the jobs of cron, in its cgroup
// or one of their own (pam_systemd(8)); its program waits for each, and for no
// daemon that one of them started.
func (s *survey) left(t target) []string {
	if !s.systemd || t.Tier == profile.JobsTier && !t.Timed {
		return s.running(t.Service)
	}
	var out []string
	for pid, unit := range s.services {
		if unit == t.name {
			out = append(out, pid)
		}
	}
	slices.SortFunc(out, byNumber)
	return out
}
