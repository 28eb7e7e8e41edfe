//go:build e2e

package install_test

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/statelift/statelift/fixtures/image"
)

// TestCopier has another program than the one that runs fill the volumes: a copy
// of it with some bytes behind its end.
func TestCopier(t *testing.T) {
	t.Parallel()
	l := newLift(t)
	program, err := os.ReadFile(l.command(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	program = append(program, "another build"...)
	other := filepath.Join(t.TempDir(), "statelift-other")
	if err := os.WriteFile(other, program, 0o755); err != nil {
		t.Fatal(err)
	}
	l.statelift(t, l.args("--copier", other)...)
	l.arrived(t, "srv/papers", "small-srv-papers")
	l.arrived(t, "var/lib/daemon", "small-var-lib-daemon", "/starts")
	refs := strings.Fields(l.kubectl(t, "get", "pods", "-l", "job-name", "-o", `jsonpath={range .items[*]}{.spec.containers[0].image}{"\n"}{end}`))
	if len(refs) == 0 {
		t.Fatal("no Pod of a copy is there")
	}
	for _, ref := range refs {
		if got := programIn(t, ref); got != sha256.Sum256(program) {
			t.Errorf("the program in %s is not that of --copier", ref)
		}
	}
	before := l.versions(t)
	l.statelift(t, "run", "-w", l.workspace)
	if l.versions(t) != before {
		t.Error("a run that goes on does not remember the program")
	}
}

// programIn is the digest of the only program of an image.
func programIn(t *testing.T, ref string) (sum [sha256.Size]byte) {
	t.Helper()
	img, err := image.Pull(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	in := mutate.Extract(img)
	defer in.Close()
	programs := 0
	for files := tar.NewReader(in); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || h.Mode&0o111 == 0 {
			continue
		}
		programs++
		data, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		sum = sha256.Sum256(data)
	}
	if programs != 1 {
		t.Fatalf("%s has %d programs", ref, programs)
	}
	return sum
}
