package verify

import (
	"os"
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/workspace"
)

const copyManifest = `
apiVersion: batch/v1
kind: Job
metadata: {name: shop-copy-db-1}
spec:
  template:
    metadata: {labels: {statelift.io/together: shop-db}}
    spec:
      restartPolicy: Never
      affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [
        {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {statelift.io/together: shop-db}}}]}}
      containers:
      - {name: copy, image: i, args: [copy, --seed, "s@sha256:1", --volume, db], volumeMounts: [{name: volume, mountPath: /volume}, {name: scratch, mountPath: /tmp}]}
      volumes:
      - {name: scratch, emptyDir: {}}
      - {name: volume, persistentVolumeClaim: {claimName: shop-db}}
      - {name: beside-2, persistentVolumeClaim: {claimName: shop-uploads}}
`

// TestCheckJob: the Job that proves a volume again names that volume only, and
// waits for no other Pod: the copies that it would have to be beside are over.
func TestCheckJob(t *testing.T) {
	ws, err := workspace.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(ws.Path(workspace.Manifests), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ws.Path(workspace.Manifests, "job.yaml"), []byte(copyManifest), 0o600); err != nil {
		t.Fatal(err)
	}
	made := Made{Plan: handoff.Plan{Name: "shop"}, Manifests: handoff.Manifests{
		Directory: workspace.Manifests, Files: []handoff.ManifestFile{{Name: "job.yaml", Kind: "Job", SHA256: oci.Sum([]byte(copyManifest))}},
	}}
	p := prover{run: &run{Env: &pipeline.Env{Workspace: ws}, made: made}, cluster: &cluster.Cluster{Namespace: "ns"}}
	u, err := p.checkJob(handoff.Volume{Name: "db"}, handoff.Seed{Digest: "sha256:1"}, []string{"sha256:2"})
	if err != nil {
		t.Fatal(err)
	}
	var job batchv1.Job
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &job); err != nil {
		t.Fatal(err)
	}
	if args := job.Spec.Template.Spec.Containers[0].Args; !slices.Equal(args, []string{"copy", "--seed", "s@sha256:1", "--volume", "db", "--check", "--delta", "sha256:2"}) {
		t.Errorf("arguments %q", args)
	}
	pod := job.Spec.Template.Spec
	var claims []string
	for _, v := range pod.Volumes {
		if c := v.PersistentVolumeClaim; c != nil {
			claims = append(claims, c.ClaimName)
			if !c.ReadOnly {
				t.Errorf("%s may be written", c.ClaimName)
			}
		}
	}
	if !slices.Equal(claims, []string{"shop-db"}) || pod.Affinity != nil {
		t.Errorf("claims %v, affinity %+v", claims, pod.Affinity)
	}
	if !slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "volume" && m.ReadOnly }) {
		t.Errorf("mounts: %+v", pod.Containers[0].VolumeMounts)
	}
}
