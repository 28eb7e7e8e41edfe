package split

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/envfile"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/shellwords"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// applyUnits reads the directives of the units that become workloads
// (systemd.exec(5), systemd.service(5)).
func (s *run) applyUnits(ctx context.Context) error {
	for _, svc := range s.host.services {
		if svc.unit == nil {
			continue
		}
		s.directories(svc)
		if err := s.accessPaths(ctx, svc); err != nil {
			return err
		}
		if err := s.credentialFiles(ctx, svc); err != nil {
			return err
		}
		env := s.environment(svc)
		if err := s.commands(ctx, svc, env); err != nil {
			return err
		}
		if err := s.home(ctx, svc); err != nil {
			return err
		}
		if err := s.ownFiles(ctx, svc); err != nil {
			return err
		}
		if err := s.ownDirectories(ctx, svc); err != nil {
			return err
		}
		s.unitFiles(svc)
	}
	return s.sockets()
}

// unitFiles are those of the administrator, wherever they lie; in /etc a rule
// says the same of all.
func (s *run) unitFiles(svc service) {
	for _, p := range append([]hostpath.Path{svc.unit.Path}, svc.unit.DropIns...) {
		if p != "" && svc.pkg == "" && !p.Within("/etc") {
			s.claims.add(svc.claim(claim.Drop, claim.Exact, p, "how this host starts "+svc.name+"; that becomes the workload's manifest", svc.from))
		}
	}
}

// sockets listen for services in run-time directories (systemd.socket(5)).
func (s *run) sockets() error {
	byName := map[string]service{}
	for _, svc := range s.host.services {
		byName[svc.name] = svc
	}
	for _, u := range s.host.units {
		if u.Type != "socket" || !u.Enabled {
			continue
		}
		name := strings.TrimSuffix(u.Name, ".socket") + ".service"
		if d, ok := u.Last("Socket", "Service"); ok {
			name = d.Value
		}
		svc, ok := byName[name]
		if !ok {
			continue
		}
		for _, key := range []string{"ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO"} {
			for _, v := range u.Values("Socket", key) {
				p, ok := lastPath(v.Value)
				if ok && placeOf(p) == inRuntime && !neverClaimed(p.Dir()) {
					s.claims.add(svc.claim(claim.Ephemeral, claim.Tree, p.Dir(), "the run-time directory with a socket of "+svc.name, at(v.Source, key+"="+v.Value)))
				}
			}
		}
	}
	return nil
}

func (svc service) claim(class claim.Class, reach claim.Reach, p hostpath.Path, reason string, from claim.Evidence) claim.Claim {
	by := "unit " + svc.name
	switch {
	case svc.cron != nil:
		by = "cron " + svc.base
	case svc.script != nil:
		by = "init script " + svc.base
	}
	return claim.Claim{
		Class: class, Reach: reach, Path: p, Reason: reason, Evidence: []claim.Evidence{from},
		By: by, Authority: claim.ByUnit, Serves: svc.name,
	}
}

// directories are those that the manager makes for a service.
func (s *run) directories(svc service) {
	for _, d := range []struct {
		key    string
		parent hostpath.Path
		class  claim.Class
		when   string
		reason string
	}{
		{"StateDirectory", "/var/lib", claim.Volume, "", "the state of %s"},
		{"CacheDirectory", "/var/cache", claim.Ephemeral, "", "the cache of %s"},
		{"RuntimeDirectory", "/run", claim.Ephemeral, "", "the run-time directory of %s"},
		{"LogsDirectory", "/var/log", claim.Ephemeral, "type!=f", "the logs of %s, which go to standard output"},
		{"ConfigurationDirectory", "/etc", claim.Config, "", "the configuration of %s"},
	} {
		for _, v := range svc.unit.Values("Service", d.key) {
			value, ok := s.host.expand(svc.unit, v)
			if !ok {
				continue
			}
			for _, name := range fields(value) {
				p, reason := d.parent.Join(name), fmt.Sprintf(d.reason, svc.name)
				if d.class == claim.Config {
					s.scopes = append(s.scopes, scope{path: p, serves: svc.name, by: "unit " + svc.name, authority: claim.ByUnit, why: reason, from: at(v.Source, v.Key+"="+v.Value)})
					continue
				}
				for _, real := range []hostpath.Path{p, d.parent.Join("private", name)} { // DynamicUser= keeps it in private/
					if real != p && !dynamic(svc.unit) {
						continue
					}
					c := svc.claim(d.class, claim.Tree, real, reason, at(v.Source, v.Key+"="+v.Value))
					c.When = d.when
					s.claims.add(c)
				}
			}
		}
	}
	if d, ok := svc.unit.Last("Service", "PIDFile"); ok {
		if p, ok := lastPath(d.Value); ok && !neverClaimed(p.Dir()) && placeOf(p) == inRuntime {
			s.claims.add(svc.claim(claim.Ephemeral, claim.Tree, p.Dir(), "the run-time directory with the pid file of "+svc.name, at(d.Source, d.Key+"="+d.Value)))
		}
	}
}

func dynamic(u *facts.Unit) bool {
	d, ok := u.Last("Service", "DynamicUser")
	return ok && (d.Value == "yes" || d.Value == "true" || d.Value == "1" || d.Value == "on")
}

// accessPaths are what a unit may write, or works in.
func (s *run) accessPaths(ctx context.Context, svc service) error {
	for _, key := range []string{"ReadWritePaths", "ReadWriteDirectories", "BindPaths"} {
		for _, v := range svc.unit.Values("Service", key) {
			value, ok := s.host.expand(svc.unit, v)
			if !ok {
				continue
			}
			for _, p := range absolutePaths(strings.NewReplacer(" -/", " /", " +/", " /").Replace(" " + value)) {
				if err := s.mention(ctx, svc, p, mention{key: key, from: at(v.Source, key+"="+v.Value), writes: true}); err != nil {
					return err
				}
			}
		}
	}
	d, ok := svc.unit.Last("Service", "WorkingDirectory")
	if !ok {
		return nil
	}
	value, ok := s.host.expand(svc.unit, d)
	p, isPath := lastPath(strings.TrimPrefix(value, "-"))
	if !ok || !isPath || neverClaimed(p) || placeOf(p) != inData {
		return nil
	}
	c := svc.claim(claim.Volume, claim.Tree, p, "the working directory of "+svc.name, at(d.Source, "WorkingDirectory="+d.Value))
	c.Confidence, c.Authority = claim.Medium, claim.ByDefault
	return s.divide(ctx, division{claim: c})
}

// environment gives the values for a unit's command lines, and takes the files
// that they are read from: these serve it as configuration.
func (s *run) environment(svc service) map[string]string {
	for _, v := range svc.unit.Values("Service", "EnvironmentFile") {
		if p, ok := s.environmentFile(svc, v); ok {
			s.scopes = append(s.scopes, scope{path: p, exact: !claim.IsGlob(p), serves: svc.name, by: "unit " + svc.name, authority: claim.ByUnit,
				why: "the environment of " + svc.name, from: at(v.Source, "EnvironmentFile="+v.Value)})
		}
	}
	return s.values(svc)
}

func (s *run) environmentFile(svc service, v facts.Directive) (hostpath.Path, bool) {
	value, ok := s.host.expand(svc.unit, v)
	return hostpath.Clean(strings.TrimPrefix(value, "-")), ok
}

// values are the variables of a unit: Environment=, then EnvironmentFile=, which
// overrules it. They may be credentials and are kept nowhere.
func (s *run) values(svc service) map[string]string {
	env := map[string]string{}
	for _, v := range svc.unit.Values("Service", "Environment") {
		value, ok := s.host.expand(svc.unit, v)
		if !ok || strings.Contains(value, facts.Redacted) {
			continue
		}
		words, err := shellwords.Systemd(value)
		if err != nil {
			continue
		}
		for _, w := range words {
			if name, val, ok := strings.Cut(w, "="); ok {
				env[name] = val
			}
		}
	}
	for _, v := range svc.unit.Values("Service", "EnvironmentFile") {
		if p, ok := s.environmentFile(svc, v); ok {
			maps.Copy(env, s.variables(p))
		}
	}
	return env
}

// maxText is the largest configuration or script that is read for the paths it
// names.
const maxText = 1 << 20

func (s *run) variables(p hostpath.Path) map[string]string {
	data, err := s.root.ReadFile(p, maxText)
	if err != nil {
		return nil // not there, or no text: systemd may ignore it too
	}
	env := map[string]string{}
	for _, v := range envfile.Parse(string(data)) {
		env[v.Name] = v.Value
	}
	return env
}

// commands reads the command lines of a unit for the paths in them.
func (s *run) commands(ctx context.Context, svc service, env map[string]string) error {
	for _, key := range []string{"ExecStart", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop"} {
		for _, v := range svc.unit.Values("Service", key) {
			value, ok := s.host.expand(svc.unit, v)
			if !ok {
				continue
			}
			list, err := unitfile.ParseExec(value)
			if err != nil {
				continue // the scan reports it
			}
			for _, cmd := range list {
				from := at(v.Source, key+"="+v.Value)
				if err := s.program(ctx, svc, hostpath.Clean(cmd.Path), from); err != nil {
					return err
				}
				args := unitfile.ExpandVariables(cmd.Args, lookup(env))
				if err := s.arguments(ctx, svc, args, from); err != nil {
					return err
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if p := hostpath.Clean(env[name]); strings.HasPrefix(env[name], "/") {
			if err := s.mention(ctx, svc, p, mention{key: name, from: claim.Evidence{Fact: name + " in the environment of " + svc.name}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// arguments reads a command line without its program. An option names what its
// value is.
func (s *run) arguments(ctx context.Context, svc service, args []string, from claim.Evidence) error {
	option := ""
	for i, a := range args {
		if i == 0 {
			continue
		}
		key := option
		option = ""
		if strings.HasPrefix(a, "-") && !strings.Contains(a, "/") {
			option = a
			continue
		}
		if name, _, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "-") {
			key = name
		}
		for _, p := range absolutePaths(a) {
			if err := s.mention(ctx, svc, p, mention{key: strings.TrimLeft(key, "-"), from: from}); err != nil {
				return err
			}
		}
	}
	return nil
}

// program claims the program of a service, when no package brought it.
func (s *run) program(ctx context.Context, svc service, p hostpath.Path, from claim.Evidence) error {
	p = s.real(p)
	n, ok, err := s.view.at(ctx, p)
	if err != nil || !ok || n.typ != tree.Regular || n.pkg != "" || n.mode&0o111 == 0 {
		return err
	}
	s.claims.add(svc.claim(claim.Image, claim.Exact, p, "the program of "+describe(svc), from))
	s.uses(svc, p, from)
	return nil
}

// home claims the home of a service's own user, where applications without a
// StateDirectory keep their data.
func (s *run) home(ctx context.Context, svc service) error {
	u, ok := s.host.users[svc.user]
	if !ok || u.UID == 0 || placeOf(u.Home) != inData || u.Home.Within("/home") || u.Home == "/nonexistent" {
		return nil
	}
	n, ok, err := s.view.at(ctx, u.Home)
	if err != nil || !ok || n.typ != tree.Directory || n.uid != u.UID {
		return err
	}
	c := svc.claim(claim.Volume, claim.Tree, u.Home, fmt.Sprintf("the home of %s, as which %s runs", u.Name, svc.name), claim.Evidence{Fact: "user " + u.Name + " in /etc/passwd"})
	c.Confidence, c.Authority = claim.Medium, claim.ByDefault
	s.claims.add(c)
	return nil
}
