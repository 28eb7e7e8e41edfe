package plan

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/envfile"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/shellwords"
)

// environment collects a container's variables; a later one of a name takes the
// place of an earlier one, as with systemd and cron.
type environment struct {
	order []string
	vars  map[string]envVar
	// placed are the variables of files, when the files have found their set.
	placed map[string]handoff.Env
}

// envVar is a variable: a value, or the file that has it.
type envVar struct {
	value  string // never written anywhere when secret
	file   hostpath.Path
	secret bool
	// edits are made in the value where it is taken from the file.
	edits []handoff.Edit
}

func (e *environment) set(name string, v envVar) {
	if e.vars == nil {
		e.vars = map[string]envVar{}
	}
	if _, ok := e.vars[name]; !ok {
		e.order = append(e.order, name)
	}
	e.vars[name] = v
}

func (e *environment) variables() variables {
	out := variables{}
	for name, v := range e.vars {
		out[name] = variable{Value: v.value, Secret: v.secret}
	}
	return out
}

// reads reports whether variables come from the file.
func (e *environment) reads(file hostpath.Path) bool {
	for _, v := range e.vars {
		if v.file == file {
			return true
		}
	}
	return false
}

// defaultPath is what systemd gives its services (systemd.exec(5), PATH).
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxEnvFile is far above any EnvironmentFile.
const maxEnvFile = 1 << 20

// setEnvironment gathers the variables of the service.
func (p *planner) setEnvironment(ctx context.Context, s *service) error {
	env := &s.env
	env.set("PATH", envVar{value: defaultPath})
	user := p.host.userByID(s.box.UID)
	switch {
	case s.cron != nil:
		env.set("PATH", envVar{value: "/usr/bin:/bin"}) // crontab(5)
		env.set("SHELL", envVar{value: "/bin/sh"})
		env.set("LOGNAME", envVar{value: firstOf(s.cron.User, "root")})
		env.set("HOME", envVar{value: firstOf(string(user.Home), "/")})
		for _, name := range sortedKeys(s.cron.Env) {
			if name != "MAILTO" && name != "CRON_TZ" && envfile.ValidName(name) {
				env.set(name, envVar{value: s.cron.Env[name], secret: false})
			}
		}
		return nil
	case s.script != nil:
		return nil
	}
	if d, ok := s.unit.Last("Service", "User"); ok && d.Value != "root" {
		env.set("HOME", envVar{value: firstOf(string(user.Home), "/")})
		env.set("LOGNAME", envVar{value: firstOf(user.Name, d.Value)})
		env.set("USER", envVar{value: firstOf(user.Name, d.Value)})
		env.set("SHELL", envVar{value: firstOf(user.Shell, "/bin/sh")})
	}
	p.managedDirectories(s)
	if err := p.findCredentials(ctx, s); err != nil {
		return err
	}
	if s.profile != nil {
		for _, e := range s.profile.Run.Env {
			env.set(e.Name, envVar{value: e.Value})
		}
	}
	spec := p.specifiers(s)
	for _, d := range s.unit.Values("Service", "Environment") {
		words, err := shellwords.Systemd(d.Value)
		if err != nil {
			p.risk("medium", s.id, fmt.Sprintf("%s:%d: Environment= cannot be read: %v", d.Path, d.Line, err), "correct the line on the host")
			continue
		}
		for _, w := range words {
			name, value, ok := strings.Cut(w, "=")
			if !ok || !envfile.ValidName(name) {
				continue
			}
			v := envVar{value: spec.expand(value)}
			if strings.Contains(value, facts.Redacted) || value == "" && w == facts.Redacted {
				v = envVar{value: facts.Redacted, secret: true, file: d.Path}
			}
			env.set(name, v)
		}
	}
	for _, d := range s.unit.Values("Service", "EnvironmentFile") {
		if err := p.environmentFile(ctx, s, d, spec); err != nil {
			return err
		}
	}
	for _, name := range env.order {
		if v := env.vars[name]; !v.secret {
			if path, ok := pathOf(v.value); ok && name != "HOME" && name != "SHELL" {
				s.mentions = append(s.mentions, mention{path: path, how: "variable " + name, Source: facts.Source{Path: v.file}})
			}
		}
	}
	return nil
}

func (p *planner) environmentFile(ctx context.Context, s *service, d facts.Directive, spec specifiers) error {
	name, optional := strings.CutPrefix(strings.TrimSpace(d.Value), "-")
	files := []hostpath.Path{hostpath.Clean(spec.expand(name))}
	if strings.ContainsAny(name, "*?[") {
		var err error
		if files, err = p.host.matching(ctx, name, 64); err != nil {
			return err
		}
	}
	for _, file := range files {
		s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: "EnvironmentFile=" + d.Value})
		entry, err := p.host.cat.Lookup(ctx, file)
		if err == nil && entry.Target != "" {
			if resolved, rerr := p.host.root.Resolve(file); rerr == nil {
				file = resolved
				entry, err = p.host.cat.Lookup(ctx, file)
			}
		}
		if errors.Is(err, catalog.ErrNoPath) {
			if !optional {
				p.risk("high", s.id, fmt.Sprintf("reads the EnvironmentFile %s, which is not there", file), "make the file on the host, or write - before its name in the unit")
			}
			continue
		}
		if err != nil {
			return err
		}
		data, err := p.host.root.ReadFile(file, maxEnvFile)
		if err != nil {
			var pe *fs.PathError
			if !errors.As(err, &pe) {
				return err
			}
			p.risk("high", s.id, fmt.Sprintf("its EnvironmentFile cannot be read: %v", err), "make it readable and scan again")
			continue
		}
		for _, v := range envfile.Parse(string(data)) {
			switch e := (envVar{value: v.Value, file: file}); entry.Class {
			case claim.Secret:
				e.secret = true
				s.env.set(v.Name, e)
			case claim.Config:
				s.env.set(v.Name, e)
			default: // as shipped: it stays in the image, where no manifest can read it from
				s.env.set(v.Name, envVar{value: v.Value})
			}
		}
	}
	return nil
}

// managedDirectories gives the variables and mentions of RuntimeDirectory= and
// its kin (systemd.exec(5)).
func (p *planner) managedDirectories(s *service) {
	spec := p.specifiers(s)
	for _, k := range []struct{ key, base, variable string }{
		{"RuntimeDirectory", "/run", "RUNTIME_DIRECTORY"},
		{"StateDirectory", "/var/lib", "STATE_DIRECTORY"},
		{"CacheDirectory", "/var/cache", "CACHE_DIRECTORY"},
		{"LogsDirectory", "/var/log", "LOGS_DIRECTORY"},
		{"ConfigurationDirectory", "/etc", "CONFIGURATION_DIRECTORY"},
	} {
		var dirs []string
		for _, d := range s.unit.Values("Service", k.key) {
			for word := range strings.FieldsSeq(spec.expand(d.Value)) {
				name, _, _ := strings.Cut(word, ":") // the rest is a link to it
				path := hostpath.Clean(k.base).Join(name)
				dirs = append(dirs, string(path))
				s.mentions = append(s.mentions, mention{path: path, writes: k.key != "ConfigurationDirectory", how: k.key + "=" + word, Source: d.Source})
			}
		}
		if len(dirs) > 0 {
			s.env.set(k.variable, envVar{value: strings.Join(dirs, ":")})
		}
	}
	for _, key := range []string{"ReadWritePaths", "BindPaths", "BindReadOnlyPaths", "ReadOnlyPaths"} {
		writes := key == "ReadWritePaths" || key == "BindPaths"
		for _, d := range s.unit.Values("Service", key) {
			for word := range strings.FieldsSeq(spec.expand(d.Value)) {
				word, _, _ = strings.Cut(strings.TrimLeft(word, "-+"), ":")
				if path, ok := pathOf(word); ok {
					s.mentions = append(s.mentions, mention{path: path, writes: writes, how: key + "=", Source: d.Source})
				}
			}
		}
	}
}

func (p *planner) specifiers(s *service) specifiers {
	u := p.host.userByID(s.box.UID)
	return unitSpecifiers(s.unit.Name, u.Name, firstOf(string(u.Home), "/root"), fmt.Sprint(u.UID), p.host.os.Hostname)
}

// plainEnv are the variables that need no file, in the order in which they were
// set; those of files follow when the files have found their place.
func (e *environment) plainEnv() []handoff.Env {
	var out []handoff.Env
	for _, name := range e.order {
		if v := e.vars[name]; v.file == "" {
			out = append(out, handoff.Env{Name: name, Value: escapeArgument(v.value)})
		}
	}
	return out
}

func hash(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}
