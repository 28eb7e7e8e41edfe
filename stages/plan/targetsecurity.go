package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// The levels of the Pod security standards, from lax to strict.
const (
	privileged = "privileged"
	baseline   = "baseline"
	restricted = "restricted"
)

// baselineCapabilities are those that a Pod may add at the level baseline (Pod
// Security Standards, "Capabilities").
func baselineCapabilities() []string {
	return []string{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
		"SETUID", "SYS_CHROOT",
	}
}

// security compares the Pods with the level that the namespace enforces.
func (j *judge) security() {
	level := j.target.PodSecurity
	if level != baseline && level != restricted {
		return
	}
	var reasons, prepared []string
	wanted := baseline
	for _, w := range j.plan.Workloads {
		for _, c := range w.Containers {
			if beyond := beyondBaseline(c); len(beyond) > 0 {
				wanted = privileged
				reasons = append(reasons, fmt.Sprintf("container %s of %s adds %s", c.Name, w.Name, strings.Join(beyond, ", ")))
			}
		}
		if level == restricted {
			reasons = append(reasons, beyondRestricted(w)...)
			if prepares(j.plan, w) {
				prepared = append(prepared, w.Name)
			}
		}
	}
	if len(prepared) > 0 {
		reasons = append(reasons, fmt.Sprintf("an init container gives directories and files their owners, as root, in the Pods of %s", strings.Join(prepared, ", ")))
	}
	if level == restricted && slices.ContainsFunc(j.plan.Volumes, func(v handoff.Volume) bool { return v.Seed }) {
		reasons = append(reasons, "the copy Jobs run as root with CHOWN, DAC_OVERRIDE, FOWNER and the like, since they give files their owners")
	}
	if len(reasons) == 0 {
		return
	}
	j.block("workload", fmt.Sprintf("%s enforces the Pod security level %s, which forbids Pods of the plan: %s", j.where(), level, strings.Join(reasons, "; ")),
		fmt.Sprintf("lift into a namespace of its own, which deploy makes with the level %s: --namespace", wanted),
		fmt.Sprintf("have the level lowered: kubectl label --overwrite namespace %s pod-security.kubernetes.io/enforce=%s", j.target.Namespace, wanted))
}

func beyondBaseline(c handoff.Container) (out []string) {
	for _, name := range c.Capabilities {
		if !slices.Contains(baselineCapabilities(), name) {
			out = append(out, name)
		}
	}
	return out
}

// beyondRestricted is what the level restricted forbids of a workload's own
// containers, and baseline allows.
func beyondRestricted(w handoff.Workload) (out []string) {
	for _, c := range w.Containers {
		var why []string
		if c.UID == 0 {
			why = append(why, "runs as root")
		}
		adds := slices.DeleteFunc(slices.Clone(c.Capabilities), func(name string) bool {
			return name == "NET_BIND_SERVICE" || !slices.Contains(baselineCapabilities(), name)
		})
		if len(adds) > 0 {
			why = append(why, "adds "+strings.Join(adds, ", "))
		}
		if c.Escalates {
			why = append(why, "gains capabilities by its program file (allowPrivilegeEscalation)")
		}
		if len(why) > 0 {
			out = append(out, fmt.Sprintf("container %s of %s %s", c.Name, w.Name, strings.Join(why, " and ")))
		}
	}
	return out
}

// prepares reports whether the Pods need the init container that gives
// directories and files their owners (stages/manifests, preparation).
func prepares(pl handoff.Plan, w handoff.Workload) bool {
	for _, v := range w.Mounts {
		if len(v.Files) > 0 || len(v.Dirs) > 1 {
			return true
		}
		for _, d := range v.Dirs {
			if d.UID != 0 || d.GID != 0 || d.Mode != 0o1777 || linksBelow(w, d) {
				return true
			}
		}
		if v.Origin != handoff.FromConfig && v.Origin != handoff.FromSecret {
			continue
		}
		sets := pl.Configs
		if v.Origin == handoff.FromSecret {
			sets = pl.Secrets
		}
		if slices.ContainsFunc(sets, func(f handoff.FileSet) bool { return f.Name == v.Of && copied(w, v, f) }) {
			return true
		}
	}
	return false
}

// linksBelow reports whether a log file below the directory becomes a link.
func linksBelow(w handoff.Workload, d handoff.EphemeralDir) bool {
	for _, c := range w.Containers {
		for path := range c.LogLinks {
			if path != d.Path && path.Within(d.Path) {
				return true
			}
		}
	}
	return false
}

// copied reports whether a file of the set is mounted as a copy.
func copied(w handoff.Workload, v handoff.PodVolume, set handoff.FileSet) bool {
	return slices.ContainsFunc(set.Files, func(f handoff.KeyFile) bool {
		return f.Copied && slices.ContainsFunc(w.Containers, func(c handoff.Container) bool {
			return slices.ContainsFunc(c.Mounts, func(m handoff.Mount) bool { return m.Volume == v.Name && m.SubPath == f.Key })
		})
	})
}
