package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
)

// makeShares keeps network shares where they are: the same server and export,
// mounted by the workloads that reach below the mount point.
func (p *planner) makeShares(ctx context.Context) error {
	for _, f := range p.networkMounts() {
		given, err := p.givenUp(ctx, f)
		if err != nil {
			return err
		}
		if given {
			continue
		}
		server, export, ok := serverAndExport(f)
		if !ok {
			p.risk("high", f.Target.String(), fmt.Sprintf("%s: the share %s names no server", place(f.Source), f.Spec), "correct the line on the host")
			continue
		}
		sh := handoff.Share{
			Name: p.claims.Unique(kubename.Label("share-"+string(f.Target), 45), string(f.Target), 45), FSType: f.FSType, Server: server, Export: export,
			Path: f.Target, ReadOnly: slices.Contains(f.Options, "ro"), Evidence: claim.Evidence{Path: f.Path, Line: f.Line, Fact: f.FSType + " in fstab"},
		}
		for _, o := range f.Options {
			if mountOption(f.FSType, o) {
				sh.Options = append(sh.Options, o)
			}
		}
		if !sh.NFS() {
			if err := p.csiShare(ctx, f, &sh); err != nil {
				return err
			}
		}
		users, err := p.shareUsers(ctx, f.Target)
		if err != nil {
			return err
		}
		for _, s := range users {
			w := p.podOf(s)
			if !slices.Contains(sh.Users, w.Name) {
				sh.Users = append(sh.Users, w.Name)
			}
			if sh.NFS() || sh.Driver != "" {
				w.addVolume(handoff.PodVolume{Name: sh.Name, Origin: handoff.FromShare, Of: sh.Name})
				s.addMount(handoff.Mount{Volume: sh.Name, Path: f.Target, ReadOnly: sh.ReadOnly})
			}
		}
		slices.Sort(sh.Users)
		p.plan.Shares = append(p.plan.Shares, sh)
	}
	return nil
}

// givenUp tells whether the user decided that the mount point is no share, and
// says what that means for who used it.
func (p *planner) givenUp(ctx context.Context, f facts.Fstab) (bool, error) {
	e, err := p.host.cat.Lookup(ctx, f.Target)
	switch {
	case errors.Is(err, catalog.ErrNoPath):
		return false, nil // fstab alone knows of it
	case err != nil:
		return false, err
	case e.Class == "" || e.Class == claim.Share:
		return false, nil
	}
	p.risk("low", f.Target.String(), fmt.Sprintf("%s: the share %s is left out, since %s is of class %s by your decision", place(f.Source), f.Spec, f.Target, e.Class),
		"nothing, if no workload needs what is there")
	return true, nil
}

// networkMounts are the shares of fstab and, of a live root, those that are
// mounted without a line there. A local file system that is mounted below the
// source was not scanned; that is said.
func (p *planner) networkMounts() []facts.Fstab {
	var out []facts.Fstab
	known := map[hostpath.Path]bool{}
	for _, f := range p.host.fstab {
		known[f.Target] = true
		if f.Network() {
			out = append(out, f)
		}
	}
	for _, m := range p.mounts {
		f := facts.Fstab{Spec: m.Device, Target: m.Path, FSType: m.FSType}
		switch {
		case m.Virtual || m.FSType == "tmpfs":
		case f.Network():
			if !known[m.Path] {
				out = append(out, f)
			}
		default:
			p.risk("high", m.Path.String(), fmt.Sprintf("is another file system (%s on %s, %s of %s used), which was not descended into: nothing of it is in this plan", m.FSType, m.Device, bytesize.Text(m.Used), bytesize.Text(m.Size)), "lift it as a source of its own, or decide that it is not needed")
		}
	}
	return out
}

func serverAndExport(f facts.Fstab) (server, export string, ok bool) {
	if rest, unc := strings.CutPrefix(f.Spec, "//"); unc {
		server, export, ok = strings.Cut(rest, "/")
		return server, export, ok && server != ""
	}
	if strings.HasPrefix(f.Spec, "[") { // an IPv6 address
		server, export, ok = strings.Cut(f.Spec, "]:")
		return strings.TrimPrefix(server, "["), export, ok
	}
	server, export, ok = strings.Cut(f.Spec, ":")
	return server, export, ok && server != "" && strings.HasPrefix(export, "/")
}

// mountOption keeps what a PersistentVolume's mountOptions may hold: not what
// only fstab(5), systemd or the automounter reads, and no credential.
func mountOption(fstype, o string) bool {
	name, _, _ := strings.Cut(o, "=")
	switch name {
	case "defaults", "rw", "ro", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "comment", "bg", "fg",
		"username", "password", "credentials", "cred", "domain", "pass":
		return false
	}
	return !strings.HasPrefix(o, "x-") && !strings.Contains(o, facts.Redacted) && o != "" && fstype != ""
}

// shareUsers are the services that name something at or below the mount point,
// or whose volumes hold a link to it.
func (p *planner) shareUsers(ctx context.Context, target hostpath.Path) ([]*service, error) {
	links, err := p.linksInto(ctx, target)
	if err != nil {
		return nil, err
	}
	var out []*service
	for _, s := range p.services {
		byName := p.mentioned(s, target) != ""
		byLink := slices.ContainsFunc(links, func(from hostpath.Path) bool {
			return slices.ContainsFunc(s.box.Mounts, func(m handoff.Mount) bool { return from.Within(m.Path) })
		})
		if byName || byLink {
			out = append(out, s)
		}
	}
	return out, nil
}

// linksInto are symlinks in volumes that lead to the mount point or below it.
func (p *planner) linksInto(ctx context.Context, target hostpath.Path) ([]hostpath.Path, error) {
	rows, err := p.host.cat.Query(ctx, `SELECT e.path FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last
		WHERE e.type = 'l' AND p.class = 'volume' AND (e.target = ? OR e.target >= ? AND e.target < ?) ORDER BY e.id LIMIT 100`,
		string(target), string(target)+"/", string(target)+"0")
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	var out []hostpath.Path
	for rows.Next() {
		var path []byte
		if err := rows.Scan(&path); err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		out = append(out, hostpath.Path(path))
	}
	return out, rows.Err()
}
