package plan

import (
	"slices"
	"testing"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/templates"
)

// PostgreSQL has the shared memory that its parallel queries need, and the limit
// of its memory leaves room for it; others have what the runtime gives.
func TestSharedMemory(t *testing.T) {
	profiles, err := profile.Load(templates.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		fstab []facts.Fstab
		want  int64
	}{
		"as the profile says": {nil, 1 << 30},
		"the host gave more":  {[]facts.Fstab{{Spec: "tmpfs", Target: "/dev/shm", FSType: "tmpfs", Options: []string{"size=4g"}}}, 4 << 30},
		"the host gave less":  {[]facts.Fstab{{Spec: "tmpfs", Target: "/dev/shm", FSType: "tmpfs", Options: []string{"size=64m"}}}, 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			h := &testHost{
				profiles: profiles, fstab: c.fstab, items: []item{{path: "/usr/lib/postgresql/15/bin/postgres", mode: 0o755, content: "\x7fELF"}},
				units: []facts.Unit{
					unit("postgresql@15-main.service", true, "Service.ExecStart=/usr/lib/postgresql/15/bin/postgres"),
					unit("plain.service", true, "Service.ExecStart=/usr/bin/plain"),
				},
			}
			pl, _, err := h.plan(t)
			if err != nil {
				t.Fatal(err)
			}
			at := func(unit string) (handoff.PodVolume, bool) {
				for _, w := range pl.Workloads {
					for _, box := range w.Containers {
						i := slices.IndexFunc(box.Mounts, func(m handoff.Mount) bool { return m.Path == "/dev/shm" })
						if box.Unit != unit || i < 0 {
							continue
						}
						if box.Resources.MemoryLimit > 0 && box.Resources.MemoryLimit <= 1<<30 {
							t.Errorf("the limit of memory is %d", box.Resources.MemoryLimit)
						}
						j := slices.IndexFunc(w.Mounts, func(v handoff.PodVolume) bool { return v.Name == box.Mounts[i].Volume })
						return w.Mounts[j], true
					}
				}
				return handoff.PodVolume{}, false
			}
			if v, ok := at("postgresql@15-main.service"); !ok || !v.Memory || v.SizeLimit != c.want || v.Dirs[0].Mode != 0o1777 {
				t.Errorf("%v: %+v, want %d bytes", ok, v, c.want)
			}
			if v, ok := at("plain.service"); ok {
				t.Errorf("plain.service has %+v", v)
			}
		})
	}
}
