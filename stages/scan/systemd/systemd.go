// Package systemd collects the units of a host as its system manager would load
// them: the search path with its precedence, drop-ins, templates and instances,
// aliases, masks, and the links that enable (systemd.unit(5)).
package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/unitfile"
	"github.com/statelift/statelift/stages/scan/collect"
)

// Limits against a hostile root.
const (
	maxFile  = 1 << 20
	maxUnits = 20000
	maxHops  = 16
)

// Collector emits a facts.Unit for every unit that has a file, for templates,
// and for every instance that a link or a file names.
type Collector struct{}

var _ collect.Collector = Collector{}

// Name implements collect.Collector.
func (Collector) Name() string { return "systemd" }

// Wants implements collect.Collector.
func (Collector) Wants(p hostpath.Path, _ tree.Type) bool {
	if !strings.Contains(string(p), "/systemd/") {
		return false
	}
	for _, d := range SearchPath() {
		if p.Within(d) {
			return true
		}
	}
	return false
}

// SearchPath is where the system manager looks for units, the strongest first.
// The last is for hosts whose /lib is no link to /usr/lib.
func SearchPath() []hostpath.Path {
	return []hostpath.Path{
		"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
		"/run/systemd/generator.early", "/etc/systemd/system", "/etc/systemd/system.attached",
		"/run/systemd/system", "/run/systemd/system.attached", "/run/systemd/generator",
		"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/run/systemd/generator.late",
		"/lib/systemd/system",
	}
}

// Collect implements collect.Collector.
func (c Collector) Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	if len(paths) == 0 {
		return nil
	}
	s := &scan{root: r, emit: emit, name: c.Name()}
	if err := s.readDirs(ctx); err != nil {
		return err
	}
	links, err := s.links(ctx)
	if err != nil {
		return err
	}
	for _, name := range s.names(links) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.unit(name, links); err != nil {
			return err
		}
	}
	return nil
}

// scan is one run over one root.
type scan struct {
	root *rootfs.Root
	emit collect.Emit
	name string

	dirs    []hostpath.Path            // those that exist, the strongest first, each once
	units   map[unitfile.Name]place    // the strongest entry of each name
	below   map[string][]hostpath.Path // directories such as NAME.d and NAME.wants by name, the strongest first
	aliases map[unitfile.Name][]string
}

// place is an entry of a search directory.
type place struct {
	dir    hostpath.Path
	link   bool
	target hostpath.Path // of a link, absolute
}

// problem reports what could not be read; the scan goes on.
func (s *scan) problem(src facts.Source, what string) error {
	return s.emit(collect.Problem(s.name, src, what))
}

func (s *scan) readDirs(ctx context.Context) error {
	s.units, s.below = map[unitfile.Name]place{}, map[string][]hostpath.Path{}
	var seen []hostpath.Path
	for _, dir := range SearchPath() {
		if err := ctx.Err(); err != nil {
			return err
		}
		real, err := s.root.Resolve(dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && slices.Contains(seen, real) {
			continue
		}
		seen = append(seen, real)
		var list []fs.DirEntry
		if err == nil {
			list, err = s.root.ReadDir(dir)
		}
		if err != nil {
			if err := s.problem(facts.Source{Path: dir}, reason(err)); err != nil {
				return err
			}
			continue
		}
		s.dirs = append(s.dirs, dir)
		for _, e := range list {
			s.entry(dir, e)
		}
		if len(s.units) > maxUnits {
			return s.problem(facts.Source{Path: dir}, fmt.Sprintf("more than %d units: the rest is not read", maxUnits))
		}
	}
	return nil
}

func (s *scan) entry(dir hostpath.Path, e fs.DirEntry) {
	name, p := e.Name(), place{dir: dir}
	if e.Type()&fs.ModeSymlink != 0 {
		target, err := s.root.Readlink(dir.Join(name))
		if err != nil {
			return
		}
		p.link = true
		if p.target = hostpath.Clean(target); !strings.HasPrefix(target, "/") {
			p.target = dir.Join(target)
		}
	}
	switch n := unitfile.Name(name); {
	case isSub(name):
		s.below[name] = append(s.below[name], dir.Join(name))
	case e.IsDir() || !n.Valid():
	default:
		if _, ok := s.units[n]; !ok {
			s.units[n] = p
		}
	}
}

func isSub(name string) bool {
	for _, suffix := range append(dependencySuffixes(), ".d") {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// dependencySuffixes are those of directories whose links are dependencies.
func dependencySuffixes() []string { return []string{".wants", ".requires", ".upholds"} }

// reason is an error without the path, which the problem's source names.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}
