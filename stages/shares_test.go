package stages_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/workspace"
)

// The credentials of an SMB share are secret, in the form that CSI drivers want;
// a volume is made of it when it is known which driver mounts it.
func TestSMBShare(t *testing.T) {
	root := busyHost(t)
	sh.Run(t, root, `
printf 'username=scan\npassword=Qx7"=w #1 \ndomain=OFFICE\n' >root/.smb
chmod 600 root/.smb
mkdir mnt/scans
echo '//files.corp/scans/in /mnt/scans cifs credentials=/root/.smb,uid=990,vers=3.0,_netdev 0 0' >>etc/fstab
echo '//files.corp/old /mnt/old cifs username=x,password=Zw8hunter2 0 0' >>etc/fstab
mkdir -p etc/systemd/system/tinyd.service.d
printf '[Service]\nEnvironment=SCANS=/mnt/scans\n' >etc/systemd/system/tinyd.service.d/scans.conf
`)
	for _, c := range []struct{ decided, driver string }{
		{"", ""},
		{"answers: {share-mnt-scans: smb.csi.k8s.io}", "smb.csi.k8s.io"},
	} {
		ws, err := lifted(t, root, c.decided, "manifests", "")
		if err != nil {
			t.Fatal(err)
		}
		classes(t, ws, map[hostpath.Path]claim.Class{"/root/.smb": claim.Secret})
		plan, err := pipeline.Read(ws, handoff.PlanKey)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(plan.Questions, func(q handoff.Question) bool { return q.ID == "share-mnt-scans" }) {
			t.Error("there is no question which driver mounts the share")
		}
		if slices.ContainsFunc(plan.Questions, func(q handoff.Question) bool { return q.ID == "unclaimed-secret" && q.About == "/root/.smb" }) {
			t.Error("the credentials belong to nobody")
		}
		if !slices.ContainsFunc(plan.Risks, func(r handoff.Risk) bool { return r.About == "/mnt/old" && r.Level == "high" }) {
			t.Error("nothing is said of a password in fstab")
		}
		var secret corev1.Secret
		read(t, ws, "secret-tiny-share-mnt-scans-secret.yaml", &secret)
		want := map[string][]byte{"username": []byte("scan"), "password": []byte(`Qx7"=w #1 `), "domain": []byte("OFFICE")}
		if diff := cmp.Diff(want, secret.Data); diff != "" {
			t.Errorf("secret (-want +got):\n%s", diff)
		}
		var pv corev1.PersistentVolume
		if c.driver == "" {
			if _, err := os.Stat(ws.Path(workspace.Manifests, "persistentvolume-tiny-share-mnt-scans.yaml")); err == nil {
				t.Error("there is a volume without a driver")
			}
			continue
		}
		read(t, ws, "persistentvolume-tiny-share-mnt-scans.yaml", &pv)
		csi := pv.Spec.CSI
		if csi == nil || csi.Driver != c.driver || csi.VolumeAttributes["source"] != "//files.corp/scans/in" || csi.NodeStageSecretRef.Name != secret.Name || csi.VolumeHandle == "" {
			t.Fatalf("volume: %+v", csi)
		}
		if diff := cmp.Diff([]string{"uid=990", "vers=3.0"}, pv.Spec.MountOptions); diff != "" {
			t.Errorf("options:\n%s", diff)
		}
		for _, w := range plan.Workloads {
			if w.Name == "tinyd" && !slices.ContainsFunc(w.Containers[0].Mounts, func(m handoff.Mount) bool { return m.Path == "/mnt/scans" }) {
				t.Errorf("it is not mounted: %+v", w.Containers[0].Mounts)
			}
		}
	}
}

func read(t *testing.T, ws workspace.Workspace, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(ws.Path(workspace.Manifests, name))
	if err != nil {
		have, _ := filepath.Glob(ws.Path(workspace.Manifests, "*"))
		t.Fatalf("%v, there are %v", err, have)
	}
	if err := yaml.UnmarshalStrict(data, v); err != nil {
		t.Fatal(err)
	}
}
