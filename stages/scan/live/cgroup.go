package live

import (
	"strings"

	"github.com/statelift/statelift/pipeline/unitfile"
)

// unitOf is the unit in whose control group a process is, from
// /proc/PID/cgroup (cgroups(7)): the hierarchy named systemd of version 1, else
// the one of version 2. container is true for a process of a container, whose
// files are not the host's.
func unitOf(cgroup string) (unit string, container bool) {
	path, found := "", false
	for line := range strings.Lines(cgroup) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[1] == "name=systemd":
			path, found = f[2], true
		case f[0] == "0" && f[1] == "" && !found:
			path = f[2]
		}
		container = container || isContainer(f[2])
	}
	return unitOfPath(path), container
}

// unitOfPath takes the first element that is no slice. An underscore protects
// a name that a file of the hierarchy could have.
func unitOfPath(path string) string {
	for elem := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		elem = strings.TrimPrefix(elem, "_")
		name := unitfile.Name(elem)
		switch {
		case !name.Valid():
			return ""
		case name.Type() == "slice":
			continue
		}
		return elem
	}
	return ""
}

func isContainer(path string) bool {
	for elem := range strings.SplitSeq(path, "/") {
		for _, p := range []string{"docker", "libpod", "cri-containerd", "crio", "kubepods", "lxc", "machine-"} {
			rest, ok := strings.CutPrefix(elem, p)
			if !ok {
				continue
			}
			// docker-ID.scope, kubepods.slice, lxc.payload.NAME, a folder docker; not docker.service.
			if !strings.HasSuffix(elem, ".service") && !strings.HasSuffix(elem, ".socket") && (rest == "" || strings.IndexByte("-.", rest[0]) >= 0 || strings.HasSuffix(p, "-")) {
				return true
			}
		}
	}
	return false
}
