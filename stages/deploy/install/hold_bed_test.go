//go:build e2e

package install_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestHold: a held lift has everything in the cluster but a running Pod, also
// when somebody scales it up by hand, and the data are as at the source; once the
// fence is released a run leaves it so, and --hold=false gives it up.
func TestHold(t *testing.T) {
	l := newLift(t)
	out := l.statelift(t, l.args("--hold")...)
	if !strings.Contains(out, "held: no Pod of a workload starts before statelift cutover") {
		t.Errorf("verify says nothing of the fence:\n%s", out)
	}
	l.arrived(t, "var/lib/daemon", "small-var-lib-daemon")
	l.starts(t, "41\n")
	if got := l.kubectl(t, "get", "statefulset", "small-daemon1", "-o", "jsonpath={.spec.replicas}"); got != "0" {
		t.Errorf("replicas: %s", got)
	}

	t.Run("run again changes nothing", func(t *testing.T) {
		before := l.versions(t)
		if out := l.statelift(t, "run", "-w", l.workspace); strings.Contains(out, " begins") {
			t.Errorf("a second run does something:\n%s", out)
		}
		if diff := cmp.Diff(before, l.versions(t)); diff != "" {
			t.Errorf("a second run changed (-before +after):\n%s", diff)
		}
	})
	t.Run("scaled up by hand", func(t *testing.T) {
		l.kubectl(t, "scale", "--replicas=1", "statefulset/small-daemon1")
		l.waitFor(t, `"small-serving" not found`, "get", "events", "--field-selector=reason=FailedMount", "-o", "jsonpath={.items[*].message}")
		l.starts(t, "41\n")
		l.statelift(t, "verify", "-w", l.workspace)
		l.statelift(t, "run", "-w", l.workspace)
		if got := l.kubectl(t, "get", "statefulset,pods", "-l", "statelift.io/step=run", "-o", "jsonpath={.items[*].kind} {.items[*].spec.replicas}"); got != "StatefulSet 0" {
			t.Errorf("after a run: %s", got)
		}
	})
	t.Run("the volumes can be proved again", func(t *testing.T) {
		l.statelift(t, "verify", "--volumes", "-w", l.workspace)
	})
	t.Run("namespace deleted", func(t *testing.T) {
		l.Run(t, "delete", "namespace", l.namespace, "--timeout=120s")
		l.statelift(t, "run", "-w", l.workspace)
		l.starts(t, "41\n")
		l.arrived(t, "var/lib/daemon", "small-var-lib-daemon")
	})
	t.Run("the flag is not forgotten", func(t *testing.T) {
		l.statelift(t, l.args()...)
		l.starts(t, "41\n")
	})
	t.Run("given up", func(t *testing.T) {
		l.statelift(t, "run", "-w", l.workspace, "--hold=false")
		l.starts(t, "42\n")
		if got := l.kubectl(t, "get", "pod", "small-daemon1-0", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`); got != "True" {
			t.Errorf("ready: %s", got)
		}
	})
}

// waitFor polls what kubectl says.
func (l *lift) waitFor(t *testing.T, want string, args ...string) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for !strings.Contains(l.kubectl(t, args...), want) {
		if time.Now().After(deadline) {
			t.Fatalf("kubectl %s does not say %q\n%s", strings.Join(args, " "), want, l.describe())
		}
		time.Sleep(500 * time.Millisecond)
	}
}
