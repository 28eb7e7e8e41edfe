package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
)

const sharedMemory = hostpath.Path("/dev/shm")

// mountSharedMemory gives a service that works with POSIX shared memory
// (shm_overview(7)) as much of it as its profile asks for, or as the host's
// fstab(5) gave it when that is more. Every container has its own, as every
// service may call its segments as it likes.
func (p *planner) mountSharedMemory(w *pod, s *service) {
	size := p.runOf(s).SharedMemory
	if size == 0 {
		return
	}
	dir := handoff.EphemeralDir{Path: sharedMemory, Mode: 0o1777, Reason: "POSIX shared memory, of which a container has 64 MiB otherwise"}
	i := slices.IndexFunc(p.host.fstab, func(f facts.Fstab) bool { return f.FSType == "tmpfs" && f.Target == sharedMemory })
	if i >= 0 {
		f := p.host.fstab[i]
		for _, o := range f.Options {
			if value, ok := strings.CutPrefix(o, "size="); ok && sizeOf(strings.ToUpper(value)) > size {
				size = sizeOf(strings.ToUpper(value))
				dir.Reason += "; its size is in " + place(f.Source)
			}
		}
	}
	name := kubename.Label(cmp.Or(s.box.Name, "service")+"-shm", kubename.MaxLabel)
	w.addVolume(handoff.PodVolume{Name: name, Origin: handoff.FromEphemeral, Memory: true, SizeLimit: size, Dirs: []handoff.EphemeralDir{dir}})
	s.addMount(handoff.Mount{Volume: name, Path: sharedMemory})
}
