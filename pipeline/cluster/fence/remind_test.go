//go:build e2e

package fence_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/statelift/statelift/fixtures/image"
)

// TestDeafAtFirst: a container that was told to end before it listened does not
// keep the fence waiting for the whole of its grace.
func TestDeafAtFirst(t *testing.T) {
	h := newHeld(t)
	files := map[string]string{"/bin/sh": "/bin/dash", "/usr/bin/sleep": "/usr/bin/sleep"}
	for _, program := range []string{"/bin/dash", "/usr/bin/sleep"} {
		libraries, err := exec.Command("ldd", program).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(libraries), -1) {
			files[m[1]] = m[1]
		}
	}
	ref := h.Registry + "/" + h.namespace + "/shell:1"
	if err := image.Push(t.Context(), ref, empty.Image, files, nil); err != nil {
		t.Fatal(err)
	}
	labels := ""
	for k, v := range h.Plan.Pods() {
		labels += "," + k + "=" + v
	}
	h.kubectl(t, "run", "deaf", "--image="+ref, "--labels="+labels[1:], "--overrides", `{"spec":{"terminationGracePeriodSeconds":900}}`,
		"--command", "--", "/bin/sh", "-c", `trap "" TERM; sleep 10; trap "exit 0" TERM; while :; do sleep 1; done`)
	h.until(t, "it runs", func(s string) bool { return s == "Running" }, "get", "pod", "deaf", "-o", "jsonpath={.status.phase}")
	h.kubectl(t, "delete", "pod", "deaf", "--wait=false")
	began := time.Now()
	if err := h.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Minute {
		t.Errorf("it took %s to hold what has 15 minutes", took)
	}
	if got := h.kubectl(t, "get", "pods", "--field-selector=status.phase=Running", "-o", "name"); strings.Contains(got, "deaf") {
		t.Errorf("still running: %s", got)
	}
}
