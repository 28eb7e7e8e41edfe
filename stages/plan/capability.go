package plan

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// setCapabilities decides which capabilities the container keeps; all others
// are dropped.
func (p *planner) setCapabilities(ctx context.Context, s *service) {
	var keep []string
	if s.profile != nil {
		for _, c := range s.profile.Run.Capabilities {
			keep = append(keep, capabilityName(c))
		}
	}
	if s.box.StartsAsRoot && len(keep) == 0 {
		keep = capabilitiesOfRoot()
		if bound, ok := p.bounding(s); ok {
			keep = slices.DeleteFunc(keep, func(c string) bool { return !slices.Contains(bound, c) })
		}
		if !s.job() && s.profile == nil && len(s.workers) > 0 {
			p.risk("low", s.id, "starts as root and changes to its user by itself: it keeps "+strings.Join(keep, ", "), "let it start as its user, if its script allows that")
		} else if !s.job() && s.profile == nil {
			p.risk("medium", s.id, "runs as root, and no profile knows what it needs: it keeps "+strings.Join(keep, ", ")+" only", "give it a user of its own, or list its capabilities in an overlay")
		}
	}
	for _, d := range s.unit.Values("Service", "AmbientCapabilities") {
		for c := range strings.FieldsSeq(d.Value) {
			name := capabilityName(c)
			s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: "AmbientCapabilities=" + c})
			if name == "NET_BIND_SERVICE" {
				continue // the safe sysctl does it
			}
			if s.box.StartsAsRoot {
				keep = append(keep, name)
				continue
			}
			p.risk("low", s.id, "had "+name+" as a user other than root; Kubernetes gives added capabilities to root only", "if it does not do without, let it run as root with this capability alone, or set the capability on its program")
		}
	}
	if program := p.programOf(s); program != "" {
		// A program with an effective capability of its own does not start where
		// the container may not have it (capabilities(7)).
		entry, err := p.host.cat.Lookup(ctx, program)
		if err == nil {
			for _, x := range entry.Xattrs {
				if x.Name == "security.capability" {
					has := fileCapabilities(x.Value)
					keep = append(keep, has...)
					s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: program, Fact: "has the capabilities " + strings.Join(has, ", ")})
					s.box.Escalates = slices.ContainsFunc(has, func(c string) bool { return c != "NET_BIND_SERVICE" })
				}
			}
		}
	}
	slices.Sort(keep)
	s.box.Capabilities = slices.Compact(keep)
}

// bounding is CapabilityBoundingSet= when it lists what is kept.
func (p *planner) bounding(s *service) ([]string, bool) {
	var out []string
	found := false
	for _, d := range s.unit.Values("Service", "CapabilityBoundingSet") {
		if strings.HasPrefix(d.Value, "~") {
			return nil, false
		}
		found = true
		for c := range strings.FieldsSeq(d.Value) {
			out = append(out, capabilityName(c))
		}
	}
	return out, found
}

// programOf is the service's own program, behind a shell wrapper or script.
func (p *planner) programOf(s *service) hostpath.Path {
	switch {
	case s.script != nil:
		return s.script.Daemon
	case s.cron != nil || len(s.box.Command) == 0:
		return ""
	case len(s.box.Command) > 4 && s.box.Command[0] == "/bin/sh" && s.box.Command[3] == "sh":
		return hostpath.Clean(s.box.Command[4])
	}
	return hostpath.Clean(s.box.Command[0])
}

// capabilityNames in the order of their numbers (linux/capability.h).
func capabilityNames() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
		"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
		"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
		"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
		"PERFMON", "BPF", "CHECKPOINT_RESTORE",
	}
}

// fileCapabilities reads the permitted set of a security.capability attribute
// (struct vfs_cap_data, linux/capability.h: revision and flags, then pairs of
// permitted and inheritable words).
func fileCapabilities(value []byte) []string {
	var out []string
	if len(value) < 12 {
		return nil
	}
	words := 1
	if binary.LittleEndian.Uint32(value)>>24 >= 2 && len(value) >= 20 {
		words = 2
	}
	for w := range words {
		bits := binary.LittleEndian.Uint32(value[4+8*w:])
		for b := range 32 {
			if bits&(1<<b) == 0 {
				continue
			}
			if n := 32*w + b; n < len(capabilityNames()) {
				out = append(out, capabilityNames()[n])
			} else {
				out = append(out, fmt.Sprint(n))
			}
		}
	}
	return out
}
