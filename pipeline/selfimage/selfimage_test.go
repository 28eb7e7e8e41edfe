package selfimage_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/statelift/statelift/pipeline/selfimage"
)

func build(t *testing.T, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "program")
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { println(\"here\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", name, filepath.Join(dir, "main.go"))
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

func roots(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(name, []byte("some authorities\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func mustMake(t *testing.T, o selfimage.Options) (string, selfimage.Image) {
	t.Helper()
	dir := t.TempDir()
	image, err := selfimage.Make(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return dir, image
}

func sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := exec.Command("bash", append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// The image is what umoci unpacks, and its program runs with nothing beside it.
func TestTheImageRuns(t *testing.T) {
	dir, image := mustMake(t, selfimage.Options{Program: build(t), Certificates: roots(t)})
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	if image.Arch != "amd64" || image.Size <= 0 {
		t.Errorf("image = %+v", image)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	sh(t, `skopeo copy oci:"$1" oci:"$2":x; umoci unpack --image "$2":x "$3"`, dir, t.TempDir(), bundle)
	got := sh(t, `cd "$1"/rootfs && find . -printf '%P %y %m %U %G %T@\n' | sort`, bundle)
	want := ` d 755 0 0
etc d 755 0 0 0.0000000000
etc/group f 644 0 0 0.0000000000
etc/passwd f 644 0 0 0.0000000000
etc/ssl d 755 0 0 0.0000000000
etc/ssl/certs d 755 0 0 0.0000000000
etc/ssl/certs/ca-certificates.crt f 644 0 0 0.0000000000
statelift f 755 0 0 0.0000000000
tmp d 1777 0 0 0.0000000000
`
	lines := strings.SplitN(got, "\n", 2)
	if !strings.HasPrefix(lines[0], " d 755 0 0 ") || lines[1] != strings.SplitN(want, "\n", 2)[1] {
		t.Errorf("root file system:\n%s\nwant\n%s", got, want)
	}
	if out := sh(t, `chroot "$1"/rootfs /statelift`, bundle); out != "here\n" {
		t.Errorf("the program says %q", out)
	}
	config := sh(t, `jq -c '[.process.args, .process.user.uid]' "$1"/config.json`, bundle)
	if config != "[[\"/statelift\"],0]\n" {
		t.Errorf("config = %s", config)
	}
}

// The same program gives the same digest, from another place and at another
// time; other certificates give another.
func TestTheDigestIsOfTheContent(t *testing.T) {
	program, certificates := build(t), roots(t)
	_, a := mustMake(t, selfimage.Options{Program: program, Certificates: certificates})
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	sh(t, `cp "$1" "$2"; touch -d 2001-01-01 "$2"; chmod 0711 "$2"`, program, elsewhere)
	dir, b := mustMake(t, selfimage.Options{Program: elsewhere, Certificates: certificates})
	if a != b {
		t.Errorf("%+v and %+v", a, b)
	}
	if again, err := selfimage.Make(t.Context(), dir, selfimage.Options{Program: program, Certificates: certificates}); err != nil || again != a {
		t.Errorf("in the same place: %+v, %v", again, err)
	}
	_, c := mustMake(t, selfimage.Options{Program: program})
	if c.Digest == a.Digest {
		t.Error("other certificates, the same digest")
	}
	if n := sh(t, `ls "$1"/blobs/sha256 | wc -l`, dir); n != "3\n" {
		t.Errorf("the layout has %s blobs", n)
	}
}

func TestWhatIsNoProgram(t *testing.T) {
	if _, err := selfimage.Make(t.Context(), t.TempDir(), selfimage.Options{Program: "/bin/ls"}); !errors.Is(err, selfimage.ErrDynamic) {
		t.Errorf("a dynamic program: %v", err)
	}
	for _, name := range []string{"/etc/passwd", "/nowhere", t.TempDir()} {
		if image, err := selfimage.Make(t.Context(), t.TempDir(), selfimage.Options{Program: name}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %+v, %v", name, image, err)
		}
	}
	if _, err := selfimage.Make(t.Context(), t.TempDir(), selfimage.Options{Program: build(t), Certificates: "/nowhere"}); err == nil {
		t.Error("certificates that are not there")
	}
	if _, image := mustMake(t, selfimage.Options{Program: build(t, "GOARCH=arm64")}); image.Arch != "arm64" {
		t.Errorf("arch = %s", image.Arch)
	}
}
