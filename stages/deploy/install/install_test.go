//go:build e2e

package install_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestInstall takes a host into the cluster, and then everything happens to it
// that happens to things in clusters.
func TestInstall(t *testing.T) {
	l := newLift(t)
	l.statelift(t, l.args()...)
	l.arrived(t, "srv/papers", "small-srv-papers")
	l.arrived(t, "var/lib/daemon", "small-var-lib-daemon", "/starts")
	l.starts(t, "42\n")
	l.noCredentials(t)
	proofs := l.receipts(t)

	t.Run("run again", func(t *testing.T) {
		before := l.versions(t)
		l.statelift(t, "run", "-w", l.workspace)
		if diff := cmp.Diff(before, l.versions(t)); diff != "" {
			t.Errorf("a second run changed (-before +after):\n%s", diff)
		}
	})
	t.Run("receipts lost", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(l.workspace, "receipts")); err != nil {
			t.Fatal(err)
		}
		before := l.versions(t)
		l.statelift(t, "run", "-w", l.workspace)
		l.sameReceipts(t, proofs)
		if diff := cmp.Diff(before, l.versions(t)); diff != "" {
			t.Errorf("the run changed (-before +after):\n%s", diff)
		}
	})
	t.Run("Pods deleted", func(t *testing.T) {
		l.kubectl(t, "delete", "pod", "--all")
		l.statelift(t, "run", "-w", l.workspace)
		l.kubectl(t, "wait", "--for=condition=Ready", "pod/small-daemon1-0", "--timeout=60s")
		l.starts(t, "43\n")
	})
	t.Run("an object removed, another changed", func(t *testing.T) {
		l.kubectl(t, "delete", "networkpolicy", "small-daemon1")
		l.kubectl(t, "delete", "statefulset", "small-daemon1")
		l.statelift(t, "run", "-w", l.workspace)
		l.kubectl(t, "get", "networkpolicy", "small-daemon1")
		l.starts(t, "44\n")
	})
	t.Run("claim deleted", func(t *testing.T) {
		l.kubectl(t, "delete", "pvc", "small-var-lib-daemon", "--wait=false")
		l.statelift(t, "run", "-w", l.workspace)
		l.starts(t, "42\n")
		l.arrived(t, "var/lib/daemon", "small-var-lib-daemon", "/starts")
		l.sameProofs(t, proofs)
	})
	t.Run("namespace deleted", func(t *testing.T) {
		l.Run(t, "delete", "namespace", l.namespace, "--timeout=120s")
		l.statelift(t, "run", "-w", l.workspace)
		l.starts(t, "42\n")
		l.sameProofs(t, proofs)
		l.noCredentials(t)
	})
	t.Run("status", func(t *testing.T) {
		out := l.statelift(t, "status", "-w", l.workspace)
		for _, want := range []string{"StatefulSet", "small-daemon1 ", "holds data", "everything is done"} {
			if !strings.Contains(out, want) {
				t.Errorf("status says nothing of %q:\n%s", want, out)
			}
		}
	})
	t.Run("clean", l.clean)
}

func (l *lift) starts(t *testing.T, want string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.directory(t, "small-var-lib-daemon"), "starts"))
	if err != nil || string(data) != want {
		t.Errorf("the service counts %q starts, %v, want %q", data, err, want)
	}
}

func (l *lift) sameReceipts(t *testing.T, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, l.receipts(t)); diff != "" {
		t.Errorf("receipts (-before +after):\n%s", diff)
	}
}

// sameProofs is sameReceipts where volumes were filled anew, at another time.
func (l *lift) sameProofs(t *testing.T, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, l.receipts(t)); diff != "" {
		t.Errorf("receipts but for their times (-before +after):\n%s", diff)
	}
}

// noCredentials wants nothing left of what a run lent to its copies.
func (l *lift) noCredentials(t *testing.T) {
	t.Helper()
	if out := l.kubectl(t, "get", "secrets", "-o", "name"); strings.Contains(out, "carrier") {
		t.Errorf("left in the namespace: %s", out)
	}
}

// clean removes exactly what was made.
func (l *lift) clean(t *testing.T) {
	l.kubectl(t, "create", "configmap", "of-others", "--from-literal=a=b")
	before := l.versions(t)
	if out := l.statelift(t, "clean", "--dry-run", "--volumes", "-w", l.workspace); !strings.Contains(out, "would be removed") {
		t.Errorf("a dry run says: %s", out)
	}
	if diff := cmp.Diff(before, l.versions(t)); diff != "" {
		t.Errorf("a dry run changed (-before +after):\n%s", diff)
	}
	if out := l.statelift(t, "clean", "-w", l.workspace); !strings.Contains(out, "--volumes removes it") || !strings.Contains(out, "remains: image") {
		t.Errorf("clean says: %s", out)
	}
	all := "configmaps,secrets,pvc,services,serviceaccounts,networkpolicies,jobs,cronjobs,deployments,statefulsets,pods"
	if got := l.kubectl(t, "get", all, "-o", "name"); got != left("configmap/kube-root-ca.crt", "configmap/of-others",
		"persistentvolumeclaim/small-srv-papers", "persistentvolumeclaim/small-var-lib-daemon", "serviceaccount/default") {
		t.Errorf("left: %s", got)
	}
	t.Run("what was kept is taken up again", func(t *testing.T) {
		l.statelift(t, "run", "-w", l.workspace)
		l.starts(t, "43\n")
	})
	if out := l.statelift(t, "clean", "--volumes", "-w", l.workspace); !strings.Contains(out, "it is not empty: ConfigMap of-others") {
		t.Errorf("clean says: %s", out)
	}
	if got := l.kubectl(t, "get", all, "-o", "name"); got != left("configmap/kube-root-ca.crt", "configmap/of-others", "serviceaccount/default") {
		t.Errorf("left: %s", got)
	}
	l.kubectl(t, "delete", "configmap", "of-others")
	l.statelift(t, "clean", "--volumes", "-w", l.workspace)
	if out, err := l.Try("", "get", "namespace", l.namespace); err == nil {
		t.Errorf("the namespace is still there: %s", out)
	}
	if out := l.statelift(t, "clean", "-w", l.workspace); !strings.Contains(out, "nothing of this workspace is in a cluster") {
		t.Errorf("clean says: %s", out)
	}
}

func left(names ...string) string { return strings.Join(names, "\n") + "\n" }
