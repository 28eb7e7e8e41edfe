package plan

import (
	"context"
	"fmt"
	"slices"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// manyFiles is where mounting file by file becomes slow and hard to read.
const manyFiles = 200

// configFile is a file of class config or secret and the services that need it.
type configFile struct {
	handoff.KeyFile
	services []*service
}

// makeFileSets packs configuration into ConfigMaps and credentials into Secrets,
// for each workload its own; what several workloads need is made once.
func (p *planner) makeFileSets(ctx context.Context) error {
	groups, err := p.configFiles(ctx)
	if err != nil {
		return err
	}
	if err := p.rewritten(ctx, groups); err != nil {
		return err
	}
	for _, class := range []claim.Class{claim.Config, claim.Secret} {
		p.addVariables(groups[class], class)
		if class == claim.Secret {
			p.addCredentials(groups[class])
		}
		for _, name := range sortedKeys(groups[class]) {
			p.packGroup(name, groups[class][name], class)
		}
	}
	for _, s := range p.services {
		p.finishEnvironment(s)
	}
	p.placeRewrites()
	return nil
}

// sharedGroup and unclaimedGroup are the names of the groups that belong to no
// single workload; a label cannot hold the slash.
const (
	sharedGroup    = "/shared"
	unclaimedGroup = "/unclaimed"
)

// grouped are files by class and by the workload that needs them.
type grouped map[claim.Class]map[string][]configFile

// configFiles collects the files of class config and secret. The list is kept in
// memory: configuration is small, and if it is not, the limit of a ConfigMap is
// the lesser problem.
func (p *planner) configFiles(ctx context.Context) (grouped, error) {
	rows, err := p.host.cat.Query(ctx, `SELECT e.path, e.size, e.mode, e.uid, e.gid, coalesce(e.package, ''), p.class, p.claim
		FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last WHERE p.class IN ('config', 'secret') AND e.type = 'f' ORDER BY e.id`)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	groups := grouped{claim.Config: {}, claim.Secret: {}}
	for rows.Next() {
		var e catalog.Placed
		var path []byte
		if err := rows.Scan(&path, &e.Size, &e.Mode, &e.UID, &e.GID, &e.Package, &e.Class, &e.Claim); err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		e.Path = hostpath.Path(path)
		if why := unmountable(e.Path); why != "" {
			p.blocked = append(p.blocked, fmt.Sprintf("%s cannot be mounted as a file: %s; give its directory the class volume under paths in statelift.yaml", e.Path, why))
			continue
		}
		if p.ofShare(e.Path) {
			continue // the share's own Secret holds it, as its driver wants it
		}
		f := configFile{KeyFile: handoff.KeyFile{Path: e.Path, Size: e.Size, Mode: e.Mode, UID: e.UID, GID: e.GID}}
		f.services = p.configServices(e)
		if p.onlyCredential(e.Path, f.services) {
			continue // it is in the set of each service by itself
		}
		f.Copied = mustCopy(f)
		group := p.groupOf(f.services)
		groups[e.Class][group] = append(groups[e.Class][group], f)
	}
	return groups, rows.Err()
}

// groupOf is the one workload of the services, or what several share.
func (p *planner) groupOf(services []*service) string {
	name := ""
	for _, s := range services {
		switch w := p.podOf(s); {
		case name == "":
			name = w.Name
		case name != w.Name:
			return sharedGroup
		}
	}
	if name == "" {
		return unclaimedGroup
	}
	return name
}

// configServices are the services that read the file: the one that the claim
// names, those whose application it belongs to, those that name it. A file in an
// application's directory that the application does not read itself, and that
// somebody else names, is that one's alone.
func (p *planner) configServices(e catalog.Placed) []*service {
	made, _ := p.host.claim(e.Claim)
	var named, other []*service
	for _, s := range p.services {
		exact := slices.ContainsFunc(s.mentions, func(m mention) bool { return m.path == e.Path })
		ofPackage := e.Package != "" && e.Package == s.packageName()
		switch {
		case exact || p.readsSettings(s, e.Path) || s.env.reads(e.Path):
			named = append(named, s)
		case made.Serves == s.id || ofPackage || p.claimedFor(s, e.Path) != "" || p.namesFile(s, e.Path):
			other = append(other, s)
		}
	}
	if len(named) > 0 && !slices.ContainsFunc(other, func(s *service) bool { return made.Serves == s.id && made.Reach == claim.Exact }) {
		return p.inOrder(named, p.guestsOf(e.Path, other))
	}
	return p.inOrder(named, other)
}

// readsSettings reports whether settings of the service's applications were read
// from the file.
func (p *planner) readsSettings(s *service, file hostpath.Path) bool {
	return slices.ContainsFunc(s.profiles(), func(q *profile.Profile) bool {
		return slices.ContainsFunc(p.host.settings, func(v facts.Setting) bool { return v.Profile == q.Name && v.Path == file })
	})
}

// guestsOf keeps services whose guest claims the file by name.
func (p *planner) guestsOf(file hostpath.Path, services []*service) []*service {
	return slices.DeleteFunc(slices.Clone(services), func(s *service) bool {
		return !slices.ContainsFunc(s.guests, func(q *profile.Profile) bool {
			return slices.ContainsFunc(p.host.claims, func(c claim.Claim) bool { return c.By == "profile "+q.Name && c.Path == file })
		})
	})
}

// inOrder joins lists in the order of the plan's services.
func (p *planner) inOrder(a, b []*service) []*service {
	var out []*service
	for _, s := range p.services {
		if slices.Contains(a, s) || slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

func (s *service) packageName() string {
	switch {
	case s.cron != nil:
		return s.cron.Package
	case s.script != nil:
		return s.script.Package
	}
	return s.unit.Package
}

// namesFile reports whether the service names the file or a directory of its
// own that holds it.
func (p *planner) namesFile(s *service, file hostpath.Path) bool {
	return slices.ContainsFunc(s.mentions, func(m mention) bool { return m.covers(file) })
}

// mustCopy reports whether a file cannot be mounted from a ConfigMap or Secret,
// where everything belongs to root: somebody who may read it by its owner or
// group could not, or it is private to somebody else than root.
func mustCopy(f configFile) bool {
	if f.UID != 0 && f.Mode&0o077 == 0 {
		return true
	}
	for _, s := range f.services {
		for _, id := range s.identities() {
			if id.reads(f.UID, f.GID, f.Mode) && !id.reads(0, 0, f.Mode) {
				return true
			}
		}
	}
	return false
}

// reads and writes report whether owner, group and mode let the identity read or
// write a file (path_resolution(7), Permissions).
func (id identity) reads(uid, gid, mode uint32) bool  { return id.may(4, uid, gid, mode) }
func (id identity) writes(uid, gid, mode uint32) bool { return id.may(2, uid, gid, mode) }

func (id identity) may(bit, uid, gid, mode uint32) bool {
	switch {
	case id.uid == 0:
		return true
	case id.uid == uid:
		return mode>>6&bit != 0
	case id.gid == gid || slices.Contains(id.groups, gid):
		return mode>>3&bit != 0
	}
	return mode&bit != 0
}

// addVariables adds the variables of EnvironmentFiles to the groups of their
// workloads.
func (p *planner) addVariables(groups map[string][]configFile, class claim.Class) {
	for _, s := range p.services {
		for _, name := range s.env.order {
			v := s.env.vars[name]
			if v.file == "" || v.secret != (class == claim.Secret) {
				continue
			}
			group := p.podOf(s).Name
			f := handoff.KeyFile{Key: s.box.Name + "." + name, Path: v.file, Size: int64(len(v.value)), Variable: name, Edits: v.edits}
			for _, e := range v.edits {
				f.Size += int64(len(e.New) - len(e.Old))
			}
			groups[group] = append(groups[group], configFile{KeyFile: f, services: []*service{s}})
		}
	}
}

// packGroup makes the sets of one group and mounts them.
func (p *planner) packGroup(group string, files []configFile, class claim.Class) {
	kind, origin := "config", handoff.FromConfig
	if class == claim.Secret {
		kind, origin = "secret", handoff.FromSecret
	}
	name, owner := group+"-"+kind, group
	if group == sharedGroup || group == unclaimedGroup {
		name, owner = group[1:]+"-"+kind, ""
	}
	list := make([]handoff.KeyFile, len(files))
	users := map[hostpath.Path][]*service{}
	for i, f := range files {
		list[i] = f.KeyFile
		if f.Variable == "" {
			users[f.At()] = f.services
		}
	}
	sets, tooLarge := pack(name, owner, list)
	for _, f := range tooLarge {
		p.tooLarge(f, kind)
	}
	for i := range sets {
		set := &sets[i]
		if set.Bytes > maxApplied {
			p.risk("low", set.Name, fmt.Sprintf("holds %d bytes, more than kubectl apply can note in its annotation", set.Bytes), "apply with --server-side")
		}
		for _, f := range set.Files {
			if f.Variable != "" {
				p.nameVariable(set.Name, f, class)
				continue
			}
			for _, s := range users[f.At()] {
				p.podOf(s).addVolume(handoff.PodVolume{Name: set.Name, Origin: origin, Of: set.Name})
				if f.As != "" || !p.onlyVariables(s, f.Path) {
					s.addMount(handoff.Mount{Volume: set.Name, Path: f.At(), SubPath: f.Key, ReadOnly: true})
				}
			}
		}
	}
	if len(files) > manyFiles {
		p.risk("medium", name, fmt.Sprintf("%d files are mounted one by one, which makes Pods slow to start", len(files)), "put the directory into a volume by a line under paths in statelift.yaml")
	}
	if group == unclaimedGroup && len(files) > 0 {
		p.unclaimed(files, kind)
	}
	if class == claim.Secret {
		p.plan.Secrets = append(p.plan.Secrets, sets...)
	} else {
		p.plan.Configs = append(p.plan.Configs, sets...)
	}
}

// onlyVariables reports whether a file serves the service as its
// EnvironmentFile alone: systemd read it, the service never did.
func (p *planner) onlyVariables(s *service, file hostpath.Path) bool {
	return s.env.reads(file) && !p.namesFile(s, file)
}

// nameVariable notes where a variable has found its place.
func (p *planner) nameVariable(set string, f handoff.KeyFile, class claim.Class) {
	for _, s := range p.services {
		v, ok := s.env.vars[f.Variable]
		if !ok || v.file != f.Path || v.secret != (class == claim.Secret) {
			continue
		}
		ref := handoff.Env{Name: f.Variable, From: set, Key: f.Key, Secret: v.secret}
		if s.env.placed == nil {
			s.env.placed = map[string]handoff.Env{}
		}
		if _, taken := s.env.placed[f.Variable]; !taken && p.variableOwner(s, f) {
			s.env.placed[f.Variable] = ref
		}
	}
}

// variableOwner tells the variables of one name and file of several services
// apart: the key begins with the container's name.
func (p *planner) variableOwner(s *service, f handoff.KeyFile) bool {
	prefix := s.box.Name + "." + f.Variable
	return len(f.Key) >= len(prefix) && f.Key[:len(prefix)] == prefix
}

// finishEnvironment writes the container's variables: the plain ones first, then
// those of files, each in the order in which they were set.
func (p *planner) finishEnvironment(s *service) {
	s.box.Env = s.env.plainEnv()
	for _, name := range s.env.order {
		if ref, ok := s.env.placed[name]; ok {
			s.box.Env = append(s.box.Env, ref)
		}
	}
}

func (p *planner) tooLarge(f handoff.KeyFile, kind string) {
	p.blocked = append(p.blocked, fmt.Sprintf("%s has %d bytes, too many for a %s: give it the class volume under paths in statelift.yaml", f.Path, f.Size, map[string]string{"config": "ConfigMap", "secret": "Secret"}[kind]))
	p.plan.Questions = append(p.plan.Questions, handoff.Question{
		ID: questionID("large", string(f.Path)), About: f.Path.String(),
		Text:    fmt.Sprintf("%s has %d bytes; a ConfigMap or Secret holds 1 MiB. Its directory should become a volume.", f.Path, f.Size),
		Choices: []string{"volume"}, Default: "volume",
		Answer: fmt.Sprintf("paths:\n  - path: %q\n    class: volume\n    reason: too large for a ConfigMap", f.Path.String()),
	})
}

// unclaimed files are configuration of which no workload is known to need it.
func (p *planner) unclaimed(files []configFile, kind string) {
	var paths string
	for i, f := range files[:min(len(files), 5)] {
		if i > 0 {
			paths += ", "
		}
		paths += f.Path.String()
	}
	p.plan.Questions = append(p.plan.Questions, handoff.Question{
		ID: "unclaimed-" + kind, About: "unclaimed-" + kind,
		Text:    fmt.Sprintf("No workload is known to need %d files of class %s (%s …). They are kept in objects named unclaimed-%s and mounted nowhere.", len(files), kind, paths, kind),
		Choices: []string{"keep", "give them a class under paths in statelift.yaml"}, Default: "keep",
	})
}
