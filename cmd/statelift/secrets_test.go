package main

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/hosts"
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
		dir := hosts.WordPress(t)
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
	out, err := exec.Command(shipped(), "run", host, "-w", ws, "-v").CombinedOutput()
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
	decodeBase64(t, filepath.Join(open, "manifests"))
	for _, name := range grep(t, open, secrets) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for what, value := range secrets {
			if bytes.Contains(data, []byte(value)) {
				t.Errorf("%s is in %s", what, strings.TrimPrefix(name, open))
			}
		}
	}
	// The search itself can find: the Secrets hold what was planted for services.
	decodeBase64(t, filepath.Join(ws, "manifests"))
	if len(grep(t, filepath.Join(ws, "manifests"), secrets)) == 0 {
		t.Error("no planted secret is in any manifest: the search proves nothing")
	}
	removePackaged(t, host, filepath.Join(open, "images"))
	gitleaks(t, filepath.Join(open, "manifests"))
	gitleaks(t, filepath.Join(open, "images"))
}

// grep names the files below dir that hold any of the values.
func grep(t *testing.T, dir string, secrets map[string]string) []string {
	t.Helper()
	patterns := filepath.Join(t.TempDir(), "patterns")
	copyFile(t, patterns, []byte(strings.Join(slices.Collect(maps.Values(secrets)), "\n")+"\n"))
	cmd := exec.Command("grep", "-rlaF", "-f", patterns, dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("grep: %v", err)
	}
	return strings.Fields(string(out))
}

// decodeBase64 puts what is base64 in the files of dir beside them in clear.
func decodeBase64(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var clear []byte
		for word := range bytes.FieldsSeq(data) {
			if dec, err := base64.StdEncoding.DecodeString(string(word)); err == nil {
				clear = append(append(clear, dec...), '\n')
			}
		}
		copyFile(t, name+".clear", clear)
	}
}

// removePackaged removes, from what gitleaks is shown, the files that are what
// their package shipped: their content is public, full of examples, and large.
func removePackaged(t *testing.T, host, dir string) {
	t.Helper()
	public := map[string]bool{}
	lists, err := filepath.Glob(filepath.Join(host, "var/lib/dpkg/info/*.md5sums"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lists {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if sum, _, ok := strings.Cut(line, "  "); ok {
				public[sum] = true
			}
		}
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		sum := md5.Sum(data)
		if public[hex.EncodeToString(sum[:])] {
			return os.Remove(p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
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

// gitleaks must find nothing.
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
