package manifests

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/handoff"
)

// TestTogether: copies of what one node must be able to mount name each other's
// claims, so that the scheduler finds one node for all of them.
func TestTogether(t *testing.T) {
	const once, many, pod = "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"
	workload := func(name, near string, volumes ...string) handoff.Workload {
		w := handoff.Workload{Name: name, Near: near}
		for _, v := range volumes {
			w.Mounts = append(w.Mounts, handoff.PodVolume{Name: v, Origin: handoff.FromVolume, Of: v})
		}
		return w
	}
	type modes = map[string]string
	for _, tt := range []struct {
		name      string
		modes     modes
		workloads []handoff.Workload
		want      map[string][]string // a volume's copy: its claims, its own first; "+" is one node for all
	}{
		{"one", modes{"a": once}, []handoff.Workload{workload("w", "", "a")}, map[string][]string{"a": {"p-a"}}},
		{"nobody's", modes{"a": once, "b": once}, nil, map[string][]string{"a": {"p-a"}, "b": {"p-b"}}},
		{"one workload", modes{"a": once, "b": once, "c": once}, []handoff.Workload{workload("w", "", "c", "a"), workload("x", "", "b")},
			map[string][]string{"a": {"p-a", "p-c", "+p-a"}, "b": {"p-b"}, "c": {"p-c", "p-a", "+p-a"}}},
		{"shared volume", modes{"a": once, "b": once, "c": once}, []handoff.Workload{workload("w", "", "b", "c"), workload("x", "", "a", "b")},
			map[string][]string{"a": {"p-a", "p-b", "p-c", "+p-a"}, "b": {"p-b", "p-a", "p-c", "+p-a"}, "c": {"p-c", "p-a", "p-b", "+p-a"}}},
		{"beside", modes{"a": once, "b": once}, []handoff.Workload{workload("job", "w", "a"), workload("w", "", "b")},
			map[string][]string{"a": {"p-a", "p-b", "+p-a"}, "b": {"p-b", "p-a", "+p-a"}}},
		{"beside one without volumes", modes{"a": once, "b": once}, []handoff.Workload{workload("j", "w", "a"), workload("k", "w", "b"), workload("w", "")},
			map[string][]string{"a": {"p-a", "p-b", "+p-a"}, "b": {"p-b", "p-a", "+p-a"}}},
		{"many nodes", modes{"a": once, "b": many, "c": once}, []handoff.Workload{workload("w", "", "a", "b"), workload("x", "", "b", "c")},
			map[string][]string{"a": {"p-a"}, "b": {"p-b"}, "c": {"p-c"}}},
		{"one Pod only", modes{"a": once, "b": pod, "c": pod}, []handoff.Workload{workload("w", "", "a", "b", "c")},
			map[string][]string{"a": {"p-a", "+p-a"}, "b": {"p-b", "p-a", "+p-a"}, "c": {"p-c", "p-a", "+p-a"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, seeds := handoff.Plan{Name: "p", Workloads: tt.workloads}, handoff.Seeds{}
			for _, name := range []string{"a", "b", "c"} {
				if mode := tt.modes[name]; mode != "" {
					plan.Volumes = append(plan.Volumes, handoff.Volume{Name: name, AccessMode: mode, Seed: true, Bytes: largeVolume})
					seeds.Seeds = append(seeds.Seeds, handoff.Seed{Volume: name, Digest: "sha256:" + name})
				}
			}
			w := newWriter(Options{Shards: 2}, plan, handoff.Images{}, seeds)
			w.makeCopies()
			got := map[string][]string{}
			for _, o := range w.objects {
				job, ok := o.value.(*batchv1.Job)
				if !ok {
					continue
				}
				pod := job.Spec.Template
				volume := pod.Spec.Containers[0].Args[4]
				claims := named(t, pod)
				if job.Spec.CompletionMode == nil {
					got[volume] = claims
					continue
				}
				// Those of one volume that several nodes can mount spread; others cannot.
				if spread := tt.modes[volume] == many; spread != (pod.Spec.Affinity == nil) || spread != (len(pod.Spec.TopologySpreadConstraints) == 1) {
					t.Errorf("shards of %s: %+v", volume, pod.Spec.Affinity)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// named lists the claims of a Pod, and its group when it has one that it would
// itself be found by.
func named(t *testing.T, pod corev1.PodTemplateSpec) (out []string) {
	t.Helper()
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		mounted := slices.ContainsFunc(pod.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
		if mounted != (len(out) == 0) {
			t.Errorf("%s mounted: %v", v.PersistentVolumeClaim.ClaimName, mounted)
		}
		out = append(out, v.PersistentVolumeClaim.ClaimName)
	}
	if a := pod.Spec.Affinity; a != nil {
		term := a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0]
		for key, value := range term.LabelSelector.MatchLabels {
			if pod.Labels[key] != value || term.TopologyKey != corev1.LabelHostname {
				t.Errorf("the first copy would wait for ever: %v, %+v", pod.Labels, term)
			}
			out = append(out, "+"+value)
		}
	}
	return out
}
