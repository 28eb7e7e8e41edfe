// Package cron reads the jobs of cron(8): /etc/crontab, /etc/cron.d, the users'
// tables, the scripts of /etc/cron.daily and the like, and anacrontab(5).
package cron

import (
	"context"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

// Collector implements collect.Collector.
type Collector struct{}

// Name implements collect.Collector.
func (Collector) Name() string { return "cron" }

// Wants implements collect.Collector.
func (Collector) Wants(p hostpath.Path, t tree.Type) bool {
	return (t == tree.Regular || t == tree.Symlink) && placeOf(p) != nowhere
}

// place says how a file is to be read.
type place int

const (
	nowhere  place = iota
	system         // a table with a column for the user
	personal       // a table of the user whom the file is named after
	anacron        // anacrontab(5)
	periodic       // a script that run-parts(8) runs
)

// directory begins the names of the directories of scripts.
const directory = "/etc/cron."

func placeOf(p hostpath.Path) place {
	base := p.Base()
	switch dir := p.Dir(); {
	case p == "/etc/crontab":
		return system
	case p == "/etc/anacrontab":
		return anacron
	case dir == "/etc/cron.d" && runs(base):
		return system
	case dir == "/etc/cron.d":
		return nowhere
	case (dir == "/var/spool/cron/crontabs" || dir == "/var/spool/cron") && !strings.HasPrefix(base, "tmp.") && base[0] != '.':
		return personal
	case strings.HasPrefix(string(dir), directory) && strings.Count(string(dir), "/") == 2 && runs(base):
		return periodic
	}
	return nowhere
}

// runs is the rule of run-parts(8) for names, which Debian's cron has for
// /etc/cron.d as well.
func runs(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return name != ""
}

// Collect implements collect.Collector.
func (c Collector) Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	// The tables come first: they say when the scripts run.
	var scripts []hostpath.Path
	when := map[hostpath.Path]job{} // by directory
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		kind := placeOf(p)
		if kind == periodic {
			scripts = append(scripts, p)
			continue
		}
		data, ok, err := collect.Read(r, c.Name(), p, emit)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := c.table(p, kind, data, when, emit); err != nil {
			return err
		}
	}
	for _, p := range scripts {
		if err := script(r, p, when, emit); err != nil {
			return err
		}
	}
	return nil
}

// table emits the jobs of a table, but for those that run the scripts of a
// directory: the scripts are jobs of their own.
func (c Collector) table(p hostpath.Path, kind place, data []byte, when map[hostpath.Path]job, emit collect.Emit) error {
	env := map[string]string{}
	for n, line := range collect.Lines(data) {
		src := facts.Source{Path: p, Line: n}
		j, fault := parseLine(line, kind, env)
		if fault != "" {
			if err := emit(collect.Problem(c.Name(), src, fault)); err != nil {
				return err
			}
		}
		if j == nil {
			continue
		}
		if kind == personal {
			j.user = p.Base()
		}
		if dir := runPartsOf(j.command); dir != "" && kind != personal {
			if _, ok := when[dir]; !ok || kind == system {
				when[dir] = *j
			}
			continue
		}
		name := fmt.Sprintf("%s:%d", nameOf(p), n)
		if err := emit(j.found(name, src)); err != nil {
			return err
		}
	}
	return nil
}

// nameOf is the part of a path by which people speak of it: crontab,
// cron.d/php, crontabs/www-data, cron.daily/logrotate.
func nameOf(p hostpath.Path) string {
	if p.Dir() == "/etc" {
		return hostpath.Quote(p.Base())
	}
	return hostpath.Quote(path.Join(p.Dir().Base(), p.Base()))
}

// script emits the job that runs one script, when something runs its directory
// and it is executable.
func script(r *rootfs.Root, p hostpath.Path, when map[hostpath.Path]job, emit collect.Emit) error {
	j, ok := when[p.Dir()]
	if !ok {
		return nil
	}
	fi, err := r.Stat(p)
	if err != nil {
		return emit(collect.Problem("cron", facts.Source{Path: p}, err.Error()))
	}
	if !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
		return nil
	}
	j.command, j.input = string(p), ""
	return emit(j.found(nameOf(p), facts.Source{Path: p}))
}

// job is one job as its table has it.
type job struct {
	schedule, user, command, input string
	env                            map[string]string
}

// found is the fact, without credentials.
func (j job) found(name string, src facts.Source) collect.Found {
	env := maps.Clone(j.env)
	for k, v := range env {
		value, secret := credential.Redact(k, v)
		if secret && value == facts.Redacted {
			delete(env, k)
			continue
		}
		env[k] = value
	}
	if len(env) == 0 {
		env = nil
	}
	return collect.Found{Kind: facts.KindCron, Name: name, Source: src, Data: facts.Cron{
		Name: name, Schedule: j.schedule, User: j.user, Command: credential.RedactCommand(j.command),
		Input: credential.RedactCommand(j.input), Env: env, Source: src,
	}}
}

// runPartsOf is the directory whose scripts a command runs.
func runPartsOf(command string) hostpath.Path {
	words := strings.Fields(command)
	for i, w := range words {
		if path.Base(w) != "run-parts" {
			continue
		}
		for _, arg := range words[i+1:] {
			if strings.HasPrefix(arg, "-") {
				continue
			}
			dir := hostpath.Clean(strings.TrimRight(arg, ";)}&|"))
			if strings.HasPrefix(string(dir), directory) && strings.Count(string(dir), "/") == 2 {
				return dir
			}
			break
		}
	}
	return ""
}
