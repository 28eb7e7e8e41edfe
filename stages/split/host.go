package split

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// host is what the scan found beyond the entries, and who on it becomes a
// workload.
type host struct {
	os       facts.OS
	users    map[string]facts.User
	groups   map[string]uint32
	units    []facts.Unit
	scripts  []facts.Script
	crons    []facts.Cron
	fstab    []facts.Fstab
	tmpfiles []facts.Tmpfile
	settings []facts.Setting
	secrets  map[hostpath.Path][]facts.Setting // those that are credentials, by file
	procs    []facts.Process
	packages []facts.Package

	services []service
	// embedded are applications without a process of their own.
	embedded []embedded
	// leftOut are the units that become nothing, and why.
	leftOut map[string]string
}

// service is a unit, script or cron job that becomes a workload.
type service struct {
	name    string // as claims name it in Serves
	base    string // without type and instance
	profile *profile.Profile
	unit    *facts.Unit
	script  *facts.Script
	cron    *facts.Cron
	pkg     string
	user    string
	from    claim.Evidence
}

// embedded is an application that runs in the process of another one.
type embedded struct {
	profile *profile.Profile
	serves  []string // the service in whose process it runs, and the jobs that run its code; never empty
	from    claim.Evidence
}

func readHost(ctx context.Context, cat *catalog.Catalog, os facts.OS) (*host, error) {
	h := &host{os: os, users: map[string]facts.User{}, groups: map[string]uint32{}, leftOut: map[string]string{}}
	users, err := catalog.Facts[facts.User](ctx, cat, facts.KindUser)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if _, twice := h.users[u.Name]; !twice { // the first line counts (getpwnam(3))
			h.users[u.Name] = u
		}
	}
	groups, err := catalog.Facts[facts.Group](ctx, cat, facts.KindGroup)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if _, twice := h.groups[g.Name]; !twice {
			h.groups[g.Name] = g.GID
		}
	}
	for _, load := range []func() error{
		into(ctx, cat, facts.KindUnit, &h.units), into(ctx, cat, facts.KindScript, &h.scripts),
		into(ctx, cat, facts.KindCron, &h.crons), into(ctx, cat, facts.KindFstab, &h.fstab),
		into(ctx, cat, facts.KindTmpfile, &h.tmpfiles), into(ctx, cat, facts.KindSetting, &h.settings),
		into(ctx, cat, facts.KindProcess, &h.procs), into(ctx, cat, facts.KindPackage, &h.packages),
	} {
		if err := load(); err != nil {
			return nil, err
		}
	}
	h.secrets = map[hostpath.Path][]facts.Setting{}
	for _, x := range h.settings {
		if x.Secret {
			h.secrets[x.Source.Path] = append(h.secrets[x.Source.Path], x)
		}
	}
	return h, nil
}

func into[T any](ctx context.Context, cat *catalog.Catalog, kind facts.Kind, list *[]T) func() error {
	return func() (err error) {
		*list, err = catalog.Facts[T](ctx, cat, kind)
		return err
	}
}

// recognise decides who becomes a workload, and by which profile.
func (s *run) recognise(ctx context.Context) error {
	h := s.host
	profiles := slices.DeleteFunc(slices.Clone(s.profiles), func(p profile.Profile) bool {
		return slices.Contains(s.decisions.ProfilesOff, p.Name)
	})
	var failed error
	matches := profile.Find(profiles, profile.Runnable{
		Units: h.units, Scripts: h.scripts, Packages: h.packages,
		Files: func(glob string) []hostpath.Path {
			list, err := s.view.glob(ctx, hostpath.Path(glob), 4)
			failed = cmp.Or(failed, err)
			var out []hostpath.Path
			for _, n := range list {
				out = append(out, n.path)
			}
			return out
		},
	})
	if failed != nil {
		return failed
	}
	byUnit := map[string]profile.Match{}
	for _, m := range matches {
		if m.Unit != "" {
			byUnit[m.Unit] = m
		}
	}
	for _, use := range s.decisions.Use {
		if p, ok := profile.Generic(s.profiles, use.Profile); ok {
			byUnit[use.Unit] = profile.Match{Profile: p, Unit: use.Unit, Evidence: claim.Evidence{Fact: s.decisions.File + ": profiles.use"}}
		}
	}
	s.units(byUnit, profiles)
	s.scripts(byUnit, profiles)
	s.crons(profiles)
	for _, m := range matches {
		if m.Unit == "" {
			h.embedded = append(h.embedded, embedded{profile: m.Profile, serves: h.runners(m.Profile), from: m.Evidence})
		}
	}
	return nil
}

// runners are the service in whose process an application runs, and the jobs and
// services that run its code. "" stands for nobody.
func (h *host) runners(p *profile.Profile) []string {
	var out []string
	for _, of := range p.Run.PartOf {
		for _, s := range h.services {
			if s.profile != nil && s.profile.Name == of && len(out) == 0 {
				out = append(out, s.name)
			}
		}
	}
	for _, s := range h.services {
		if !slices.Contains(out, s.name) && slices.ContainsFunc(s.commandPaths(), p.RunsCode) {
			out = append(out, s.name)
		}
	}
	if len(out) == 0 {
		return []string{""}
	}
	return out
}

// commandPaths are the paths in the command lines of a unit or job.
func (s service) commandPaths() []hostpath.Path {
	switch {
	case s.cron != nil:
		return absolutePaths(s.cron.Command)
	case s.unit != nil:
		var out []hostpath.Path
		for _, d := range s.unit.Values("Service", "ExecStart") {
			out = append(out, absolutePaths(d.Value)...)
		}
		return out
	}
	return nil
}

func (s *run) units(matches map[string]profile.Match, profiles []profile.Profile) {
	h := s.host
	started := map[string]bool{} // by an enabled timer or socket, or running
	for _, u := range h.units {
		if !u.Enabled || u.Masked {
			continue
		}
		for _, key := range []string{"Timer.Unit", "Socket.Service"} {
			section, k, _ := strings.Cut(key, ".")
			if d, ok := u.Last(section, k); ok {
				started[d.Value] = true
			}
		}
		if u.Type == "timer" || u.Type == "socket" || u.Type == "path" {
			started[strings.TrimSuffix(u.Name, "."+u.Type)+".service"] = true
		}
	}
	for _, p := range h.procs {
		if p.Unit != "" {
			started[p.Unit] = true
		}
	}
	for i := range h.units {
		u := &h.units[i]
		if u.Type != "service" || strings.HasSuffix(u.Name, "@.service") {
			continue
		}
		if why := s.leavesOut(u.Name, matches[u.Name].Profile); why != "" {
			h.leftOut[u.Name] = why
			continue
		}
		kept, _ := s.decisions.Unit(u.Name)
		if !kept.Keep && (u.Masked || !u.Enabled && len(u.WantedBy) == 0 && !started[u.Name]) {
			h.leftOut[u.Name] = "it is not enabled on this host"
			continue
		}
		svc := service{
			name: u.Name, base: baseOf(u.Name), unit: u, pkg: u.Package, user: "root",
			from: claim.Evidence{Path: u.Path, Fact: "unit " + u.Name},
		}
		if d, ok := u.Last("Service", "User"); ok {
			svc.user = d.Value
		}
		svc.profile = profileOf(matches, u.Name, profiles, profile.GenericUnit)
		h.services = append(h.services, svc)
	}
}

func (s *run) scripts(matches map[string]profile.Match, profiles []profile.Profile) {
	h := s.host
	for i := range h.scripts {
		x := &h.scripts[i]
		name := profile.ScriptUnit(*x)
		if why := s.leavesOut(name, matches[name].Profile); why != "" {
			h.leftOut[name] = why
			continue
		}
		kept, _ := s.decisions.Unit(name)
		if !kept.Keep && len(x.StartLevels) == 0 {
			h.leftOut[name] = "no run level starts it"
			continue
		}
		h.services = append(h.services, service{
			name: name, base: x.Name, script: x, pkg: x.Package, user: cmp.Or(x.User, "root"),
			profile: profileOf(matches, name, profiles, profile.GenericScript),
			from:    claim.Evidence{Path: x.Path, Fact: "init script " + x.Name},
		})
	}
}

// crons takes the jobs of the administrator; those of packages are upkeep.
func (s *run) crons(profiles []profile.Profile) {
	h := s.host
	for i := range h.crons {
		c := &h.crons[i]
		name := profile.CronUnit(*c)
		kept, decided := s.decisions.Unit(name)
		switch {
		case decided && kept.LeaveOut:
			h.leftOut[name] = cmp.Or(kept.Reason, "you left it out")
			continue
		case c.Package != "" && !kept.Keep:
			h.leftOut[name] = "a job of package " + c.Package + " for the upkeep of the host"
			continue
		}
		p, _ := profile.Generic(profiles, profile.GenericCron)
		h.services = append(h.services, service{
			name: name, base: c.Name, cron: c, user: cmp.Or(c.User, "root"), profile: p,
			from: claim.Evidence{Path: c.Path, Line: c.Line, Fact: "cron job"},
		})
	}
}

func profileOf(matches map[string]profile.Match, unit string, profiles []profile.Profile, generic string) *profile.Profile {
	if m, ok := matches[unit]; ok {
		return m.Profile
	}
	p, _ := profile.Generic(profiles, generic)
	return p
}

// leavesOut says why a unit becomes no workload, "" when it does.
func (s *run) leavesOut(unit string, p *profile.Profile) string {
	if d, ok := s.decisions.Unit(unit); ok {
		if d.LeaveOut {
			return cmp.Or(d.Reason, "you left it out")
		}
		return ""
	}
	if p != nil && p.Run.LeaveOut != "" {
		return p.Run.LeaveOut
	}
	if rule, ok := s.rules.LeftOut(unit); ok && !slices.Contains(s.decisions.RulesOff, rule.File+"/"+rule.Name) {
		return rule.Reason
	}
	return ""
}

// baseOf is the name by which a unit's own files are called: postgresql of
// postgresql@15-main.service.
func baseOf(unit string) string {
	base := strings.TrimSuffix(unit, path.Ext(unit))
	base, _, _ = strings.Cut(base, "@")
	return base
}

// manager is what specifiers of units say about the host.
func (h *host) manager() unitfile.Host {
	return unitfile.Host{Hostname: h.os.Hostname, ID: h.os.ID, VersionID: h.os.VersionID}
}

// expand replaces the specifiers of a directive; ok is false when their values
// are not known.
func (h *host) expand(u *facts.Unit, d facts.Directive) (string, bool) {
	v, err := unitfile.Expand(d.Value, unitfile.Name(u.Name), string(d.Path), h.manager())
	return v, err == nil
}

func describe(s service) string {
	switch {
	case s.cron != nil:
		return fmt.Sprintf("the cron job %s", s.base)
	case s.script != nil:
		return fmt.Sprintf("the init script %s", s.base)
	}
	return s.name
}
