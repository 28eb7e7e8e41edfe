package plan

import (
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
)

// defaults of a service of which nothing is known: little is asked for, and
// nothing is limited, since a limit that is too low kills what ran well.
const (
	defaultCPU    = 100       // millicores
	defaultMemory = 128 << 20 // bytes
	jobCPU        = 50
	jobMemory     = 64 << 20
)

func (p *planner) setResources(s *service) {
	r := handoff.Resources{CPU: defaultCPU, Memory: defaultMemory}
	if s.job() {
		r = handoff.Resources{CPU: jobCPU, Memory: jobMemory}
	}
	if known := p.runOf(s).Resources; known != (handoff.Resources{}) {
		if known.CPU > 0 {
			r.CPU = known.CPU
		}
		if known.Memory > 0 {
			r.Memory = known.Memory
		}
		r.MemoryLimit = known.MemoryLimit
	}
	for _, key := range []string{"MemoryMax", "MemoryLimit"} {
		if d, ok := s.unit.Last("Service", key); ok {
			if n := sizeOf(d.Value); n > 0 {
				r.MemoryLimit = n
				r.Memory = min(r.Memory, n)
				s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: key + "=" + d.Value})
				break
			}
		}
	}
	for _, key := range []string{"MemoryMin", "MemoryLow"} {
		if d, ok := s.unit.Last("Service", key); ok && sizeOf(d.Value) > r.Memory {
			r.Memory = sizeOf(d.Value)
		}
	}
	p.raiseMemory(s, &r)
	if r.MemoryLimit > 0 {
		r.Memory = min(r.Memory, r.MemoryLimit)
	}
	s.box.Resources = r
}

// raiseMemory makes room for the buffers that an administrator gave a database:
// it asks for all of them, and a limit leaves as much again.
func (p *planner) raiseMemory(s *service, r *handoff.Resources) {
	for _, v := range p.host.settings {
		if s.profile == nil || v.Profile != s.profile.Name {
			continue
		}
		for _, key := range []string{"innodb_buffer_pool_size", "key_buffer_size", "shared_buffers", "maxmemory"} {
			n := sizeOf(strings.TrimSuffix(strings.ToUpper(strings.Trim(v.Value, `'"`)), "B"))
			if n <= r.Memory/2 || !profile.MatchKey(key, v.Key) {
				continue
			}
			r.Memory = max(r.Memory, n+n/4)
			if r.MemoryLimit > 0 {
				r.MemoryLimit = max(r.MemoryLimit, 2*n)
			}
			s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: v.Path, Line: v.Line, Fact: v.Key + " = " + v.Value})
		}
	}
}

// sizeOf reads a size of systemd.resource-control(5): bytes, or with K, M, G, T
// to the base of 1024. 0 is none.
func sizeOf(s string) int64 {
	if s == "" {
		return 0
	}
	shift := map[byte]int{'K': 10, 'M': 20, 'G': 30, 'T': 40}[s[len(s)-1]]
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 40)
	if err != nil || n < 0 {
		return 0
	}
	return n << shift
}
