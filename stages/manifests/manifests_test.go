package manifests

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestGolden(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	out, err := b.run(t, Options{}, plan, images, seeds)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "site")
	if *update {
		if err := errors.Join(os.RemoveAll(golden), os.MkdirAll(golden, 0o755)); err != nil {
			t.Fatal(err)
		}
		for _, f := range out.Files {
			if err := os.WriteFile(filepath.Join(golden, f.Name), []byte(b.read(t, f.Name)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := os.ReadDir(golden)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != len(out.Files) {
		t.Errorf("%d files, golden has %d (go test -update writes them anew)", len(out.Files), len(want))
	}
	for _, f := range out.Files {
		data, err := os.ReadFile(filepath.Join(golden, f.Name))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(data), b.read(t, f.Name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.Name, diff)
		}
	}
	if out.Files[0].Name != "kustomization.yaml" {
		t.Errorf("the first file is %s", out.Files[0].Name)
	}
}

// TestFiles checks what is on disk with public tools: sums, modes, and that a
// second run changes nothing and removes what is no more.
func TestFiles(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	out, err := b.run(t, Options{}, plan, images, seeds)
	if err != nil {
		t.Fatal(err)
	}
	before := treeOf(t, b.path())
	var sums strings.Builder
	for _, f := range out.Files {
		sums.WriteString(f.SHA256 + "  " + f.Name + "\n")
	}
	check := exec.Command("sha256sum", "-c", "--strict", "--quiet", "-")
	check.Dir, check.Stdin = b.path(), strings.NewReader(sums.String())
	if data, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum -c: %v\n%s", err, data)
	}
	for _, f := range out.Files {
		fi, err := os.Stat(b.path(f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if secret := strings.HasPrefix(f.Name, "secret-"); secret != f.Sensitive || secret && fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: sensitive %v, mode %o", f.Name, f.Sensitive, fi.Mode().Perm())
		}
	}
	if fi, err := os.Stat(b.path()); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("manifests/: %v %v", fi.Mode(), err)
	}

	if err := errors.Join(os.WriteFile(b.path("configmap-gone.yaml"), []byte("x"), 0o644), os.WriteFile(b.path("notes.txt"), []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(t, Options{}, plan, images, seeds); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b.path("notes.txt")); err != nil {
		t.Errorf("a file that is no manifest was removed: %v", err)
	}
	if diff := cmp.Diff(before, treeOf(t, b.path())); diff != "" {
		t.Errorf("a second run differs (-first +second):\n%s", diff)
	}
}

func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		data, err := os.ReadFile(filepath.Join(dir, d.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[d.Name()] = string(data)
	}
	return out
}

// TestSecretsStayInSecrets looks for the credentials in every other file.
func TestSecretsStayInSecrets(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	out, err := b.run(t, Options{}, plan, images, seeds)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range out.Files {
		text := b.read(t, f.Name)
		for _, credential := range []string{"geheim", "token-value", "Z2VoZWlt", "dG9rZW4tdmFsdWU"} {
			if strings.Contains(text, credential) && !f.Sensitive {
				t.Errorf("%s holds %q", f.Name, credential)
			}
		}
	}
	if text := b.read(t, "secret-atlas-web-secret.yaml"); !strings.Contains(text, "mariadb.TOKEN: dG9rZW4tdmFsdWU=") {
		t.Errorf("the Secret has no token:\n%s", text)
	}
	if text := b.read(t, "configmap-atlas-web-config.yaml"); !strings.Contains(text, "mariadb.MODE: two words") {
		t.Errorf("the ConfigMap has no variable:\n%s", text)
	}
}

// TestSchemas checks every object strictly against the OpenAPI documents that
// Kubernetes publishes.
func TestSchemas(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	if _, err := b.run(t, Options{}, plan, images, seeds); err != nil {
		t.Fatal(err)
	}
	data, err := exec.Command(tool(t, "schemacheck"), b.path()).CombinedOutput()
	if err != nil {
		t.Errorf("schemacheck: %v\n%s", err, data)
	}
	t.Logf("%s", data)
}

// notWanted are checks of kube-score that do not fit, and why.
func notWanted() map[string]string {
	return map[string]string{
		"container-image-pull-policy":                       "images are named by digest: Always would add a way to fail and no certainty",
		"container-ephemeral-storage-request-and-limit":     "what a service of the host needs there was never measured; a limit that is too low evicts it",
		"container-security-context-user-group-id":          "numeric ids are the host's own, since the files on the volumes have them",
		"container-security-context-readonlyrootfilesystem": "a service that starts as root may write where nobody looked",
		"statefulset-has-poddisruptionbudget":               "one replica with a budget blocks every drain of its node",
		"deployment-has-poddisruptionbudget":                "as above",
		"container-resources":                               "a limit that nobody measured kills what ran well; requests are set, and limits where the host or the profile has them",
		"deployment-has-host-podantiaffinity":               "replicas are the user's choice, and so is where they run",
		"statefulset-has-host-podantiaffinity":              "as above",
	}
}

func TestKubeScore(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	out, err := b.run(t, Options{}, plan, images, seeds)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"score", "--output-format", "ci"}
	for name := range notWanted() {
		args = append(args, "--ignore-test", name)
	}
	for _, f := range out.Files[1:] {
		args = append(args, b.path(f.Name))
	}
	data, err := exec.Command(tool(t, "kube-score"), args...).CombinedOutput()
	if err != nil || strings.Contains(string(data), "[CRITICAL]") {
		t.Errorf("kube-score: %v", err)
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "[CRITICAL]") || strings.HasPrefix(line, "[WARNING]") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
	if len(data) == 0 {
		t.Error("kube-score said nothing")
	}
}

// TestChanged: a file that is not what was scanned is never taken along.
func TestChanged(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	name := filepath.Join(b.root, "etc/apache2/ports.conf")
	if err := os.WriteFile(name, []byte("Listen 81\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := b.run(t, Options{}, plan, images, seeds)
	var incomplete *pipeline.Incomplete
	if !errors.As(err, &incomplete) || len(incomplete.Because) != 1 || !strings.Contains(incomplete.Because[0], "/etc/apache2/ports.conf") {
		t.Errorf("got %v", err)
	}
	if text := b.read(t, "configmap-atlas-web-config.yaml"); strings.Contains(text, "Listen") {
		t.Errorf("the changed file was taken:\n%s", text)
	}
	if err := os.Remove(filepath.Join(b.root, "etc/dump.conf")); err != nil {
		t.Fatal(err)
	}
	if _, err = b.run(t, Options{}, plan, images, seeds); !errors.As(err, &incomplete) || len(incomplete.Because) != 2 {
		t.Errorf("got %v", err)
	}
}

// TestPrepareScript runs the init container's script with a real shell.
func TestPrepareScript(t *testing.T) {
	dir := t.TempDir()
	plan, images, seeds := site()
	w := newWriter(Options{}, plan, images, seeds)
	p := w.prepare(plan.Workloads[0])
	script := strings.ReplaceAll(strings.Join(p.script, "\n"), prepareRoot, dir)
	for _, m := range p.mounts {
		if err := os.MkdirAll(strings.Replace(m.MountPath, prepareRoot, dir, 1), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "set-web-secret", "wordpress_config.php"), []byte("<?php\n"), 0o444); err != nil {
		t.Fatal(err)
	}
	if data, err := exec.Command("/bin/sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, data, script)
	}
	for name, want := range map[string]string{
		"run-mysqld": "106:0 755", "logs": "0:4 750", "logs/old": "33:33 700", "apache2-tmp": "0:0 1777", "copied/web-secret/wordpress_config.php": "0:33 640",
		"logs/error.log": "0:0 777", "logs/it's.log": "0:0 777",
	} {
		got, err := exec.Command("stat", "-c", "%u:%g %a", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "logs/error.log")); target != "/dev/stderr" {
		t.Errorf("error.log leads to %q, %v", target, err)
	}
}

// TestNoPreparation: a Pod that needs nothing prepared has no init container.
func TestNoPreparation(t *testing.T) {
	plan, images, seeds := site()
	w := newWriter(Options{}, plan, images, seeds)
	if pod := w.pod(plan.Workloads[1]); len(pod.InitContainers) != 0 {
		t.Errorf("init containers: %+v", pod.InitContainers)
	}
	if pod := w.pod(plan.Workloads[0]); len(pod.InitContainers) != 2 || pod.InitContainers[1].Name != "before-mariadb-1" {
		t.Errorf("init containers: %+v", pod.InitContainers)
	}
}

func TestTwoObjectsOfOneName(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	plan.Volumes = append(plan.Volumes, handoff.Volume{Name: "var-lib-mysql", Path: "/x", AccessMode: "ReadWriteOnce", Request: 1})
	if _, err := b.run(t, Options{}, plan, images, seeds); err == nil || !strings.Contains(err.Error(), "two objects") {
		t.Errorf("got %v", err)
	}
}

// TestCopies: a volume that starts empty is not filled, whatever seeds there are.
func TestCopies(t *testing.T) {
	b := newBench(t, siteFiles())
	plan, images, seeds := site()
	seeds.Seeds = append(seeds.Seeds, handoff.Seed{Volume: "var-backups", Digest: "sha256:00"})
	b.upload = handoff.Upload{Carrier: "registry", Copier: "registry.example/statelift:1", Seeds: "registry:registry.example/seeds", Arch: "amd64"}
	out, err := b.run(t, Options{}, plan, images, seeds)
	if err != nil {
		t.Fatal(err)
	}
	var jobs []string
	for _, f := range out.Files {
		if f.Kind == "Job" {
			jobs = append(jobs, f.Object)
			text := b.read(t, f.Name)
			if !strings.Contains(text, "suspend: false") || !strings.Contains(text, "image: registry.example/statelift:1") || !strings.Contains(text, "registry:registry.example/seeds@sha256:") {
				t.Errorf("%s:\n%s", f.Name, text)
			}
		}
	}
	if len(jobs) != 2 || !strings.HasPrefix(jobs[0], "atlas-copy-home-marta-") || !strings.HasPrefix(jobs[1], "atlas-copy-var-lib-mysql-") {
		t.Errorf("jobs: %v", jobs)
	}
}

// TestBrought: what the plan counts against quotas is what the manifests ask for.
func TestBrought(t *testing.T) {
	plan, images, seeds := site()
	w := newWriter(Options{}, plan, images, seeds)
	w.makeShares()
	asks := func(r corev1.ResourceRequirements) handoff.Resources {
		return handoff.Resources{CPU: r.Requests.Cpu().MilliValue(), Memory: r.Requests.Memory().Value(), MemoryLimit: r.Limits.Memory().Value()}
	}
	if diff := cmp.Diff(handoff.CopyResources(), asks(w.copySpec(plan.Volumes[0], seeds.Seeds[0], "a").Template.Spec.Containers[0].Resources)); diff != "" {
		t.Errorf("copy (-counted +asked):\n%s", diff)
	}
	if diff := cmp.Diff(handoff.PrepareResources(), asks(w.pod(plan.Workloads[0]).InitContainers[0].Resources)); diff != "" {
		t.Errorf("prepare (-counted +asked):\n%s", diff)
	}
	for _, o := range w.objects {
		if claim, ok := o.value.(*corev1.PersistentVolumeClaim); ok && claim.Spec.Resources.Requests.Storage().Value() != handoff.ShareSize {
			t.Errorf("share %s asks for %s", o.name, claim.Spec.Resources.Requests.Storage())
		}
	}
}

// TestSharesOfTwoLifts: volumes are in no namespace. Two lifts of one host into
// two namespaces make different ones, and each claim is for its own.
func TestSharesOfTwoLifts(t *testing.T) {
	made := map[string]string{}
	for _, namespace := range []string{"shop", "shop-2"} {
		plan, images, seeds := site()
		plan.Into = namespace
		w := newWriter(Options{}, plan, images, seeds)
		w.makeShares()
		var volumes, bound []string
		for _, o := range w.objects {
			switch v := o.value.(type) {
			case *corev1.PersistentVolume:
				volumes = append(volumes, v.Name)
				if was := made[v.Name]; was != "" || o.name != v.Name || v.Namespace != "" {
					t.Errorf("%s of %s is also of %q", v.Name, namespace, was)
				}
				made[v.Name] = namespace
			case *corev1.PersistentVolumeClaim:
				bound = append(bound, v.Spec.VolumeName)
			}
		}
		if diff := cmp.Diff(volumes, bound); diff != "" || len(volumes) == 0 {
			t.Errorf("%s: -volumes +claims:\n%s", namespace, diff)
		}
	}
}
