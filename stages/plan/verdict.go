package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// The thresholds of the verdicts. Each is where a practice starts to hurt, not
// where it breaks.
const (
	// manySmall files below 4 KiB take longer to copy, to back up and to change
	// the owner of than their bytes say.
	manySmall = 500_000
	// largeVolume is where one copy takes hours and one node's disk is tight.
	largeVolume = 1 << 40
	// codeShare of the files of a volume being code means that an update of the
	// application would have to change the volume.
	codeShare = 0.2
	codeFiles = 20
)

// judge gives each workload a verdict: where its state should live, with the
// numbers that were measured, and why the other schools were not chosen.
func (p *planner) judge(context.Context) error {
	for _, w := range p.pods {
		w.Verdict = p.verdict(w)
		p.plan.Workloads = append(p.plan.Workloads, w.Workload)
	}
	return nil
}

func (p *planner) verdict(w *pod) handoff.Verdict {
	keepOut := p.reasonsToKeepOut(w)
	refactor := p.reasonsToRefactor(w)
	outside := p.reasonsForOutside(w)
	var files, small, bytes int64
	var volumes int
	for _, v := range p.rootsOf(w) {
		volumes++
		files, small, bytes = files+v.Files, small+v.SmallFiles, bytes+v.Bytes
	}
	fits := fmt.Sprintf("its state fits the cluster: volumes %d, files %d (%d of them below 4 KiB), %s", volumes, files, small, bytesize.Text(bytes))
	if volumes == 0 {
		fits = "it keeps no state of its own"
	}
	v := handoff.Verdict{School: handoff.InCluster, Reasons: []string{fits}}
	switch {
	case len(keepOut) > 0:
		v = handoff.Verdict{School: handoff.KeepOut, Reasons: keepOut}
	case len(refactor) > 0:
		v = handoff.Verdict{School: handoff.Refactor, Reasons: refactor}
	case len(outside) > 0:
		v = handoff.Verdict{School: handoff.Outside, Reasons: outside}
	}
	for _, o := range []struct {
		school  handoff.School
		reasons []string
		not     string
	}{
		{handoff.InCluster, nil, "the reasons above speak against it; the plan builds it all the same, since everything is there"},
		{handoff.Outside, outside, p.whyNotOutside(w)},
		{handoff.Refactor, refactor, fmt.Sprintf("state and code are apart: no volume has %d files of code that make up %d %% of it", codeFiles, int(codeShare*100))},
		{handoff.KeepOut, keepOut, fmt.Sprintf("it needs no device and no kernel module, and has fewer than %d small files (%d)", manySmall, small)},
	} {
		switch {
		case o.school == v.School:
		case len(o.reasons) > 0:
			v.Others = append(v.Others, fmt.Sprintf("%s: %s", o.school, strings.Join(o.reasons, "; ")))
		default:
			v.Others = append(v.Others, fmt.Sprintf("%s: %s", o.school, o.not))
		}
	}
	return v
}

// rootsOf are the split's roots of the volumes that the workload owns.
func (p *planner) rootsOf(w *pod) []handoff.VolumeRoot {
	var out []handoff.VolumeRoot
	for _, v := range p.plan.Volumes {
		if v.Owner != w.Name {
			continue
		}
		for _, r := range p.split.Volumes {
			if r.Path == v.Path {
				out = append(out, r)
			}
		}
	}
	return out
}

func (p *planner) reasonsToKeepOut(w *pod) []string {
	var out []string
	for _, s := range w.services {
		out = append(out, p.needsMachine(s)...)
		if s.profile != nil && s.profile.Data.School == handoff.KeepOut {
			out = append(out, fmt.Sprintf("the profile %s says so: %s", s.profile.Name, firstOf(s.profile.Data.Outside, s.profile.Title)))
		}
	}
	for _, r := range p.rootsOf(w) {
		if r.SmallFiles > manySmall {
			out = append(out, fmt.Sprintf("%s has %d files below 4 KiB (more than %d): every copy, backup and change of owner walks them all", r.Path, r.SmallFiles, manySmall))
		}
	}
	return out
}

// needsMachine finds what a Pod has no part in: devices, kernel modules, the
// host's own network and process space.
func (p *planner) needsMachine(s *service) []string {
	var out []string
	for _, d := range s.unit.Values("Service", "DeviceAllow") {
		device, _, _ := strings.Cut(d.Value, " ")
		if !slices.Contains([]string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "char-pts", ""}, device) {
			out = append(out, fmt.Sprintf("it uses the device %s (%s)", device, place(d.Source)))
		}
	}
	for _, c := range s.box.Capabilities {
		switch c {
		case "SYS_MODULE", "SYS_RAWIO", "SYS_BOOT", "SYS_TIME":
			out = append(out, fmt.Sprintf("it needs the capability %s, which acts on the whole machine", c))
		}
	}
	for _, m := range s.mentions {
		switch path := string(m.path); {
		case strings.HasSuffix(path, "/modprobe") || strings.HasSuffix(path, "/insmod"):
			out = append(out, fmt.Sprintf("it loads kernel modules (%s)", firstOf(place(m.Source), m.how)))
		case isDevice(path):
			out = append(out, fmt.Sprintf("it names the device %s (%s)", path, firstOf(place(m.Source), m.how)))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// isDevice reports whether a path is one of hardware: the harmless devices are
// in every container.
func isDevice(path string) bool {
	name, ok := strings.CutPrefix(path, "/dev/")
	if !ok {
		return false
	}
	for _, g := range []string{"sd*", "nvme*", "vd*", "xvd*", "tty[SUA]*", "ttyACM*", "ttyUSB*", "video*", "snd*", "dri*", "kvm", "mem", "kmem", "net", "hidraw*", "bus", "i2c*", "spidev*", "lp*", "usb*", "watchdog*", "loop*", "mapper", "disk", "input", "fb*", "rtc*", "gpio*", "mei*", "nvidia*"} {
		first, _, _ := strings.Cut(name, "/")
		if glob(g, first) {
			return true
		}
	}
	return false
}

func (p *planner) reasonsToRefactor(w *pod) []string {
	var out []string
	for _, r := range p.rootsOf(w) {
		if r.Code >= codeFiles && r.Files > 0 && float64(r.Code) >= codeShare*float64(r.Files) {
			out = append(out, fmt.Sprintf("%s mixes code with state: %d of its %d files look like code, so that an update of the application has to write the volume", r.Path, r.Code, r.Files))
		}
	}
	return out
}

func (p *planner) reasonsForOutside(w *pod) []string {
	var out []string
	for _, r := range p.rootsOf(w) {
		if r.Bytes > largeVolume {
			out = append(out, fmt.Sprintf("%s has %s (more than %s) in one volume: a copy takes hours, and a node's disk is its limit", r.Path, bytesize.Text(r.Bytes), bytesize.Text(largeVolume)))
		}
	}
	for _, s := range w.services {
		if s.profile != nil && s.profile.Data.School == handoff.Outside {
			out = append(out, fmt.Sprintf("the profile %s says so: %s", s.profile.Name, s.profile.Data.Outside))
		}
	}
	return out
}

func (p *planner) whyNotOutside(w *pod) string {
	for _, s := range w.services {
		if s.profile != nil && s.profile.Data.Outside != "" {
			return fmt.Sprintf("possible for %s (%s), but its data is small enough to move along", s.box.Name, s.profile.Data.Outside)
		}
	}
	return fmt.Sprintf("no volume is larger than %s", bytesize.Text(largeVolume))
}

// kernelRisks names modules and settings of the kernel that the host loads for
// its services: the node has to have them.
func (p *planner) kernelRisks() {
	for _, dir := range []string{"/etc/modules-load.d", "/etc/sysctl.d"} {
		list, err := p.host.root.ReadDir(hostpath.Path(dir))
		if err != nil {
			continue
		}
		for _, d := range list {
			path := hostpath.Path(dir).Join(d.Name())
			data, err := p.host.root.ReadFile(path, maxTable)
			if err != nil || strings.HasPrefix(d.Name(), "README") {
				continue
			}
			for i, line := range strings.Split(string(data), "\n") {
				line = strings.TrimSpace(line)
				if line == "" || line[0] == '#' || line[0] == ';' {
					continue
				}
				at := place(facts.Source{Path: path, Line: i + 1})
				if dir == "/etc/sysctl.d" {
					p.risk("low", at, fmt.Sprintf("the host sets the kernel parameter %s; a Pod has the node's", line), "set it on the node, or as a sysctl of the Pod where Kubernetes allows it")
				} else {
					p.risk("low", at, fmt.Sprintf("the host loads the kernel module %s; a Pod has the node's", line), "load it on the node")
				}
			}
		}
	}
}
