// Package sysv collects the init scripts of /etc/init.d that systemd has no
// unit for: their LSB header (Linux Standard Base, "Comment Conventions for
// Init Scripts"), the run levels that start them, and what their assignments
// and calls of start-stop-daemon(8) say about the service.
package sysv

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/systemd"
)

const (
	maxFile    = 1 << 20
	maxScripts = 5000
)

// Collector emits a facts.Script for each script.
type Collector struct{}

var _ collect.Collector = Collector{}

// Name implements collect.Collector.
func (Collector) Name() string { return "sysv" }

// Wants implements collect.Collector.
func (Collector) Wants(p hostpath.Path, t tree.Type) bool {
	if t != tree.Regular && t != tree.Symlink || !strings.HasPrefix(string(p), "/etc/") {
		return false
	}
	dir := p.Dir()
	return isScripts(dir) || levelOf(dir) != ""
}

// isScripts is true for the directories of scripts: Debian's and Red Hat's.
func isScripts(dir hostpath.Path) bool { return dir == "/etc/init.d" || dir == "/etc/rc.d/init.d" }

// levelOf is the run level of a directory of links, "" for another directory.
func levelOf(dir hostpath.Path) string {
	base := dir.Base()
	parent := dir.Dir()
	if len(base) != 5 || !strings.HasPrefix(base, "rc") || !strings.HasSuffix(base, ".d") || parent != "/etc" && parent != "/etc/rc.d" {
		return ""
	}
	if level := base[2:3]; strings.Contains("S0123456", level) {
		return level
	}
	return ""
}

// Collect implements collect.Collector.
func (c Collector) Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	starts := map[string][]string{}
	var scripts []hostpath.Path
	for _, p := range paths {
		if isScripts(p.Dir()) {
			scripts = append(scripts, p)
			continue
		}
		if name, ok := startLink(p.Base()); ok {
			starts[name] = append(starts[name], levelOf(p.Dir()))
		}
	}
	seen := map[string]bool{}
	for i, p := range scripts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i == maxScripts {
			return emit(collect.Problem(c.Name(), facts.Source{Path: p}, "too many scripts: the rest is not read"))
		}
		name := strings.TrimSuffix(p.Base(), ".sh")
		if seen[name] || !executable(r, p) || hasUnit(r, name) {
			continue
		}
		seen[name] = true
		data, err := r.ReadFile(p, maxFile)
		if err != nil {
			if err := emit(collect.Problem(c.Name(), facts.Source{Path: p}, reason(err))); err != nil {
				return err
			}
			continue
		}
		s := read(r, p, string(data))
		s.Name = name
		s.StartLevels = append(s.StartLevels, starts[p.Base()]...)
		slices.Sort(s.StartLevels)
		s.StartLevels = slices.Compact(s.StartLevels)
		src := facts.Source{Path: p}
		if err := emit(collect.Found{Kind: facts.KindScript, Name: name, Source: src, Data: s}); err != nil {
			return err
		}
	}
	return nil
}

// startLink is the script that S20NAME starts.
func startLink(base string) (string, bool) {
	if len(base) < 4 || base[0] != 'S' || base[1] < '0' || base[1] > '9' || base[2] < '0' || base[2] > '9' {
		return "", false
	}
	return base[3:], true
}

// executable reports whether init would run the script.
func executable(r *rootfs.Root, p hostpath.Path) bool {
	fi, err := r.Stat(p)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o100 != 0
}

// hasUnit reports whether systemd has a unit, an alias or a mask of that name,
// which goes before the script (systemd-sysv-generator(8)).
func hasUnit(r *rootfs.Root, name string) bool {
	for _, dir := range systemd.SearchPath() {
		if strings.Contains(string(dir), "generator") {
			continue
		}
		_, err := r.Readlink(dir.Join(name + ".service"))
		if err == nil || errors.Is(err, unix.EINVAL) { // a link, or there and no link
			return true
		}
	}
	return false
}

func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}
