//go:build e2e

package install_test

import (
	"strings"
	"testing"
	"time"
)

// TestPatience: a fault that may pass by itself, here a provisioner that makes
// nothing, ends the run after as long as the user wants to wait, not after the
// three minutes that are the default.
func TestPatience(t *testing.T) {
	t.Parallel()
	l := newLift(t)
	class := l.namespace + "-never"
	if _, err := l.Try("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: "+class+"}\nprovisioner: bed.statelift/never\nvolumeBindingMode: WaitForFirstConsumer\n",
		"apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Run(t, "delete", "storageclass", class) })
	l.decide(t, "volumes:\n- path: /var/lib/daemon\n  storageClass: "+class+"\n")
	l.statelift(t, l.args("--until", "manifests")...)
	began := time.Now()
	out := l.refused(t, 1, "run", "-w", l.workspace, "--patience", "5s")
	// It says nothing for the twenty seconds that a slow provisioner may take.
	if took := time.Since(began); took < 20*time.Second || took > time.Minute {
		t.Errorf("it took %s", took)
	}
	for _, want := range []string{"volume var-lib-daemon", "makes no volume", "storageClass:", "statelift clean"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing is said of %q:\n%s", want, out)
		}
	}
	l.noCredentials(t)
	if got := l.kubectl(t, "get", "jobs", "-o", `jsonpath={range .items[?(@.spec.suspend==true)]}{.metadata.name}{"\n"}{end}`); !strings.HasPrefix(got, "small-copy-var-lib-daemon-") || strings.Count(got, "\n") != 1 {
		t.Errorf("Jobs that keep no room any more: %q", got)
	}
	l.arrived(t, "srv/papers", "small-srv-papers")
	l.decide(t, "volumes: []\n")
	l.statelift(t, "run", "-w", l.workspace)
	l.arrived(t, "var/lib/daemon", "small-var-lib-daemon", "/starts")
}
