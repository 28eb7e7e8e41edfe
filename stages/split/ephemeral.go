package split

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/shellwords"
	"github.com/statelift/statelift/pipeline/tree"
)

// ephemeral lists the directories that must exist, empty, for services: what
// the manager, tmpfiles.d(5) and init scripts made at every boot, with owner and
// mode as on the host, and where it is not there now, as they would make it.
func (s *run) ephemeral(ctx context.Context) ([]handoff.EphemeralDir, error) {
	dirs := map[hostpath.Path]*handoff.EphemeralDir{}
	add := func(d handoff.EphemeralDir) *handoff.EphemeralDir {
		d.Path = s.real(d.Path)
		old, ok := dirs[d.Path]
		if !ok {
			dirs[d.Path] = &d
			return &d
		}
		old.Serves = append(old.Serves, d.Serves...)
		return old
	}
	for _, svc := range s.host.services {
		s.unitDirs(svc, add)
		if svc.profile != nil {
			s.profileDirs(svc.profile, svc.name, add)
		}
	}
	for _, e := range s.host.embedded {
		for _, serves := range e.serves {
			s.profileDirs(e.profile, serves, add)
		}
	}
	s.tmpfileDirs(add)
	if err := s.claimedDirs(ctx, add); err != nil {
		return nil, err
	}
	var out []handoff.EphemeralDir
	for _, p := range slices.SortedFunc(maps.Keys(dirs), hostpath.Compare) {
		d := *dirs[p]
		slices.Sort(d.Serves)
		d.Serves = slices.Compact(d.Serves)
		switch e, err := s.cat.Lookup(ctx, p); {
		case errors.Is(err, catalog.ErrNoPath): // made at boot: as they say who make it
		case err != nil:
			return nil, err
		case e.Type != tree.Directory:
			continue
		default:
			d.UID, d.GID, d.Mode = e.UID, e.GID, e.Mode
		}
		d.Mode = cmp.Or(d.Mode, 0o755)
		out = append(out, d)
	}
	return out, nil
}

type addDir func(handoff.EphemeralDir) *handoff.EphemeralDir

func (s *run) unitDirs(svc service, add addDir) {
	if svc.unit == nil {
		return
	}
	user, group := s.ids(svc)
	for _, d := range []struct {
		key, mode string
		parent    hostpath.Path
	}{
		{"RuntimeDirectory", "RuntimeDirectoryMode", "/run"}, {"CacheDirectory", "CacheDirectoryMode", "/var/cache"}, {"LogsDirectory", "LogsDirectoryMode", "/var/log"},
	} {
		mode := uint32(0o755)
		if m, ok := svc.unit.Last("Service", d.mode); ok {
			if v, err := strconv.ParseUint(m.Value, 8, 12); err == nil {
				mode = uint32(v)
			}
		}
		for _, v := range svc.unit.Values("Service", d.key) {
			value, ok := s.host.expand(svc.unit, v)
			if !ok {
				continue
			}
			for _, name := range fields(value) {
				add(handoff.EphemeralDir{Path: d.parent.Join(name), UID: user, GID: group, Mode: mode, Serves: []string{svc.name}, Reason: d.key + "= of " + svc.name})
			}
		}
	}
}

func (s *run) ids(svc service) (uid, gid uint32) {
	u := s.host.users[svc.user]
	uid, gid = u.UID, u.GID
	if svc.unit != nil {
		if d, ok := svc.unit.Last("Service", "Group"); ok {
			gid = s.group(d.Value, gid)
		}
	}
	return uid, gid
}

func (s *run) group(name string, otherwise uint32) uint32 {
	if g, ok := s.host.groups[name]; ok {
		return g
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n)
	}
	return otherwise
}

func (s *run) profileDirs(p *profile.Profile, serves string, add addDir) {
	for _, r := range p.Run.Runtime {
		mode, _ := strconv.ParseUint(r.Mode, 8, 12) // checked when the profile was read
		u := s.host.users[r.User]
		d := handoff.EphemeralDir{Path: hostpath.Path(r.Path), UID: u.UID, GID: s.group(r.Group, u.GID), Mode: uint32(mode), Reason: "the profile of " + p.Title}
		if serves != "" {
			d.Serves = []string{serves}
		}
		add(d)
	}
}

// tmpfileDirs are those that an administrator or a service's package has made
// at every boot.
func (s *run) tmpfileDirs(add addDir) {
	packages := map[string]string{}
	for _, svc := range s.host.services {
		if svc.pkg != "" {
			packages[svc.pkg] = svc.name
		}
	}
	for _, t := range s.host.tmpfiles {
		if len(t.Type) == 0 || !slices.Contains([]byte("dDqQe"), t.Type[0]) || placeOf(t.Path) != inRuntime || neverClaimed(t.Path) {
			continue
		}
		var serves []string
		if name, ok := packages[t.Package]; ok {
			serves = append(serves, name)
		}
		for _, svc := range s.host.services {
			if t.User != "" && t.User != "root" && s.runsAs(svc, t.User) && !slices.Contains(serves, svc.name) {
				serves = append(serves, svc.name)
			}
		}
		if t.Package != "" && len(serves) == 0 {
			continue
		}
		mode, err := strconv.ParseUint(trimMode(t.Mode), 8, 12)
		if err != nil {
			mode = 0o755
		}
		u := s.host.users[t.User]
		add(handoff.EphemeralDir{Path: t.Path, UID: u.UID, GID: s.group(t.Group, u.GID), Mode: uint32(mode), Serves: serves, Reason: at(t.Source, "tmpfiles.d").String()})
	}
}

// runsAs reports whether a service, or the processes it starts, run as a user:
// by its unit, its profile, or its own configuration (User of Apache, user of
// nginx and of PHP-FPM's pools).
func (s *run) runsAs(svc service, user string) bool {
	if svc.user == user || svc.profile != nil && svc.profile.Run.User == user {
		return true
	}
	return svc.profile != nil && slices.ContainsFunc(s.host.settings, func(x facts.Setting) bool {
		return x.Profile == svc.profile.Name && strings.EqualFold(lastPart(x.Key), "user") && x.Value == user
	})
}

func trimMode(mode string) string {
	for len(mode) > 0 && (mode[0] == '~' || mode[0] == ':') {
		mode = mode[1:]
	}
	return mode
}

// claimedDirs are the directories that claims of services make ephemeral.
func (s *run) claimedDirs(ctx context.Context, add addDir) error {
	for _, c := range s.claims.list {
		if c.Class != claim.Ephemeral || c.Serves == "" || c.Reach != claim.Tree && c.Reach != claim.Exact {
			continue
		}
		n, ok, err := s.view.at(ctx, c.Path)
		if err != nil {
			return err
		}
		if ok && n.typ != tree.Directory || !ok && placeOf(c.Path) != inRuntime {
			continue
		}
		add(handoff.EphemeralDir{Path: c.Path, Serves: []string{c.Serves}, Reason: c.Reason})
	}
	for _, p := range []hostpath.Path{"/tmp", "/var/tmp"} {
		if _, ok, err := s.view.at(ctx, p); err != nil {
			return err
		} else if ok {
			add(handoff.EphemeralDir{Path: p, Reason: "temporary files of any service"})
		}
	}
	return nil
}

// fields are the names of a *Directory= setting; NAME:LINK is NAME.
func fields(value string) []string {
	words, err := shellwords.Systemd(value)
	if err != nil {
		return nil
	}
	for i := range words {
		words[i], _, _ = strings.Cut(words[i], ":")
	}
	return words
}

func sortedNames(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
