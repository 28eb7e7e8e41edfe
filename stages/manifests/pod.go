package manifests

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/handoff"
)

// memoryLimit bounds emptyDirs in memory that name no limit: sockets, pid files
// and copied credentials are small.
const memoryLimit = 64 << 20

// pod is the specification of a workload's Pods.
func (w *writer) pod(wl handoff.Workload) corev1.PodSpec {
	spec := corev1.PodSpec{
		ServiceAccountName:            w.plan.ObjectName(wl.Name),
		AutomountServiceAccountToken:  ptr(false),
		EnableServiceLinks:            ptr(false),
		TerminationGracePeriodSeconds: ptr(wl.GraceSeconds),
		SecurityContext: &corev1.PodSecurityContext{
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
	if wl.FSGroup != nil {
		spec.SecurityContext.FSGroup = wl.FSGroup
		spec.SecurityContext.FSGroupChangePolicy = ptr(corev1.FSGroupChangeOnRootMismatch)
	}
	if wl.LowPorts {
		spec.SecurityContext.Sysctls = []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}}
	}
	var groups []int64
	for _, c := range wl.Containers {
		for _, g := range c.Groups {
			groups = append(groups, int64(g))
		}
	}
	slices.Sort(groups)
	spec.SecurityContext.SupplementalGroups = slices.Compact(groups)
	if arch := w.plan.Host.Architecture; arch != "" {
		spec.NodeSelector = map[string]string{"kubernetes.io/arch": arch, "kubernetes.io/os": "linux"}
	}
	for _, a := range w.plan.HostAliases {
		spec.HostAliases = append(spec.HostAliases, corev1.HostAlias{IP: a.IP, Hostnames: a.Names})
	}
	if wl.Near != "" {
		spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
				LabelSelector: &metav1.LabelSelector{MatchLabels: w.labels(wl.Near)}, TopologyKey: corev1.LabelHostname,
			}},
		}}
	}
	prepare := w.prepare(wl)
	if prepare.needed() {
		spec.InitContainers = append(spec.InitContainers, prepare.container(w))
	}
	// After what prepares the directories, whose owner and mode the objects say, too.
	spec.InitContainers = append(spec.InitContainers, w.fetches(wl)...)
	for _, c := range wl.Containers {
		for i, command := range c.Before {
			b := w.container(c, prepare)
			b.Name = "before-" + c.Name + "-" + itoa(i+1)
			b.Command = command
			b.Ports, b.ReadinessProbe, b.LivenessProbe, b.StartupProbe = nil, nil, nil, nil
			spec.InitContainers = append(spec.InitContainers, b)
		}
		spec.Containers = append(spec.Containers, w.container(c, prepare))
	}
	spec.Volumes = w.podVolumes(wl, prepare)
	// What moves a database out of the cluster runs before the fence is opened.
	if w.options.Hold && wl.External == nil {
		fence.Guard(w.plan, &spec)
	}
	return spec
}

// podVolumes are the volumes that a container mounts, by name.
func (w *writer) podVolumes(wl handoff.Workload, prepare *preparation) []corev1.Volume {
	var out []corev1.Volume
	for _, v := range wl.Mounts {
		files := mountedFiles(wl, v.Name)
		vol := corev1.Volume{Name: v.Name}
		switch v.Origin {
		case handoff.FromVolume, handoff.FromShare:
			vol.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: w.plan.ObjectName(v.Of)}
		case handoff.FromConfig:
			vol.ConfigMap = &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: w.plan.ObjectName(v.Of)},
				Items:                w.items(handoff.FromConfig, v.Of, files), DefaultMode: ptr(int32(0o444)),
			}
		case handoff.FromSecret:
			vol.Secret = &corev1.SecretVolumeSource{
				SecretName: w.plan.ObjectName(v.Of), Items: w.items(handoff.FromSecret, v.Of, files), DefaultMode: ptr(int32(0o400)),
			}
		default:
			vol.EmptyDir = emptyDir(v)
		}
		if len(files) == 0 && (v.Origin == handoff.FromConfig || v.Origin == handoff.FromSecret) {
			continue // its variables alone are used
		}
		out = append(out, vol)
	}
	if slices.ContainsFunc(wl.Mounts, func(v handoff.PodVolume) bool { return v.Origin == handoff.FromObjects }) {
		out = append(out, corev1.Volume{Name: fetchTemp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	if len(prepare.copies) > 0 {
		out = append(out, corev1.Volume{Name: copiedVolume, VolumeSource: corev1.VolumeSource{EmptyDir: emptyDir(handoff.PodVolume{Memory: true})}})
	}
	return out
}

func emptyDir(v handoff.PodVolume) *corev1.EmptyDirVolumeSource {
	e := &corev1.EmptyDirVolumeSource{}
	limit := v.SizeLimit
	if v.Memory {
		e.Medium = corev1.StorageMediumMemory
		if limit == 0 {
			limit = memoryLimit
		}
	}
	if limit > 0 {
		e.SizeLimit = ptr(bytesQuantity(limit))
	}
	return e
}

// mountedFiles are the keys of a volume that any container mounts.
func mountedFiles(wl handoff.Workload, volume string) map[string]bool {
	keys := map[string]bool{}
	for _, c := range wl.Containers {
		for _, m := range c.Mounts {
			if m.Volume == volume && m.SubPath != "" {
				keys[m.SubPath] = true
			}
		}
	}
	return keys
}

// items lists the keys that are mounted, each with the mode of its file.
func (w *writer) items(origin handoff.Origin, set string, keys map[string]bool) []corev1.KeyToPath {
	var out []corev1.KeyToPath
	for _, f := range w.sets[setKey(origin, set)].Files {
		if keys[f.Key] && f.Variable == "" {
			out = append(out, corev1.KeyToPath{Key: f.Key, Path: f.Key, Mode: ptr(int32(f.Mode & 0o777))})
		}
	}
	return out
}

// container is one service.
func (w *writer) container(c handoff.Container, prepare *preparation) corev1.Container {
	out := corev1.Container{
		Name:            c.Name,
		Image:           w.imageRef(c.Image),
		ImagePullPolicy: corev1.PullIfNotPresent, // the digest says which
		// Why it ended is then told with its status.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Command:                  c.Command,
		WorkingDir:               string(c.WorkDir),
		Resources:                resources(c.Resources),
		SecurityContext:          securityContext(c),
		ReadinessProbe:           probe(c.Ready),
		LivenessProbe:            probe(c.Live),
		StartupProbe:             probe(c.Startup),
	}
	for _, p := range c.Ports {
		out.Ports = append(out.Ports, corev1.ContainerPort{Name: p.Name, ContainerPort: p.Number, Protocol: corev1.Protocol(p.Protocol)})
	}
	for _, e := range c.Env {
		out.Env = append(out.Env, w.env(e))
	}
	for _, m := range c.Mounts {
		out.VolumeMounts = append(out.VolumeMounts, prepare.mount(m))
	}
	return out
}

// imageRef is where the image is; before it was pushed anywhere, its name with
// its digest, for which an overlay gives a registry.
func (w *writer) imageRef(name string) string {
	img, ok := w.images[name]
	switch {
	case !ok:
		return name
	case img.Ref != "":
		return img.Ref
	}
	return name + "@" + img.Digest
}

func (w *writer) env(e handoff.Env) corev1.EnvVar {
	switch {
	case e.From == "":
		return corev1.EnvVar{Name: e.Name, Value: e.Value}
	case e.Secret:
		return corev1.EnvVar{Name: e.Name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: w.plan.ObjectName(e.From)}, Key: e.Key,
		}}}
	}
	return corev1.EnvVar{Name: e.Name, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: w.plan.ObjectName(e.From)}, Key: e.Key,
	}}}
}

func resources(r handoff.Resources) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{Requests: corev1.ResourceList{}}
	if r.CPU > 0 {
		out.Requests[corev1.ResourceCPU] = milliQuantity(r.CPU)
	}
	if r.Memory > 0 {
		out.Requests[corev1.ResourceMemory] = bytesQuantity(r.Memory)
	}
	if r.MemoryLimit > 0 {
		out.Limits = corev1.ResourceList{corev1.ResourceMemory: bytesQuantity(r.MemoryLimit)}
	}
	return out
}

// securityContext gives the container the numbers of the host's user and
// nothing that it does not need.
func securityContext(c handoff.Container) *corev1.SecurityContext {
	out := &corev1.SecurityContext{
		RunAsUser: ptr(int64(c.UID)), RunAsGroup: ptr(int64(c.GID)), RunAsNonRoot: ptr(c.UID != 0),
		AllowPrivilegeEscalation: ptr(c.Escalates), ReadOnlyRootFilesystem: ptr(c.ReadOnlyRoot), Privileged: ptr(false),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	for _, name := range c.Capabilities {
		out.Capabilities.Add = append(out.Capabilities.Add, corev1.Capability(name))
	}
	return out
}

func probe(p *handoff.Probe) *corev1.Probe {
	if p == nil {
		return nil
	}
	out := &corev1.Probe{InitialDelaySeconds: p.Initial, PeriodSeconds: p.Period, TimeoutSeconds: p.Timeout, FailureThreshold: p.Failures}
	switch {
	case len(p.Exec) > 0:
		out.Exec = &corev1.ExecAction{Command: p.Exec}
	case p.HTTPPath != "":
		out.HTTPGet = &corev1.HTTPGetAction{Path: p.HTTPPath, Port: intstr.FromInt32(p.Port), Scheme: corev1.URISchemeHTTP}
		if p.TLS {
			out.HTTPGet.Scheme = corev1.URISchemeHTTPS
		}
	default:
		out.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt32(p.Port)}
	}
	return out
}
