package split

import (
	"bytes"
	"context"
	"regexp"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// maxConfText is the largest configuration of an unknown format that is read for
// the paths it names.
const maxConfText = 256 << 10

// assignment is one line of most formats of configuration: key = /path,
// key: "/path", <key>/path, key /path.
var assignment = regexp.MustCompile(`^\s*(?:export\s+|<)?["']?([A-Za-z][\w.-]*)["']?\s*(?:[:=>]\s*|\s)["']?(/[^\s"'<>,;]+)`)

// namedIn reads configuration of no known format for the directories it names:
// data = /srv/x says more than the name of the directory.
func (s *run) namedIn(ctx context.Context, svc service, file hostpath.Path) error {
	if svc.profile == nil || !generic(svc.profile.Name) && svc.cron == nil {
		return nil // its profile knows the format
	}
	id := svc.name + "\x00" + string(file)
	if s.readFor[id] {
		return nil
	}
	if s.readFor == nil {
		s.readFor = map[string]bool{}
	}
	s.readFor[id] = true
	n, ok, err := s.view.at(ctx, file)
	if err != nil || !ok || n.typ != tree.Regular || n.size > maxConfText {
		return err
	}
	data, err := s.root.ReadFile(file, maxConfText)
	if err != nil || bytes.IndexByte(data, 0) >= 0 {
		return nil // no text: then it names nothing that could be read
	}
	for i, line := range strings.Split(string(data), "\n") {
		if text := strings.TrimSpace(line); text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		m := assignment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		p := hostpath.Clean(m[2])
		if err := s.mention(ctx, svc, p, mention{key: m[1], from: at(facts.Source{Path: file, Line: i + 1}, m[1]+" = "+p.String())}); err != nil {
			return err
		}
	}
	return nil
}

// applicationConfig reads the configuration in the trees of applications, before
// they are divided.
func (s *run) applicationConfig(ctx context.Context) error {
	for _, root := range sortedRoots(s.users) {
		for _, u := range s.users[root] {
			for _, dir := range []string{"conf", "config", "etc", "."} {
				list, _, err := s.view.children(ctx, root.Join(dir), maxList)
				if err != nil {
					return err
				}
				for _, n := range list {
					if nameKind(n.path.Base(), n.typ) != confName || n.typ != tree.Regular {
						continue
					}
					if err := s.namedIn(ctx, s.service(u.serves), n.path); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (s *run) service(name string) service {
	for _, svc := range s.host.services {
		if svc.name == name {
			return svc
		}
	}
	return service{name: name}
}
