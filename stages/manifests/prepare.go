package manifests

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
)

// copiedVolume holds the files that a ConfigMap or Secret cannot give the owner
// that their service wants.
const copiedVolume = "copied"

// prepareRoot is where the init container sees what it prepares.
const prepareRoot = "/prepare"

// preparation is what an init container does before the services of a Pod start:
// it gives empty directories the owner and mode that they had on the host, makes
// the links by which logs reach standard output, and copies files that need an
// owner of their own.
type preparation struct {
	image  string
	script []string
	mounts []corev1.VolumeMount
	copies map[string]bool // SET/KEY of the files that are copied
	must   bool            // more than temporary directories
}

func (w *writer) prepare(wl handoff.Workload) *preparation {
	p := &preparation{image: wl.Containers[0].Image, copies: map[string]bool{}}
	links := map[hostpath.Path]string{}
	for _, c := range wl.Containers {
		for path, target := range c.LogLinks {
			links[path] = target
		}
	}
	for _, v := range wl.Mounts {
		if len(v.Dirs) > 0 {
			p.directories(v, links)
		}
		if len(v.Files) > 0 {
			p.files(v)
		}
	}
	for _, v := range wl.Mounts {
		if v.Origin == handoff.FromConfig || v.Origin == handoff.FromSecret {
			p.copyFiles(v, w.sets[setKey(v.Origin, v.Of)], mountedFiles(wl, v.Name))
		}
		if v.Origin == handoff.FromVolume {
			p.emptyVolume(v, w.plan.Volumes)
		}
	}
	if len(p.copies) > 0 {
		p.mounts = append(p.mounts, corev1.VolumeMount{Name: copiedVolume, MountPath: prepareRoot + "/" + copiedVolume})
	}
	return p
}

// directories prepares one volume. Its first directory is its root.
func (p *preparation) directories(v handoff.PodVolume, links map[hostpath.Path]string) {
	root := v.Dirs[0]
	at := hostpath.Path(prepareRoot).Join(v.Name)
	p.see(v.Name, at)
	for i, d := range v.Dirs {
		dir := quote(string(at.Join(d.Path.Below(root.Path).Rel())))
		if i > 0 {
			p.run("mkdir -p %s", dir)
		}
		p.run("chown %d:%d %s", d.UID, d.GID, dir)
		p.run("chmod %04o %s", d.Mode, dir)
	}
	p.must = p.must || len(v.Dirs) > 1 || root.UID != 0 || root.GID != 0 || root.Mode != 0o1777
	for _, path := range sortedPaths(links) {
		if path != root.Path && path.Within(root.Path) {
			p.must = true
			p.run("ln -sfn %s %s", quote(links[path]), quote(string(at.Join(path.Below(root.Path).Rel()))))
		}
	}
}

// emptyVolume gives the root of a volume that starts empty the owner and mode of
// the host's directory; one with a seed has them from there. Once: what the
// application makes of it later stays.
func (p *preparation) emptyVolume(v handoff.PodVolume, volumes []handoff.Volume) {
	i := slices.IndexFunc(volumes, func(o handoff.Volume) bool { return o.Name == v.Of })
	if i < 0 || volumes[i].Seed || volumes[i].Mode == 0 {
		return
	}
	at := hostpath.Path(prepareRoot).Join(v.Name)
	p.see(v.Name, at)
	dir := quote(string(at))
	p.run(`[ -n "$(ls -A %[1]s | grep -vx lost+found)" ] || { chown %[2]d:%[3]d %[1]s; chmod %04[4]o %[1]s; }`, dir, volumes[i].UID, volumes[i].GID, volumes[i].Mode&0o7777)
	p.must = true
}

// files makes empty files, each under its key.
func (p *preparation) files(v handoff.PodVolume) {
	at := hostpath.Path(prepareRoot).Join(v.Name)
	p.see(v.Name, at)
	for _, f := range v.Files {
		name := quote(string(at.Join(kubename.Key(string(f.Path)))))
		p.run("touch %s", name)
		p.run("chown %d:%d %s", f.UID, f.GID, name)
		p.run("chmod %04o %s", f.Mode, name)
	}
	p.must = true
}

// copyFiles copies the files of a set that need their own owner and mode.
func (p *preparation) copyFiles(v handoff.PodVolume, set handoff.FileSet, mounted map[string]bool) {
	first := true
	for _, f := range set.Files {
		if !f.Copied || !mounted[f.Key] {
			continue
		}
		from := hostpath.Path(prepareRoot).Join("set-" + v.Name)
		to := hostpath.Path(prepareRoot).Join(copiedVolume, v.Name)
		if first {
			p.mounts = append(p.mounts, corev1.VolumeMount{Name: v.Name, MountPath: string(from), ReadOnly: true})
			p.run("mkdir -p %s", quote(string(to)))
			p.run("chmod 0755 %s", quote(string(to)))
			first = false
		}
		dst := quote(string(to.Join(f.Key)))
		p.run("cp %s %s", quote(string(from.Join(f.Key))), dst)
		p.run("chown %d:%d %s", f.UID, f.GID, dst)
		p.run("chmod %04o %s", f.Mode, dst)
		p.copies[v.Name+"/"+f.Key] = true
		p.must = true
	}
}

// see mounts a volume of the Pod, once: one that starts empty can have
// directories to be made, too.
func (p *preparation) see(volume string, at hostpath.Path) {
	seen := slices.ContainsFunc(p.mounts, func(m corev1.VolumeMount) bool { return m.MountPath == string(at) })
	if !seen {
		p.mounts = append(p.mounts, corev1.VolumeMount{Name: volume, MountPath: string(at)})
	}
}

func (p *preparation) run(format string, args ...any) {
	p.script = append(p.script, fmt.Sprintf(format, args...))
}

// needed is false when there are only temporary directories, which are good
// enough as Kubernetes makes them.
func (p *preparation) needed() bool { return p.must }

// mount leads a mount of a copied file to its copy.
func (p *preparation) mount(m handoff.Mount) corev1.VolumeMount {
	out := corev1.VolumeMount{Name: m.Volume, MountPath: string(m.Path), SubPath: m.SubPath, ReadOnly: m.ReadOnly}
	if m.SubPath != "" && p.copies[m.Volume+"/"+m.SubPath] {
		out.Name, out.SubPath = copiedVolume, m.Volume+"/"+m.SubPath
	}
	return out
}

// container runs the script with the host's own shell, as root with nothing but
// what changing owners takes.
func (p *preparation) container(w *writer) corev1.Container {
	return corev1.Container{
		Name:            "prepare",
		Image:           w.imageRef(p.image),
		ImagePullPolicy: corev1.PullIfNotPresent,
		// Why it ended is then told with its status.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Command:                  []string{"/bin/sh", "-ec", strings.Join(p.script, "\n") + "\n"},
		Resources:                resources(handoff.PrepareResources()),
		VolumeMounts:             p.mounts,
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: ptr(int64(0)), RunAsGroup: ptr(int64(0)), RunAsNonRoot: ptr(false), Privileged: ptr(false),
			AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "FOWNER"}},
		},
	}
}

// quote makes one word of the shell out of any text.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func sortedPaths(m map[hostpath.Path]string) []hostpath.Path {
	out := make([]hostpath.Path, 0, len(m))
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, hostpath.Compare)
	return out
}
