package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/tree"
)

// makeEphemeral gives Pods the directories that were there on the host without
// being kept: run-time directories, caches, logs, temporary ones.
func (p *planner) makeEphemeral(ctx context.Context) error {
	for _, w := range p.pods {
		for _, s := range w.services {
			p.mountSharedMemory(w, s)
			p.mountTmpfs(w, s)
			for _, d := range p.ephemeralOf(s) {
				if !slices.ContainsFunc(s.box.Mounts, func(m handoff.Mount) bool { return m.Path == d.Path }) {
					p.mountEphemeral(w, s, d)
				}
			}
			// Each service has temporary directories of its own, as with PrivateTmp=.
			for _, dir := range []hostpath.Path{"/tmp", "/var/tmp"} {
				name := kubename.Label(s.box.Name+string(dir), kubename.MaxLabel)
				if p.inVolume(s, dir) {
					continue
				}
				w.addVolume(handoff.PodVolume{Name: name, Origin: handoff.FromEphemeral, Dirs: []handoff.EphemeralDir{{Path: dir, Mode: 0o1777, Reason: "temporary files"}}})
				s.addMount(handoff.Mount{Volume: name, Path: dir})
			}
		}
		if err := p.logFiles(ctx, w); err != nil {
			return err
		}
		p.shareRuntime(w)
		if err := p.linkLogs(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// ephemeralOf are the directories that a service needs, each once.
func (p *planner) ephemeralOf(s *service) []handoff.EphemeralDir {
	var out []handoff.EphemeralDir
	add := func(d handoff.EphemeralDir) {
		d.Serves = nil
		same := func(e handoff.EphemeralDir) bool { return e.Path == d.Path }
		if d.Path == "/tmp" || d.Path == "/var/tmp" || d.Path == "/run" || tooWide(d.Path) || slices.ContainsFunc(out, same) {
			return
		}
		out = append(out, d)
	}
	for _, d := range p.split.Ephemeral {
		mine := slices.Contains(d.Serves, s.id) || p.claimedFor(s, d.Path) != "" || p.mentioned(s, d.Path) != "" && !inRun(d.Path)
		free := len(d.Serves) == 0 || inRun(d.Path) && !slices.ContainsFunc(d.Serves, p.runsAlways)
		if mine || free && p.worksAs(s, d.UID) {
			add(d)
		}
	}
	if s.profile != nil {
		for _, r := range s.profile.Run.Runtime {
			d := handoff.EphemeralDir{Path: hostpath.Clean(r.Path), Mode: 0o755, UID: s.box.UID, GID: s.box.GID, Reason: "the application's run-time directory"}
			if u, ok := p.host.user(r.User); ok && r.User != "" {
				d.UID, d.GID = u.UID, u.GID
			}
			if g, ok := p.host.group(r.Group); ok && r.Group != "" {
				d.GID = g
			}
			if m, err := strconv.ParseUint(r.Mode, 8, 12); err == nil {
				d.Mode = uint32(m)
			}
			add(d)
		}
	}
	for _, k := range []struct{ key, base string }{{"RuntimeDirectory", "/run"}, {"CacheDirectory", "/var/cache"}, {"LogsDirectory", "/var/log"}} {
		mode := uint32(0o755)
		if d, ok := s.unit.Last("Service", k.key+"Mode"); ok {
			if m, err := strconv.ParseUint(d.Value, 8, 12); err == nil {
				mode = uint32(m)
			}
		}
		for _, d := range s.unit.Values("Service", k.key) {
			for word := range strings.FieldsSeq(p.specifiers(s).expand(d.Value)) {
				name, _, _ := strings.Cut(word, ":")
				path := hostpath.Clean(k.base).Join(name)
				if !p.inVolume(s, path) {
					add(handoff.EphemeralDir{Path: path, UID: s.box.UID, GID: s.box.GID, Mode: mode, Reason: k.key + "=" + d.Value})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b handoff.EphemeralDir) int { return hostpath.Compare(a.Path, b.Path) })
	return out
}

// mountTmpfs mounts what fstab(5) had in memory, with the size that it had.
func (p *planner) mountTmpfs(w *pod, s *service) {
	for _, f := range p.host.fstab {
		if f.FSType != "tmpfs" || p.mentioned(s, f.Target) == "" || inRun(f.Target) || f.Target == "/tmp" || f.Target == "/var/tmp" {
			continue
		}
		d := handoff.EphemeralDir{Path: f.Target, Mode: 0o1777, Reason: "tmpfs in " + place(f.Source)}
		v := handoff.PodVolume{Name: kubename.Label("dir-"+string(f.Target), kubename.MaxLabel), Origin: handoff.FromEphemeral, Memory: true}
		for _, o := range f.Options {
			name, value, _ := strings.Cut(o, "=")
			switch name {
			case "size":
				v.SizeLimit = sizeOf(strings.ToUpper(value))
			case "mode":
				if m, err := strconv.ParseUint(value, 8, 12); err == nil {
					d.Mode = uint32(m)
				}
			case "uid":
				if u, ok := p.host.user(value); ok {
					d.UID = u.UID
				}
			case "gid":
				if g, ok := p.host.group(value); ok {
					d.GID = g
				}
			}
		}
		v.Dirs = []handoff.EphemeralDir{d}
		w.addVolume(v)
		s.addMount(handoff.Mount{Volume: v.Name, Path: f.Target})
	}
}

// runsAlways reports whether a unit is a service of the plan that is no job.
func (p *planner) runsAlways(unit string) bool {
	return slices.ContainsFunc(p.services, func(s *service) bool { return s.id == unit && !s.job() })
}

// inVolume reports whether a volume of the service is mounted at the path or
// above it.
func (p *planner) inVolume(s *service, path hostpath.Path) bool {
	return slices.ContainsFunc(p.plan.Volumes, func(v handoff.Volume) bool {
		return path.Within(v.Path) && slices.ContainsFunc(s.box.Mounts, func(m handoff.Mount) bool { return m.Volume == v.Name })
	})
}

// mountEphemeral mounts the directory, or nothing when one above it is mounted
// for the same service: then it becomes one more directory of that.
func (p *planner) mountEphemeral(w *pod, s *service, d handoff.EphemeralDir) {
	for i := range w.Mounts {
		v := &w.Mounts[i]
		if v.Origin != handoff.FromEphemeral || len(v.Dirs) == 0 || d.Path == v.Dirs[0].Path || !d.Path.Within(v.Dirs[0].Path) || v.Dirs[0].Path == "/tmp" {
			continue
		}
		if slices.ContainsFunc(s.box.Mounts, func(m handoff.Mount) bool { return m.Volume == v.Name }) {
			if !slices.ContainsFunc(v.Dirs, func(e handoff.EphemeralDir) bool { return e.Path == d.Path }) {
				v.Dirs = append(v.Dirs, d)
			}
			return
		}
	}
	name := kubename.Label("dir-"+string(d.Path), kubename.MaxLabel)
	w.addVolume(handoff.PodVolume{Name: name, Origin: handoff.FromEphemeral, Dirs: []handoff.EphemeralDir{d}, Memory: inRun(d.Path)})
	s.addMount(handoff.Mount{Volume: name, Path: d.Path})
}

func inRun(p hostpath.Path) bool { return p.Within("/run") || p.Within("/var/run") }

// shareRuntime mounts the run-time directories of a service in the containers of
// the Pod that use it: there are the sockets through which they talk.
func (p *planner) shareRuntime(w *pod) {
	for _, b := range p.bonds {
		if !slices.Contains(w.services, b.from) || !slices.Contains(w.services, b.to) {
			continue
		}
		for _, v := range w.Mounts {
			mounts := func(m handoff.Mount) bool { return m.Volume == v.Name }
			if v.Origin == handoff.FromEphemeral && len(v.Dirs) > 0 && inRun(v.Dirs[0].Path) && slices.ContainsFunc(b.to.box.Mounts, mounts) {
				b.from.addMount(handoff.Mount{Volume: v.Name, Path: v.Dirs[0].Path})
			}
		}
	}
}

// logFiles makes the files that a service which is not root writes in a
// directory that many share, such as /var/log/NAME.log: there it may write the
// file but not make it. The file becomes an empty one of an emptyDir.
func (p *planner) logFiles(ctx context.Context, w *pod) error {
	for _, s := range w.services {
		ids := s.workers
		if !s.box.StartsAsRoot {
			ids = s.identities()
		}
		for _, m := range s.mentions {
			if !tooWide(m.path.Dir()) || !m.path.Within("/var") || tooWide(m.path) {
				continue
			}
			e, err := p.host.cat.Lookup(ctx, m.path)
			if errors.Is(err, catalog.ErrNoPath) {
				continue
			}
			if err != nil {
				return err
			}
			owns := slices.ContainsFunc(ids, func(id identity) bool { return id.uid == e.UID && id.uid != 0 })
			if e.Type != tree.Regular || e.Class == claim.Image || e.Class == claim.Volume || !owns {
				continue
			}
			name := kubename.Label(s.box.Name+"-files", kubename.MaxLabel)
			i := slices.IndexFunc(w.Mounts, func(v handoff.PodVolume) bool { return v.Name == name })
			if i < 0 {
				i = len(w.Mounts)
				w.addVolume(handoff.PodVolume{Name: name, Origin: handoff.FromEphemeral})
			}
			file := handoff.EphemeralDir{Path: m.path, UID: e.UID, GID: e.GID, Mode: e.Mode, Reason: m.how}
			if !slices.ContainsFunc(w.Mounts[i].Files, func(f handoff.EphemeralDir) bool { return f.Path == m.path }) {
				w.Mounts[i].Files = append(w.Mounts[i].Files, file)
			}
			s.addMount(handoff.Mount{Volume: name, Path: m.path, SubPath: kubename.Key(string(m.path))})
			p.risk("low", s.id, fmt.Sprintf("writes %s, which ends with the Pod and is in no log of the cluster", m.path), "let it log to standard output")
		}
	}
	return nil
}

// linkLogs tells where log files lead to standard output, as profiles say.
func (p *planner) linkLogs(ctx context.Context, w *pod) error {
	for _, s := range w.services {
		for _, q := range s.profiles() {
			for _, key := range sortedKeys(q.Run.LogLinks) {
				files := []string{key}
				if setting, ok := strings.CutPrefix(key, "setting:"); ok {
					files = p.settingValues(q.Name, setting)
				}
				for _, f := range files {
					path, ok := pathOf(f)
					if !ok || p.inSeededVolume(path) {
						continue
					}
					if _, err := p.host.cat.Lookup(ctx, path.Dir()); errors.Is(err, catalog.ErrNoPath) {
						continue
					} else if err != nil {
						return err
					}
					if s.box.LogLinks == nil {
						s.box.LogLinks = map[hostpath.Path]string{}
					}
					s.box.LogLinks[path] = q.Run.LogLinks[key]
				}
			}
		}
	}
	return nil
}

func (p *planner) inSeededVolume(path hostpath.Path) bool {
	return slices.ContainsFunc(p.split.Volumes, func(v handoff.VolumeRoot) bool { return path.Within(v.Path) })
}

// settingValues are all values of a setting that hold no credential.
func (p *planner) settingValues(name, key string) []string {
	var out []string
	for _, v := range p.host.settings {
		if v.Profile == name && !v.Secret && matchKey(key, v.Key) && !slices.Contains(out, v.Value) {
			out = append(out, v.Value)
		}
	}
	return out
}
