package manifests

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/statelift/statelift/pipeline/cluster/transferjob"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Volumes of the Pod that moves a database, and where it sees them.
const (
	programVolume = "statelift-program"
	scratchVolume = "statelift-scratch"
	adminVolume   = "statelift-admin"

	programAt = "/.statelift/program"
	scratchAt = "/.statelift/scratch"
	adminAt   = "/.statelift/admin"
)

// makeExternal makes what stands for a workload whose data live in a server
// outside the cluster: a Service that leads there, a Secret that says how to
// connect, and the Job that moves the data.
func (w *writer) makeExternal(wl handoff.Workload) {
	name := w.plan.ObjectName(wl.Name)
	w.makeAccount(name, wl.Name, stepData)
	w.makeOutside(wl, name)
	w.makeConnection(wl, name)
	spec := w.transferSpec(wl)
	part := transferjob.Part(wl.Name)
	m := w.meta(w.plan.ObjectName(part), part, stepData)
	m.Annotations = map[string]string{transferjob.Annotation: wl.Name, reasonAnnotation: wl.WhyKind}
	w.add("Job", &batchv1.Job{TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: m, Spec: spec}, m, false)
	w.makePolicy(w.plan.ObjectName(part), part, nil, stepData)
}

// makeOutside makes the Service: an alias for a name (RFC 1035, CNAME), or one
// without a selector and the address in an EndpointSlice of its own.
func (w *writer) makeOutside(wl handoff.Workload, name string) {
	m := w.meta(name, wl.Name, stepRun)
	m.Annotations = map[string]string{reasonAnnotation: wl.WhyKind}
	port := wl.Service[0]
	address, err := netip.ParseAddr(wl.External.Host)
	if err != nil {
		w.add("Service", &corev1.Service{TypeMeta: typeMeta("v1", "Service"), ObjectMeta: m, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeExternalName, ExternalName: wl.External.Host,
			Ports: []corev1.ServicePort{{Name: port.Name, Port: port.Number, Protocol: corev1.ProtocolTCP}},
		}}, m, false)
		return
	}
	family := discoveryv1.AddressTypeIPv4
	if address.Is6() && !address.Is4In6() {
		family = discoveryv1.AddressTypeIPv6
	}
	w.add("Service", &corev1.Service{TypeMeta: typeMeta("v1", "Service"), ObjectMeta: m, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, Ports: []corev1.ServicePort{{Name: port.Name, Port: port.Number, Protocol: corev1.ProtocolTCP}},
	}}, m, false)
	slice := *m.DeepCopy()
	slice.Labels[discoveryv1.LabelServiceName] = name
	slice.Labels[discoveryv1.LabelManagedBy] = "statelift"
	w.add("EndpointSlice", &discoveryv1.EndpointSlice{
		TypeMeta: typeMeta("discovery.k8s.io/v1", "EndpointSlice"), ObjectMeta: slice, AddressType: family,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address.Unmap().String()}, Conditions: discoveryv1.EndpointConditions{Ready: ptr(true)}}},
		Ports:     []discoveryv1.EndpointPort{{Name: ptr(port.Name), Port: ptr(port.Number), Protocol: ptr(corev1.ProtocolTCP)}},
	}, slice, false)
}

// makeConnection says how clients connect. Their passwords are where their own
// configuration has them.
func (w *writer) makeConnection(wl handoff.Workload, name string) {
	e := wl.External
	m := w.meta(name+"-connection", wl.Name, stepRun)
	w.add("Secret", &corev1.Secret{
		TypeMeta: typeMeta("v1", "Secret"), ObjectMeta: m, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			"engine": []byte(e.Engine), "host": []byte(name), "port": []byte(strconv.Itoa(int(e.Port))), "server": []byte(e.Host),
			"databases": []byte(strings.Join(e.Databases, " ")), "users": []byte(strings.Join(e.Accounts, " ")),
		},
	}, m, true)
}

// transferSpec is the Pod of the workload, with statelift in the place of its
// service: the same image on the same volumes.
func (w *writer) transferSpec(wl handoff.Workload) batchv1.JobSpec {
	pod := w.pod(wl)
	pod.RestartPolicy = corev1.RestartPolicyNever
	image := cmp.Or(w.upload.Copier, defaultCopier)
	bring := w.copyContainer(image, "transfer", "--program-to", programAt)
	bring.Name, bring.EnvFrom = "program", nil
	bring.SecurityContext.Capabilities.Add = nil
	bring.VolumeMounts = []corev1.VolumeMount{{Name: programVolume, MountPath: programAt}}
	pod.InitContainers = append([]corev1.Container{bring}, pod.InitContainers...)

	main := w.container(wl.Containers[0], w.prepare(wl))
	main.Name = transferjob.Container
	main.Ports, main.ReadinessProbe, main.LivenessProbe, main.StartupProbe = nil, nil, nil, nil
	main.Command = []string{programAt + "/statelift"}
	main.Args = []string{
		"transfer", transferjob.OrderFlag, escapeVariables(w.transferOrder(wl)), transferjob.SourceFlag, w.sourceOf(wl),
		"--password", adminAt + "/" + transferjob.PasswordKey, "--scratch", scratchAt,
	}
	if wl.External.CAFile != "" {
		main.Args = append(main.Args, "--ca", adminAt+"/"+transferjob.CAKey)
	}
	main.Args = append(append(main.Args, "--"), wl.External.Command...)
	main.VolumeMounts = append(main.VolumeMounts,
		corev1.VolumeMount{Name: programVolume, MountPath: programAt, ReadOnly: true},
		corev1.VolumeMount{Name: scratchVolume, MountPath: scratchAt},
		corev1.VolumeMount{Name: adminVolume, MountPath: adminAt, ReadOnly: true})
	pod.Containers = []corev1.Container{main}
	pod.Volumes = append(pod.Volumes,
		corev1.Volume{Name: programVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		corev1.Volume{Name: scratchVolume, VolumeSource: corev1.VolumeSource{EmptyDir: emptyDir(handoff.PodVolume{Memory: true})}},
		corev1.Volume{Name: adminVolume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: w.plan.ObjectName(transferjob.Part(wl.Name)), DefaultMode: ptr(int32(0o444)),
		}}})
	m := w.meta("", transferjob.Part(wl.Name), stepData)
	m.Namespace = ""
	failures := copyFailures()
	failures.Rules[1].OnExitCodes.ContainerName = ptr(transferjob.Container)
	return batchv1.JobSpec{
		// deploy runs it when the volumes are proved, with a credential.
		Suspend: ptr(true), BackoffLimit: ptr(int32(copyAttempts)), Completions: ptr(int32(1)), Parallelism: ptr(int32(1)),
		PodFailurePolicy: failures, Template: corev1.PodTemplateSpec{ObjectMeta: m, Spec: pod},
	}
}

// transferOrder is what the Job is told. The command comes behind it, since
// Kubernetes puts variables into it.
func (w *writer) transferOrder(wl handoff.Workload) string {
	order := handoff.Transfer{Plan: cmp.Or(w.plan.Into, "default") + "/" + w.plan.Name, Workload: wl.Name, External: *wl.External}
	order.Command, order.PasswordEnv, order.PasswordFile, order.CAFile = nil, "", "", ""
	data, err := json.Marshal(order)
	if err != nil {
		return "" // cannot happen: it is text
	}
	return string(data)
}

// sourceOf is what the workload's volumes were filled from.
func (w *writer) sourceOf(wl handoff.Workload) string {
	var out []string
	for _, m := range wl.Mounts {
		if seed, ok := w.seeds[m.Of]; ok && m.Origin == handoff.FromVolume {
			out = append(out, m.Of+"="+seed.Digest)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// escapeVariables keeps Kubernetes from putting variables into a text.
func escapeVariables(s string) string { return strings.ReplaceAll(s, "$(", "$$(") }
