package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/tinyhost"
)

// TestNoSecretLeaves lifts two hosts and looks, with gitleaks and by searching
// for every planted value, into everything that leaves the machine or is for
// more eyes than the owner's: images, ConfigMaps, the report, the log, the
// inventory. Only Secrets, seeds and volumes may hold them.
func TestNoSecretLeaves(t *testing.T) {
	t.Run("tiny", func(t *testing.T) {
		host := filepath.Join(t.TempDir(), "host")
		if err := errors.Join(os.Mkdir(host, 0o755), tinyhost.Build(host)); err != nil {
			t.Fatal(err)
		}
		searchAll(t, host, tinyhost.Secrets())
	})
	t.Run("wordpress", func(t *testing.T) {
		dir := wordpress(t)
		searchAll(t, filepath.Join(dir, "root"), planted(t, filepath.Join(dir, "secrets.tsv")))
	})
}

// planted reads secrets.tsv: name, path on the host, value.
func planted(t *testing.T, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) == 3 && f[0] != "name" {
			out[f[0]+" in "+f[1]] = f[2]
		}
	}
	if len(out) < 5 {
		t.Fatalf("%s lists %d secrets only", name, len(out))
	}
	return out
}

func searchAll(t *testing.T, host string, secrets map[string]string) {
	t.Helper()
	ws := filepath.Join(t.TempDir(), "ws")
	out, err := exec.Command("statelift", "run", host, "-w", ws, "-v").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	open := filepath.Join(t.TempDir(), "open")
	unpackImages(t, ws, filepath.Join(open, "images"))
	copyFile(t, filepath.Join(open, "output"), out)
	publicManifests(t, ws, filepath.Join(open, "manifests"))
	for _, name := range []string{"plan.yaml", "report.html", "report.md", "report.json", "inventory.db", "run"} {
		if out, err := exec.Command("cp", "-r", filepath.Join(ws, name), open).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	found := 0
	err = filepath.WalkDir(open, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		found++
		for what, value := range secrets {
			for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value))} {
				if bytes.Contains(data, []byte(form)) {
					t.Errorf("%s is in %s", what, strings.TrimPrefix(p, open))
				}
			}
		}
		return nil
	})
	if err != nil || found < 50 {
		t.Fatalf("searched %d files: %v", found, err)
	}
	// The search itself can find: the Secrets hold what was planted for services.
	all, err := exec.Command("sh", "-c", "cat "+ws+"/manifests/*").Output()
	if err != nil || !containsAny(all, secrets) {
		t.Errorf("no planted secret is in any manifest (%v): the search proves nothing", err)
	}
	gitleaks(t, filepath.Join(open, "manifests"))
	gitleaks(t, filepath.Join(open, "images"))
}

func containsAny(data []byte, secrets map[string]string) bool {
	text := string(data)
	for _, word := range strings.Fields(text) {
		if dec, err := base64.StdEncoding.DecodeString(word); err == nil {
			text += string(dec)
		}
	}
	for _, v := range secrets {
		if strings.Contains(text, v) {
			return true
		}
	}
	return false
}

func copyFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// unpackImages unpacks every layer with tar and zstd, not with our own code.
func unpackImages(t *testing.T, ws, dir string) {
	t.Helper()
	script := `set -e
for m in $(jq -r '.manifests[].digest' index.json | cut -d: -f2 | sort -u); do
  jq -r '.config.digest, .layers[].digest' blobs/sha256/$m | cut -d: -f2
done | sort -u | while read -r b; do
  mkdir -p "$1/$b"
  if jq -e .rootfs blobs/sha256/$b > /dev/null 2>&1; then cp blobs/sha256/$b "$1/$b/config.json"
  else zstd -q -d -c blobs/sha256/$b | tar -x -C "$1/$b" --no-same-owner --no-same-permissions --exclude='dev/*' --delay-directory-restore -f -
  fi
done`
	cmd := exec.Command("sh", "-c", script, "sh", dir)
	cmd.Dir = filepath.Join(ws, "images")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("unpack images: %v\n%s", err, out)
	}
}

// publicManifests copies all manifests that are not Secrets.
func publicManifests(t *testing.T, ws, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(ws, "manifests", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("manifests: %v, %v", files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte("\nkind: Secret\n")) {
			copyFile(t, filepath.Join(dir, filepath.Base(name)), data)
		}
	}
}

// gitleaks must find nothing, apart from what the distribution's own packages
// ship as examples, which stands in the baseline.
func gitleaks(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(tools(t), "gitleaks"), "dir", "--no-banner", "--redact", "--exit-code", "9", "-v", dir)
	cmd.Dir = "testdata"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("gitleaks in %s: %v\n%s", filepath.Base(dir), err, out)
	}
}

// tools is the directory with the programs that judge; they are built when they
// are not there.
func tools(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("STATELIFT_TOOLS"); dir != "" {
		return dir
	}
	cmd := exec.Command("../../fixtures/setup")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("fixtures/setup: %v", err)
	}
	return strings.TrimSpace(string(out))
}
