package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/tree"
)

const (
	gib = 1 << 30
	// headroom is what a volume gets above its content when the user says
	// nothing.
	headroom = 0.3
)

// makeVolumes makes one volume of each root that the split found, and empty ones
// where jobs write what is object by now.
func (p *planner) makeVolumes(ctx context.Context) error {
	for _, root := range p.split.Volumes {
		ties, err := p.tiesTo(ctx, root)
		if err != nil {
			return err
		}
		v := handoff.Volume{
			Path: root.Path, Seed: true, Reason: root.Reason, Entries: root.Entries, Files: root.Files, Bytes: root.Bytes,
			Mode: root.Mode, UID: root.UID, GID: root.GID, Confidence: root.Confidence,
		}
		p.finishVolume(v, ties)
	}
	return p.emptyVolumes(ctx)
}

// finishVolume adds what follows from who uses the volume, and mounts it there.
func (p *planner) finishVolume(v handoff.Volume, ties []tie) {
	d, _ := p.volumeDecision(v.Path)
	v.Name = p.claims.Unique(kubename.Label(firstOf(d.Name, string(v.Path)), 45), string(v.Path), 45)
	v.Request = request(v.Bytes, cmp.Or(d.Headroom, headroom))
	if n := int64(d.Size); n > 0 {
		v.Request = n
		if n < v.Bytes {
			p.risk("high", v.Path.String(), fmt.Sprintf("%s gives the volume %d bytes, and its content is %d", p.decisions.At(d.Line), n, v.Bytes), "give it more")
		}
	}
	v.Class = d.StorageClass
	p.decideAccess(&v, ties)
	if d.AccessMode != "" {
		v.AccessMode, v.WhyAccess = d.AccessMode, p.decisions.At(d.Line)+" says so"
	}
	for _, t := range ties {
		if t.s.profile != nil && len(t.s.profile.Data.Check) > 0 && len(v.Check) == 0 && t.writes {
			v.Check, v.CheckIn = t.s.profile.Data.Check, p.podOf(t.s).Name+"/"+t.s.box.Name
		}
		if why := unmountable(v.Path); why != "" {
			p.risk("high", t.s.id, fmt.Sprintf("%s cannot be mounted there: %s", v.Path, why), "move it on the host, or mount the directory above it")
			continue
		}
		w := p.podOf(t.s)
		pv := handoff.PodVolume{Name: v.Name, Origin: handoff.FromVolume, Of: v.Name}
		if !v.Seed {
			pv.Dirs = []handoff.EphemeralDir{{Path: v.Path, UID: v.UID, GID: v.GID, Mode: v.Mode, Reason: v.Reason}}
		}
		w.addVolume(pv)
		t.s.addMount(handoff.Mount{Volume: v.Name, Path: v.Path, ReadOnly: !t.writes})
	}
	p.plan.Volumes = append(p.plan.Volumes, v)
}

// unmountable says why Kubernetes cannot mount anything at the path, "" when it
// can: a mountPath is UTF-8 and holds no colon.
func unmountable(p hostpath.Path) string {
	switch s := string(p); {
	case !utf8.ValidString(s):
		return "its name is not UTF-8"
	case strings.Contains(s, ":"):
		return "its name holds a colon"
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		return "its name holds a control character"
	}
	return ""
}

// request is the size of a claim: content with room, in whole GiB, at least one.
func request(bytes int64, room float64) int64 {
	n := bytes + int64(float64(bytes)*room)
	return max(1, (n+gib-1)/gib) * gib
}

// decideAccess says to whom the volume belongs, who writes it, and which access
// mode follows.
func (p *planner) decideAccess(v *handoff.Volume, ties []tie) {
	var writers, readers []string // workloads
	add := func(list []string, name string) []string {
		if slices.Contains(list, name) {
			return list
		}
		return append(list, name)
	}
	jobs := false
	for _, t := range ties {
		w := p.podOf(t.s)
		box := w.Name + "/" + t.s.box.Name
		if t.writes {
			v.Writers = append(v.Writers, box)
			writers = add(writers, w.Name)
		} else {
			v.Readers = append(v.Readers, box)
			readers = add(readers, w.Name)
		}
		jobs = jobs || t.s.job()
	}
	slices.Sort(v.Writers)
	slices.Sort(v.Readers)
	v.Owner = owner(p, ties)
	v.AccessMode = "ReadWriteOnce"
	all := writers
	for _, r := range readers {
		all = add(all, r)
	}
	switch {
	case len(all) == 0:
		v.WhyAccess = "nobody is known to use it; it is kept with its content"
	case len(all) == 1 && len(writers) == 0:
		v.WhyAccess = fmt.Sprintf("only %s uses it, and reads it only; ReadOnlyMany would let several replicas share it", all[0])
	case len(all) == 1:
		v.WhyAccess = fmt.Sprintf("only %s uses it; with more than one replica it would have to be ReadWriteMany", all[0])
	case len(writers) <= 1:
		v.WhyAccess = fmt.Sprintf("%s writes it and %s reads it: they must run on one node; ReadWriteMany is needed when they shall not", firstOf(strings.Join(writers, ", "), "nobody"), strings.Join(without(all, writers), ", "))
	default:
		v.WhyAccess = fmt.Sprintf("%s write it: several writers, so they must run on one node; ReadWriteMany is needed when they shall run on several", strings.Join(writers, ", "))
		if !jobs {
			p.plan.Questions = append(p.plan.Questions, handoff.Question{
				ID: "access-" + v.Name, About: v.Path.String(),
				Text:    fmt.Sprintf("%s are workloads of their own and write %s. Shall they stay on one node (ReadWriteOnce), or is there a storage class for several nodes?", strings.Join(writers, " and "), v.Path),
				Choices: []string{"ReadWriteOnce", "ReadWriteMany"}, Default: "ReadWriteOnce",
			})
			if a := p.answer("access-" + v.Name); a != "" {
				v.AccessMode = a
			}
		}
	}
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

// owner is the workload that the volume belongs to: the first service that
// writes it, else that reads it, else a job.
func owner(p *planner, ties []tie) string {
	best, rank := "", 0
	for _, t := range ties {
		r := 1
		if t.writes {
			r++
		}
		if !t.s.job() {
			r += 2
		}
		if r > rank {
			best, rank = p.podOf(t.s).Name, r
		}
	}
	return best
}

// emptyVolumes are for jobs that go on writing where today's files are objects,
// such as dumps in /var/backups: a new file must not vanish with its Pod.
func (p *planner) emptyVolumes(ctx context.Context) error {
	ties := map[hostpath.Path][]tie{}
	var order []hostpath.Path
	for _, s := range p.services {
		if !s.job() {
			continue
		}
		for _, m := range s.mentions {
			dir, ok, err := p.objectDirectory(ctx, m.path)
			if err != nil {
				return err
			}
			if !ok || tooWide(dir) || slices.ContainsFunc(ties[dir], func(t tie) bool { return t.s == s }) {
				continue
			}
			if ok, err = p.mayWrite(ctx, s, dir, 1); err != nil {
				return err
			} else if !ok {
				continue
			}
			if ties[dir] == nil {
				order = append(order, dir)
			}
			ties[dir] = append(ties[dir], tie{s, true, m.how})
		}
	}
	slices.SortFunc(order, hostpath.Compare)
	for i, dir := range order {
		if i > 0 && dir.Within(order[i-1]) {
			continue
		}
		entry, err := p.host.cat.Lookup(ctx, dir)
		if err != nil {
			return err
		}
		p.finishVolume(handoff.Volume{
			Path: dir, Reason: "what is here now goes to the object store; what is written from now on is kept here",
			Mode: entry.Mode, UID: entry.UID, GID: entry.GID, Confidence: claim.Medium,
		}, ties[dir])
	}
	return nil
}

// objectDirectory is the directory at or above the path that holds objects now,
// when it is in no volume.
func (p *planner) objectDirectory(ctx context.Context, path hostpath.Path) (hostpath.Path, bool, error) {
	for _, v := range p.split.Volumes {
		if path.Within(v.Path) {
			return "", false, nil
		}
	}
	for _, d := range p.split.Ephemeral {
		if path.Within(d.Path) {
			return "", false, nil
		}
	}
	dir := path
	entry, err := p.host.cat.Lookup(ctx, dir)
	if err != nil || entry.Type != tree.Directory {
		dir = path.Dir()
		if entry, err = p.host.cat.Lookup(ctx, dir); err != nil {
			return "", false, nil // made at run time, below something that is not there either
		}
	}
	if entry.Type != tree.Directory || tooWide(dir) {
		return "", false, nil
	}
	from, to, err := p.host.cat.Span(string(dir) + "/")
	if err != nil {
		return "", false, err
	}
	rows, err := p.host.cat.Query(ctx, "SELECT 1 FROM placements WHERE last >= ? AND entry < ? AND class = 'object' LIMIT 1", from, to)
	if err != nil {
		return "", false, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	found := rows.Next()
	return dir, found, rows.Err()
}

func (p *planner) podOf(s *service) *pod {
	for _, w := range p.pods {
		if slices.Contains(w.services, s) {
			return w
		}
	}
	return nil // every service is in a Pod: makeWorkloads came before
}

// addVolume gives the Pod a volume once.
func (w *pod) addVolume(v handoff.PodVolume) {
	if !slices.ContainsFunc(w.Mounts, func(m handoff.PodVolume) bool { return m.Name == v.Name }) {
		w.Mounts = append(w.Mounts, v)
	}
}

// addMount mounts something once at a place. A second one there is writable when
// either is.
func (s *service) addMount(m handoff.Mount) {
	for i := range s.box.Mounts {
		if s.box.Mounts[i].Path == m.Path {
			s.box.Mounts[i].ReadOnly = s.box.Mounts[i].ReadOnly && m.ReadOnly
			return
		}
	}
	s.box.Mounts = append(s.box.Mounts, m)
}
