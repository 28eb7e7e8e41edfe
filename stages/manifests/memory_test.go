package manifests

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/handoff"
)

// Shared memory is an emptyDir in memory, of the size that the plan says, at
// /dev/shm.
func TestSharedMemory(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	for i := range plan.Workloads {
		w := &plan.Workloads[i]
		if w.Name != "web" {
			continue
		}
		w.Mounts = append(w.Mounts, handoff.PodVolume{
			Name: "db-shm", Origin: handoff.FromEphemeral, Memory: true, SizeLimit: 1 << 30,
			Dirs: []handoff.EphemeralDir{{Path: "/dev/shm", Mode: 0o1777}},
		})
		w.Containers[0].Mounts = append(w.Containers[0].Mounts, handoff.Mount{Volume: "db-shm", Path: "/dev/shm"})
	}
	if _, err := b.run(t, Options{}, plan, images, seeds); err != nil {
		t.Fatal(err)
	}
	var set appsv1.StatefulSet
	if err := yaml.UnmarshalStrict([]byte(b.read(t, "statefulset-atlas-web.yaml")), &set); err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template.Spec
	v := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "db-shm" })
	if v < 0 || pod.Volumes[v].EmptyDir == nil || pod.Volumes[v].EmptyDir.Medium != corev1.StorageMediumMemory || pod.Volumes[v].EmptyDir.SizeLimit.String() != "1Gi" {
		t.Fatalf("volume: %+v", pod.Volumes)
	}
	if !slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.Name == "db-shm" && m.MountPath == "/dev/shm" && m.SubPath == ""
	}) {
		t.Errorf("mounts: %+v", pod.Containers[0].VolumeMounts)
	}
}
