package systemd

import (
	"context"
	"io/fs"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// links are the units that .wants, .requires and .upholds directories name, each
// with the units whose directories those are. Only the name of a link counts;
// one that leads to /dev/null hides weaker ones of its name.
func (s *scan) links(ctx context.Context) (map[unitfile.Name][]string, error) {
	out := map[unitfile.Name][]string{}
	for _, sub := range sortedKeys(s.below) {
		holder, ok := holderOf(sub)
		if !ok {
			continue
		}
		if u, ok := s.resolve(holder); ok {
			holder = u.name
		}
		seen := map[string]bool{}
		for _, dir := range s.below[sub] {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			list, err := s.root.ReadDir(dir)
			if err != nil {
				if err := s.problem(facts.Source{Path: dir}, reason(err)); err != nil {
					return nil, err
				}
				continue
			}
			for _, e := range list {
				name := unitfile.Name(e.Name())
				if seen[e.Name()] || e.IsDir() || !name.Valid() {
					continue
				}
				seen[e.Name()] = true
				if s.isNull(dir.Join(e.Name()), e) {
					continue
				}
				s.want(out, name, holder)
			}
		}
	}
	s.generated(out)
	for name := range out {
		slices.Sort(out[name])
		out[name] = slices.Compact(out[name])
	}
	return out, nil
}

// want notes that holder asks for name, when that has a file.
func (s *scan) want(out map[unitfile.Name][]string, name, holder unitfile.Name) {
	if u, ok := s.resolve(name); ok && !u.name.IsTemplate() {
		out[u.name] = append(out[u.name], string(holder))
	}
}

func (s *scan) isNull(p hostpath.Path, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return false
	}
	target, err := s.root.Readlink(p)
	return err == nil && target == "/dev/null"
}

// holderOf is the unit that a directory of dependencies belongs to.
func holderOf(sub string) (unitfile.Name, bool) {
	for _, suffix := range dependencySuffixes() {
		if name, ok := strings.CutSuffix(sub, suffix); ok {
			// The targets of an initial RAM disk are never reached on the host.
			return unitfile.Name(name), unitfile.Name(name).Valid() && !strings.HasPrefix(name, "initrd")
		}
	}
	return "", false
}

// generated adds the instances that generators make when the host boots, since
// the /run of a host that does not run is empty: postgresql-common starts a
// cluster for every /etc/postgresql/VERSION/NAME whose start.conf says auto.
func (s *scan) generated(out map[unitfile.Name][]string) {
	if _, ok := s.units["postgresql@.service"]; !ok {
		return
	}
	const base hostpath.Path = "/etc/postgresql"
	versions, err := s.root.ReadDir(base)
	if err != nil {
		return
	}
	for _, v := range versions {
		clusters, err := s.root.ReadDir(base.Join(v.Name()))
		if err != nil {
			continue
		}
		for _, c := range clusters {
			dir := base.Join(v.Name(), c.Name())
			if _, err := s.root.Stat(dir.Join("postgresql.conf")); err != nil || !s.startsAuto(dir) {
				continue
			}
			name := unitfile.Name("postgresql@" + v.Name() + "-" + c.Name() + ".service")
			if name.Valid() && !slices.Contains(out[name], "postgresql.service") {
				s.want(out, name, "postgresql.service")
			}
		}
	}
}

func (s *scan) startsAuto(dir hostpath.Path) bool {
	data, err := s.root.ReadFile(dir.Join("start.conf"), maxFile)
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			return line == "auto"
		}
	}
	return true
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
