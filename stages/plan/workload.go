package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// finishWorkloads decides kind, replicas and place of the workloads, and puts
// their containers into the plan.
func (p *planner) finishWorkloads(context.Context) error {
	p.placeNear()
	for _, w := range p.pods {
		p.decideKind(w)
		for _, s := range w.services {
			slices.SortFunc(s.box.Mounts, func(a, b handoff.Mount) int { return hostpath.Compare(a.Path, b.Path) })
			w.Containers = append(w.Containers, s.box)
		}
		slices.SortFunc(w.Mounts, func(a, b handoff.PodVolume) int { return cmp.Compare(a.Name, b.Name) })
		if len(w.Service) == 0 {
			w.Service = nil
		}
	}
	return nil
}

func (p *planner) decideKind(w *pod) {
	var owned, used []string
	for _, v := range p.plan.Volumes {
		switch {
		case v.Owner == w.Name:
			owned = append(owned, v.Path.String())
		case slices.ContainsFunc(w.Mounts, func(m handoff.PodVolume) bool { return m.Origin == handoff.FromVolume && m.Of == v.Name }):
			used = append(used, v.Path.String())
		}
	}
	w.Replicas = 1
	switch {
	case w.External != nil:
		w.Kind, w.Replicas = handoff.StatefulSet, 0
		w.WhyKind = fmt.Sprintf("its data live at %s: %s; it has no Pods", w.External.Host, w.External.Why)
		return
	case w.services[0].job():
		w.Kind, w.WhyKind = handoff.CronJob, "it ran at "+w.Schedule+" by "+jobOrigin(w.services[0])
	case len(owned) > 0:
		w.Kind = handoff.StatefulSet
		w.WhyKind = fmt.Sprintf("it owns %s; one replica, since %s", strings.Join(owned, ", "), p.whyOne(w))
	case len(used) > 0:
		w.Kind = handoff.Deployment
		w.WhyKind = fmt.Sprintf("it owns no volume and uses %s of another workload; one replica, on that one's node", strings.Join(used, ", "))
	default:
		w.Kind = handoff.Deployment
		w.WhyKind = "it owns no volume; one replica, as there was one on the host, and more are possible when it keeps nothing in memory"
	}
	for _, s := range w.services {
		d, ok := p.workloadDecision(s.id)
		if !ok || w.Kind == handoff.CronJob {
			continue
		}
		if d.Kind != "" {
			w.Kind, w.WhyKind = handoff.WorkloadKind(d.Kind), p.decisions.At(d.Line)+" says so"
		}
		if d.Replicas != nil {
			w.Replicas = *d.Replicas
			if w.Replicas > 1 && len(owned) > 0 {
				p.risk("high", w.Name, fmt.Sprintf("%s asks for %d replicas, and it owns volumes that one replica may write", p.decisions.At(d.Line), w.Replicas), "keep one replica, or use storage that several nodes may write and an application that allows it")
			}
		}
	}
}

func jobOrigin(s *service) string {
	if s.cron != nil {
		return place(s.cron.Source)
	}
	return s.timer.Name
}

// whyOne says why a workload with volumes has one replica.
func (p *planner) whyOne(w *pod) string {
	for _, s := range w.services {
		if s.profile != nil && s.profile.Data.Writers == "one" {
			return s.box.Name + " allows one writer of its data"
		}
	}
	return "a ReadWriteOnce volume is written from one node, and nothing is known of the application that would let two instances share its files"
}

// placeNear puts workloads that share a ReadWriteOnce volume onto one node: all
// follow the first of them that is no job.
func (p *planner) placeNear() {
	group := map[string]string{} // workload → the one that it follows
	find := func(name string) string {
		for group[name] != "" && group[name] != name {
			name = group[name]
		}
		return name
	}
	job := map[string]bool{}
	for _, w := range p.pods {
		job[w.Name] = w.services[0].job()
	}
	for _, v := range p.plan.Volumes {
		if v.AccessMode == "ReadWriteMany" || v.AccessMode == "ReadOnlyMany" {
			continue
		}
		var users []string
		for _, box := range slices.Concat(v.Writers, v.Readers) {
			name, _, _ := strings.Cut(box, "/")
			users = append(users, name)
		}
		slices.SortFunc(users, func(a, b string) int {
			return cmp.Or(rank(job[a], a == v.Owner)-rank(job[b], b == v.Owner), cmp.Compare(a, b))
		})
		users = slices.Compact(users)
		for _, name := range users[min(1, len(users)):] {
			a, b := find(users[0]), find(name)
			if a == b {
				continue
			}
			if job[a] && !job[b] {
				a, b = b, a
			}
			group[b] = a
		}
	}
	for _, w := range p.pods {
		near := find(w.Name)
		if near == w.Name {
			continue
		}
		if job[near] {
			// A job runs now and then only; nothing can follow it to a node.
			p.risk("low", w.Name, fmt.Sprintf("shares a volume with the job %s: on two nodes at the same time, one waits for the other to end", near), "choose times that are apart, or a storage class that several nodes may mount")
			continue
		}
		w.Near = near
	}
}

func rank(job, owner bool) int {
	switch {
	case job:
		return 2
	case owner:
		return 0
	}
	return 1
}

// closeRoots finds containers whose image may be read-only: nothing of it can be
// written by the users as which they work, so that whatever they write is
// mounted.
func (p *planner) closeRoots(ctx context.Context) error {
	kinds, err := p.host.imageKinds(ctx)
	if err != nil {
		return err
	}
	for _, s := range p.services {
		if s.box.StartsAsRoot {
			d, ok := s.unit.Last("Service", "ProtectSystem")
			s.box.ReadOnlyRoot = ok && d.Value == "strict"
			continue
		}
		s.box.ReadOnlyRoot = !slices.ContainsFunc(s.identities(), func(id identity) bool {
			return slices.ContainsFunc(kinds, func(k fileKind) bool { return id.writes(k.uid, k.gid, k.mode) })
		})
	}
	return nil
}

// fileKind is what decides who may write a file.
type fileKind struct{ uid, gid, mode uint32 }

// imageKinds are the owners and modes of all directories and files of class
// image: few, however many files there are.
func (h *host) imageKinds(ctx context.Context) ([]fileKind, error) {
	rows, err := h.cat.Query(ctx, `SELECT DISTINCT e.uid, e.gid, e.mode & 146 FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last
		WHERE p.class = 'image' AND e.type IN ('d','f')`)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	var out []fileKind
	for rows.Next() {
		var k fileKind
		if err := rows.Scan(&k.uid, &k.gid, &k.mode); err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		out = append(out, k)
	}
	return out, rows.Err()
}
