package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/tree"
)

// bringObjects mounts the directories whose files the user wants as objects:
// each Pod of a service that uses one has a copy of its own, from the bucket.
func (p *planner) bringObjects(ctx context.Context) error {
	for _, d := range p.decisions.Workloads {
		if d.Externalize != decisions.Objects {
			continue
		}
		for _, dir := range d.Directories {
			if err := p.bringDirectory(ctx, d, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *planner) bringDirectory(ctx context.Context, d decisions.Workload, dir hostpath.Path) error {
	at := p.decisions.At(d.Line)
	e, err := p.host.cat.Lookup(ctx, dir)
	switch {
	case errors.Is(err, catalog.ErrNoPath):
		p.blocked = append(p.blocked, fmt.Sprintf("%s: workload %s: the host has no %s", at, d.Name, dir))
		return nil
	case err != nil:
		return err
	case e.Type != tree.Directory || unmountable(dir) != "":
		p.blocked = append(p.blocked, fmt.Sprintf("%s: workload %s: %s is no directory that can be mounted", at, d.Name, dir))
		return nil
	}
	ties, err := p.tiesTo(ctx, handoff.VolumeRoot{Path: dir, UID: e.UID, GID: e.GID, Mode: e.Mode})
	if err != nil {
		return err
	}
	name := p.claims.Unique(kubename.Label("objects-"+string(dir), maxWorkload), string(dir), maxWorkload)
	var users []string
	for _, s := range p.services {
		own := slices.Contains(d.Units, s.id)
		if !own && !slices.ContainsFunc(ties, func(t tie) bool { return t.s == s }) {
			continue
		}
		p.podOf(s).addVolume(handoff.PodVolume{
			Name: name, Origin: handoff.FromObjects, Of: dir.String(),
			Dirs: []handoff.EphemeralDir{{Path: dir, UID: e.UID, GID: e.GID, Mode: e.Mode, Reason: at + " says that its files are objects"}},
		})
		s.addMount(handoff.Mount{Volume: name, Path: dir, ReadOnly: d.ReadOnly})
		users = append(users, s.box.Name)
	}
	if d.ReadOnly {
		p.risk("medium", dir.String(), fmt.Sprintf("%s cannot write to it any more (%s)", strings.Join(users, ", "), at),
			"new files go into the bucket by hand or by the application's own means, and into the Pods with the next lift")
	} else {
		p.risk("high", dir.String(), fmt.Sprintf("what %s writes there goes with its Pod, and no other Pod sees it (%s)", strings.Join(users, ", "), at),
			"let the application write to a bucket itself, say readOnly: true, or keep the directory as a volume")
	}
	p.risk("low", dir.String(), "each Pod fetches all of it when it starts, and a credential of the bucket stays in the cluster as long as the workload",
		"run statelift with a key that may only read the bucket once the lift is made, and keep large archives out of the directory")
	return nil
}
