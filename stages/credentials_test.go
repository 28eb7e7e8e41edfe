package stages_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/workspace"
)

// What the manager hands to a service as credentials (systemd.exec(5)) is
// secret, and is where the service looks for it.
func TestCredentialsOfUnits(t *testing.T) {
	root := busyHost(t)
	sh.Run(t, root, `
mkdir -p etc/credstore etc/keys srv/creds etc/credstore.encrypted
printf 'of-the-store\n' >etc/credstore/token
printf 'by-its-path\0\xff' >etc/keys/db-pass
printf 'one' >srv/creds/a; printf 'two' >srv/creds/b
printf 'Whxqht+dQJax1aZeCGLxmiAAAAABAAAADAAAAA' >etc/credstore.encrypted/sealed
chmod 600 etc/credstore/* etc/keys/* srv/creds/*
mkdir etc/systemd/system/tinyd.service.d
cat >etc/systemd/system/tinyd.service.d/creds.conf <<'U'
[Service]
LoadCredential=token
LoadCredential=db:/etc/keys/db-pass
LoadCredential=dir:/srv/creds
LoadCredential=given:/no/such/file
LoadCredential=lost:/no/such/file
LoadCredentialEncrypted=sealed
SetCredential=given:in the\nunit-Xy7Qp2
SetCredential=token:overruled
Environment=PASS_FILE=%d/db
U
`)
	ws, err := lifted(t, root, "", "manifests", "")
	if err != nil {
		t.Fatal(err)
	}
	classes(t, ws, map[hostpath.Path]claim.Class{
		"/etc/credstore/token": claim.Secret, "/etc/keys/db-pass": claim.Secret, "/srv/creds/a": claim.Secret, "/etc/credstore.encrypted/sealed": claim.Secret,
	})
	plan, err := pipeline.Read(ws, handoff.PlanKey)
	if err != nil {
		t.Fatal(err)
	}
	const dir = "/run/credentials/tinyd.service/"
	var box handoff.Container
	for _, w := range plan.Workloads {
		if w.Name == "tinyd" {
			box = w.Containers[0]
		}
	}
	env := map[string]string{}
	for _, e := range box.Env {
		env[e.Name] = e.Value
	}
	if env["CREDENTIALS_DIRECTORY"]+"/" != dir || env["PASS_FILE"] != dir+"db" {
		t.Errorf("environment: %v", env)
	}
	var secret corev1.Secret
	data, err := os.ReadFile(ws.Path(workspace.Manifests, "secret-tiny-tinyd-secret.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(data, &secret); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range box.Mounts {
		if name, ok := strings.CutPrefix(string(m.Path), dir); ok {
			got[name] = string(secret.Data[m.SubPath])
		}
		if m.Path == "/etc/credstore/token" || m.Path.Within("/srv/creds") {
			t.Errorf("%s is mounted: the service does not read it there", m.Path)
		}
	}
	want := map[string]string{"token": "of-the-store\n", "db": "by-its-path\x00\xff", "dir_a": "one", "dir_b": "two", "given": "in the\nunit-Xy7Qp2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	for _, set := range plan.Secrets {
		for _, f := range set.Files {
			if f.As != "" && (f.Mode != 0o400 || f.UID != 990 || !f.Copied) {
				t.Errorf("%s: %+v", f.As, f)
			}
		}
	}
	var risks []string
	for _, r := range plan.Risks {
		if strings.Contains(r.Text, "its credential") {
			risks = append(risks, r.Level+" "+strings.Fields(strings.SplitN(r.Text, "credential ", 2)[1])[0])
		}
	}
	if diff := cmp.Diff([]string{"high lost", "high sealed"}, risks); diff != "" {
		t.Errorf("risks (-want +got):\n%s", diff)
	}
	onlyIn(t, ws, "unit-Xy7Qp2", "secret-tiny-tinyd-secret.yaml")
}

func classes(t *testing.T, ws workspace.Workspace, want map[hostpath.Path]claim.Class) {
	t.Helper()
	cat, err := catalog.Open(t.Context(), ws.Path(workspace.Inventory))
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	for p, class := range want {
		if e, err := cat.Lookup(t.Context(), p); err != nil || e.Class != class {
			t.Errorf("%s is %s, %v, want %s", p, e.Class, err, class)
		}
	}
}

// onlyIn searches all that was written for a value, plain and in base64.
func onlyIn(t *testing.T, ws workspace.Workspace, value, file string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(ws.Dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		has := strings.Contains(string(data), value)
		for cut := range 3 { // of the three ways in which it can stand in base64
			text := base64.StdEncoding.EncodeToString([]byte(value[cut:]))
			has = has || strings.Contains(string(data), text[:len(text)-4])
		}
		if has && filepath.Base(name) != file {
			t.Errorf("%s is in %s", value, name)
		}
		found = found || has
		return nil
	})
	if err != nil || !found {
		t.Errorf("%s was found: %v, %v", value, found, err)
	}
}
