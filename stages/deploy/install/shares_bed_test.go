//go:build e2e

package install_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestSharesOfTwoLifts: one host with a network share is lifted into two
// namespaces; each lift has a volume of its own, and clean removes its own only.
// (Nothing serves the share here: the lifts end before their workloads run.)
func TestSharesOfTwoLifts(t *testing.T) {
	t.Parallel()
	var lifts []*lift
	var volumes []string
	for range 2 {
		l := newLift(t)
		l.write(t, "etc/fstab", []byte("192.0.2.1:/export/media /mnt/media nfs defaults 0 0\n"))
		l.write(t, "etc/systemd/system/daemon1.service", []byte(strings.Replace(unit, "User=daemon1", "User=daemon1\nEnvironment=MEDIA=/mnt/media", 1)))
		l.shell(t, `mkdir -p "$1/mnt/media"`, l.host)
		volumes = append(volumes, l.untilShare(t))
		lifts = append(lifts, l)
	}
	if volumes[0] == volumes[1] || volumes[0] == "" {
		t.Fatalf("volumes %q", volumes)
	}
	for i, l := range lifts {
		out := l.statelift(t, "clean", "-w", l.workspace, "--volumes")
		if !strings.Contains(out, volumes[i]) || strings.Contains(out, volumes[1-i]) {
			t.Errorf("clean of %s:\n%s", l.namespace, out)
		}
		if _, err := l.Try("", "get", "pv", volumes[i]); err == nil {
			t.Errorf("%s is still there", volumes[i])
		}
		if i == 0 {
			if phase := l.Run(t, "get", "pv", volumes[1], "-o", "jsonpath={.status.phase}"); phase != "Bound" {
				t.Errorf("%s is %s", volumes[1], phase)
			}
		}
	}
}

// untilShare runs the lift until its claim of the share is bound, and returns
// the volume.
func (l *lift) untilShare(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	cmd := l.command(t, l.args()...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.After(3 * time.Minute); ; {
		name, err := l.Try("", "-n", l.namespace, "get", "pvc", "small-share-mnt-media", "-o", `jsonpath={.status.phase} {.spec.volumeName}`)
		if volume, ok := strings.CutPrefix(name, "Bound "); ok && err == nil {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
			<-ended
			return strings.TrimSpace(volume)
		}
		select {
		case err := <-ended:
			t.Fatalf("the lift ended: %v\n%s", err, out.String())
		case <-deadline:
			cmd.Process.Kill()
			<-ended
			t.Fatalf("the share has no volume\n%s\n%s", out.String(), l.describe())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
