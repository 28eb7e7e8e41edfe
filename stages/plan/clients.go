package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// findClients tells which applications jobs belong to, by the packages of the
// files that they name, and of which services they run a client.
func (p *planner) findClients(ctx context.Context) error {
	for _, s := range p.services {
		if !s.job() {
			continue
		}
		for _, m := range s.mentions {
			pkg, err := p.host.packageOf(ctx, m.path)
			if err != nil {
				return err
			}
			for _, q := range p.known.unitless {
				if pkg != "" && q != s.profile && !slices.Contains(s.guests, q) && ofPackage(q, pkg) {
					s.guests = append(s.guests, q)
				}
			}
		}
		for _, prog := range s.programs {
			if err := p.findClient(ctx, s, prog); err != nil {
				return err
			}
		}
	}
	return nil
}

// findClient looks for the service whose packages brought the program.
func (p *planner) findClient(ctx context.Context, s *service, prog program) error {
	for dir := range strings.SplitSeq(defaultPath, ":") {
		pkg, err := p.host.packageOf(ctx, hostpath.Path(dir).Join(prog.name))
		if err != nil {
			return err
		}
		if pkg == "" {
			continue
		}
		for _, b := range p.services {
			local := slices.ContainsFunc(b.listens, func(l facts.Listener) bool { return l.Loopback() })
			if b.job() || b.profile == nil || !local || !p.clientPackage(b, pkg) || p.namesRemote(prog.line) {
				continue
			}
			p.clients = append(p.clients, bond{s, b, fmt.Sprintf("%s runs %s, a client of %s (%s)", s.box.Name, prog.name, b.box.Name, place(prog.Source))})
		}
		return nil
	}
	return nil
}

// clientPackage reports whether a package belongs to the service's application:
// it is one of the profile's, or has the first part of its name in common with
// the service's own (mariadb-client and mariadb-server).
func (p *planner) clientPackage(b *service, pkg string) bool {
	if ofPackage(b.profile, pkg) {
		return true
	}
	own, _, compound := strings.Cut(firstOf(b.packageName(), b.profile.Name), "-")
	first, _, _ := strings.Cut(pkg, "-")
	return first == own && (compound || first == b.profile.Name)
}

func ofPackage(q *profile.Profile, pkg string) bool {
	return slices.ContainsFunc(q.Recognise.Packages, func(g string) bool { return glob(g, pkg) })
}

// namesRemote reports whether a command names another host to connect to.
func (p *planner) namesRemote(line string) bool {
	f := strings.Fields(line)
	for i, w := range f {
		host, ok := strings.CutPrefix(w, "--host=")
		if !ok && (w == "-h" || w == "--host") && i+1 < len(f) {
			host, ok = f[i+1], true
		}
		if ok && !p.isOwn(strings.Trim(host, `"'`)) {
			return true
		}
	}
	return false
}

// packageOf is the package that owns the path, or what a link at it leads to;
// "" when none does or the path is not there.
func (h *host) packageOf(ctx context.Context, path hostpath.Path) (string, error) {
	e, err := h.cat.Lookup(ctx, path)
	if errors.Is(err, catalog.ErrNoPath) {
		resolved, rerr := h.root.Resolve(path)
		if rerr != nil || resolved == path {
			return "", nil // not there
		}
		if e, err = h.cat.Lookup(ctx, resolved); errors.Is(err, catalog.ErrNoPath) {
			return "", nil
		}
	}
	if err != nil {
		return "", err
	}
	return e.Package, nil
}

// shareSockets lets jobs reach a service over its Unix socket: the run-time
// directory becomes a small volume that both mount, on one node. What a job
// reaches over loopback it cannot reach from its own Pod; that is said.
func (p *planner) shareSockets(context.Context) error {
	for _, b := range p.bonds {
		from, to := p.podOf(b.from), p.podOf(b.to)
		if from == to || p.led[bondKey{b.from, b.to}] {
			continue
		}
		shared := false
		for _, l := range b.to.listens {
			if l.Protocol == "unix" && strings.HasPrefix(l.Address, "/") {
				dir := hostpath.Clean(l.Address).Dir()
				if real, err := p.host.root.Resolve(dir); err == nil { // /var/run leads to /run
					dir = real
				}
				shared = p.shareDirectory(b, dir) || shared
			}
		}
		if !shared {
			remedy := "let it use the name of the Service " + p.plan.ObjectName(to.Name)
			if len(b.to.box.Ports) == 0 {
				remedy = fmt.Sprintf("let %s listen on all addresses and %s use the name of the Service %s, or make them one workload", b.to.box.Name, b.from.box.Name, p.plan.ObjectName(to.Name))
			}
			p.risk("high", b.from.id, b.why+"; in a Pod of its own it does not find it on localhost", remedy)
		}
	}
	return nil
}

// shareDirectory turns an emptyDir of the service's Pod into a volume. It is
// false when the directory is no emptyDir there.
func (p *planner) shareDirectory(b bond, dir hostpath.Path) bool {
	to := p.podOf(b.to)
	mount := slices.IndexFunc(b.to.box.Mounts, func(m handoff.Mount) bool { return dir.Within(m.Path) && m.Path != "/" && inRun(m.Path) })
	if mount < 0 || p.answer(p.socketQuestion(b.to)) == "network" {
		return false
	}
	name, path := b.to.box.Mounts[mount].Volume, b.to.box.Mounts[mount].Path
	i := slices.IndexFunc(to.Mounts, func(v handoff.PodVolume) bool { return v.Name == name })
	if to.Mounts[i].Origin == handoff.FromEphemeral {
		d := to.Mounts[i].Dirs[0]
		volume := p.claims.Unique(p.socketQuestion(b.to), "socket of "+b.to.id, maxWorkload)
		p.plan.Volumes = append(p.plan.Volumes, handoff.Volume{
			Name: volume, Path: path, Reason: "the socket of " + b.to.box.Name + " is here; jobs in Pods of their own reach it through this volume",
			Request: gib, Mode: d.Mode, UID: d.UID, GID: d.GID, AccessMode: "ReadWriteOnce", Owner: to.Name, Confidence: claim.Medium,
			Writers:   []string{to.Name + "/" + b.to.box.Name},
			WhyAccess: "a socket works between Pods of one node only",
		})
		to.Mounts[i] = handoff.PodVolume{Name: volume, Origin: handoff.FromVolume, Of: volume, Dirs: to.Mounts[i].Dirs}
		for _, s := range to.services {
			for j := range s.box.Mounts {
				if s.box.Mounts[j].Volume == name {
					s.box.Mounts[j].Volume = volume
				}
			}
		}
		p.ask(handoff.Question{
			ID: volume, About: b.to.id,
			Text:    fmt.Sprintf("%s. Jobs run in Pods of their own; the directory %s with the socket becomes a small volume that both mount on one node. The alternative is to let the service listen on the network, and the job to use the Service's name.", b.why, path),
			Choices: []string{"volume", "network"}, Default: "volume",
		})
		name = volume
	}
	pv := to.Mounts[i]
	from := p.podOf(b.from)
	from.addVolume(handoff.PodVolume{Name: pv.Name, Origin: pv.Origin, Of: pv.Of})
	b.from.addMount(handoff.Mount{Volume: name, Path: path})
	for j := range p.plan.Volumes {
		v := &p.plan.Volumes[j]
		box := from.Name + "/" + b.from.box.Name
		if v.Name == name && !slices.Contains(v.Writers, box) {
			v.Writers = append(v.Writers, box)
		}
	}
	return true
}
