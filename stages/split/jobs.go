package split

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/shellwords"
	"github.com/statelift/statelift/pipeline/tree"
)

// applyScripts takes what init scripts assign.
func (s *run) applyScripts(ctx context.Context) error {
	for _, svc := range s.host.services {
		x := svc.script
		if x == nil {
			continue
		}
		from := claim.Evidence{Path: x.Path, Fact: "init script"}
		if x.Path != "" {
			s.claims.add(svc.claim(claim.Image, claim.Exact, x.Path, "starts "+describe(svc)+", in its container as on the host", from))
		}
		if x.Daemon != "" {
			if err := s.program(ctx, svc, x.Daemon, claim.Evidence{Path: x.Path, Fact: "DAEMON"}); err != nil {
				return err
			}
		}
		for _, p := range x.Reads {
			s.scopes = append(s.scopes, scope{path: p, exact: true, serves: svc.name, by: "init script " + x.Name, authority: claim.ByUnit,
				why: "settings that " + describe(svc) + " reads", from: from})
			vars := s.variables(p)
			for _, name := range slices.Sorted(maps.Keys(vars)) {
				if strings.HasPrefix(vars[name], "/") {
					if err := s.mention(ctx, svc, hostpath.Clean(vars[name]), mention{key: name, from: claim.Evidence{Path: p, Fact: name}}); err != nil {
						return err
					}
				}
			}
		}
		if x.PIDFile != "" && placeOf(x.PIDFile) == inRuntime && !neverClaimed(x.PIDFile.Dir()) {
			s.claims.add(svc.claim(claim.Ephemeral, claim.Tree, x.PIDFile.Dir(), "the run-time directory with the pid file of "+describe(svc), claim.Evidence{Path: x.Path, Fact: "PIDFILE"}))
		}
		for _, name := range slices.Sorted(maps.Keys(x.Paths)) {
			p := x.Paths[name]
			if p == x.Daemon || p == x.PIDFile {
				continue
			}
			if err := s.mention(ctx, svc, p, mention{key: name, from: claim.Evidence{Path: x.Path, Fact: name + "=" + p.String()}}); err != nil {
				return err
			}
		}
		words := strings.Fields(x.Args)
		if err := s.arguments(ctx, svc, append([]string{""}, words...), claim.Evidence{Path: x.Path, Fact: "arguments"}); err != nil {
			return err
		}
		if err := s.ownFiles(ctx, svc); err != nil {
			return err
		}
		if err := s.ownDirectories(ctx, svc); err != nil {
			return err
		}
	}
	return nil
}

// applyCron takes what the jobs of the administrator read and write: the paths
// in their commands, and in the scripts that these run.
func (s *run) applyCron(ctx context.Context) error {
	for _, svc := range s.host.services {
		if svc.cron != nil {
			if err := s.job(ctx, svc); err != nil {
				return err
			}
		}
	}
	// What a timer starts is a job too.
	for _, svc := range s.host.services {
		if svc.unit == nil {
			continue
		}
		for _, v := range svc.unit.Values("Service", "ExecStart") {
			for _, p := range absolutePaths(v.Value) {
				if err := s.script(ctx, svc, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *run) job(ctx context.Context, svc service) error {
	c := svc.cron
	home := s.host.users[svc.user].Home
	command := strings.ReplaceAll(c.Command, `\%`, "%")
	if home != "" {
		command = strings.NewReplacer("$HOME", string(home), "${HOME}", string(home), " ~/", " "+string(home)+"/").Replace(command)
		if command != strings.ReplaceAll(c.Command, `\%`, "%") && placeOf(home) == inData {
			k := svc.claim(claim.Volume, claim.Tree, home, "the home in which "+describe(svc)+" works", at(c.Source, "HOME of "+svc.user))
			k.Confidence = claim.Medium
			s.claims.add(k)
		}
	}
	from := at(c.Source, command)
	if err := s.shell(ctx, svc, command, from); err != nil {
		return err
	}
	words, err := shellwords.Shell(command)
	if err != nil {
		return nil // the scan reports it
	}
	for _, w := range words {
		p := hostpath.Clean(w.Text)
		if w.Operator || !strings.HasPrefix(w.Text, "/") {
			if n, ok := s.inPath(c.Env["PATH"], w.Text); ok {
				p = n
			} else {
				continue
			}
		}
		if err := s.program(ctx, svc, p, from); err != nil {
			return err
		}
		if err := s.script(ctx, svc, p); err != nil {
			return err
		}
	}
	return nil
}

// inPath finds a command of the administrator by its bare name.
func (s *run) inPath(path, name string) (hostpath.Path, bool) {
	if name == "" || strings.ContainsAny(name, "/=$*?") {
		return "", false
	}
	for _, dir := range strings.Split(cmp.Or(path, "/usr/local/sbin:/usr/local/bin"), ":") {
		p := hostpath.Clean(dir).Join(name)
		if fi, err := s.root.Stat(p); err == nil && fi.Mode().IsRegular() && strings.HasPrefix(dir, "/usr/local") {
			return p, true
		}
	}
	return "", false
}

// script reads a script that no package brought, for the paths in it.
func (s *run) script(ctx context.Context, svc service, p hostpath.Path) error {
	p = s.real(p)
	n, ok, err := s.view.at(ctx, p)
	if err != nil || !ok || n.typ != tree.Regular || n.pkg != "" && n.state != catalog.Changed || n.size > maxText || placeOf(p) == inEtc && n.mode&0o111 == 0 {
		return err
	}
	data, err := s.root.ReadFile(p, maxText)
	if err != nil || !strings.HasPrefix(string(data), "#!") {
		return nil // gone, or no script: then it has no paths that could be read
	}
	for i, line := range strings.Split(string(data), "\n") {
		if text := strings.TrimSpace(line); text == "" || strings.HasPrefix(text, "#") || strings.HasPrefix(text, "//") {
			continue
		}
		if err := s.shell(ctx, svc, line, at(facts.Source{Path: p, Line: i + 1}, "")); err != nil {
			return err
		}
	}
	return nil
}

// shell takes the paths of one line of shell.
func (s *run) shell(ctx context.Context, svc service, line string, from claim.Evidence) error {
	writes := false
	for _, w := range shellish(line) {
		switch w {
		case ">", ">>", "&>", "mv", "cp", "tee", "tar", "rsync", "mkdir", "install", "gzip", "touch", "rm":
			writes = true
			continue
		}
		for _, p := range absolutePaths(expandTail(w)) {
			if err := s.jobPath(ctx, svc, p, from, writes || strings.Contains(w, "--result-file=")); err != nil {
				return err
			}
		}
	}
	return nil
}

// shellish splits a line at blanks and redirections, also where it is not
// complete by itself.
func shellish(line string) []string {
	line = strings.NewReplacer(">>", " > ", ">", " > ", "|", " | ", ";", " ; ", "(", " ( ", ")", " ) ", `"`, " ", "'", " ").Replace(line)
	return strings.Fields(line)
}

// expandTail cuts what a script appends to a fixed directory:
// /var/backups/site-$day.sql.gz is about /var/backups.
func expandTail(w string) string {
	i := strings.IndexAny(w, "$*?`")
	if i < 0 || !strings.Contains(w[:i], "/") {
		return w
	}
	return w[:strings.LastIndexByte(w[:i], '/')]
}

func (s *run) jobPath(ctx context.Context, svc service, p hostpath.Path, from claim.Evidence, writes bool) error {
	dir := p
	n, ok, err := s.view.at(ctx, p)
	if err != nil {
		return err
	}
	if !ok || n.typ != tree.Directory {
		dir = p.Dir()
	}
	if backups(dir) {
		return s.backups(ctx, svc, dir, from)
	}
	if kind := placeOf(p); kind == inEtc || writes && kind == inData {
		return s.mention(ctx, svc, p, mention{from: from, writes: writes})
	}
	if ok {
		s.uses(svc, p, from)
	}
	return nil
}

func backups(dir hostpath.Path) bool {
	return !dir.Within("/home") && !dir.Within("/root") && (dir.Within("/var/backups") || nameIn(dir.Base(), "backup", "backups", "dump", "dumps"))
}

func nameIn(name string, list ...string) bool { return slices.Contains(list, strings.ToLower(name)) }

// backups makes an empty volume where a job writes its dumps, and objects of the
// old ones, which nobody reads by path.
func (s *run) backups(ctx context.Context, svc service, dir hostpath.Path, from claim.Evidence) error {
	if _, ok, err := s.view.at(ctx, dir); err != nil || !ok {
		return err
	}
	c := svc.claim(claim.Volume, claim.Exact, dir, fmt.Sprintf("%s writes new dumps here; the volume starts without the old ones", describe(svc)), from)
	c.Confidence = claim.Medium
	s.claims.add(c)
	c = svc.claim(claim.Object, claim.Glob, claim.Literal(dir).Join("**"), fmt.Sprintf("an old dump; %s makes new ones and reads none", describe(svc)), from)
	c.When, c.Confidence, c.Authority = "type=f", claim.Medium, claim.ByDefault
	s.claims.add(c)
	return nil
}
