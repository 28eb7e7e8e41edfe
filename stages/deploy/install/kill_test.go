//go:build e2e

package install_test

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// kills is how often a run is killed on its way.
const kills = 10

// TestKilled: a run that is killed at random points of deploy, and whose copy
// Pods are deleted in mid-copy, ends with the same receipts as one that was never
// disturbed, and leaves no credentials.
func TestKilled(t *testing.T) {
	l := newLift(t)
	l.statelift(t, l.args("--until", "manifests")...)
	seed := time.Now().UnixNano()
	t.Logf("random numbers from %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	killed := 0
	for n := range kills {
		cmd := l.command(t, "run", "-w", l.workspace)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
			t.Logf("run %d came to its end", n)
		case <-time.After(time.Duration(200+random.IntN(4000)) * time.Millisecond):
			cmd.Process.Kill()
			<-ended
			killed++
		}
		if n%3 == 1 {
			l.Try("", "-n", l.namespace, "delete", "pod", "--all", "--wait=false", "--grace-period=0", "--force")
		}
	}
	if killed == 0 {
		t.Error("each run came to its end before it was killed")
	}
	l.statelift(t, "run", "-w", l.workspace)
	l.noCredentials(t)
	l.arrived(t, "srv/papers", "small-srv-papers")
	l.arrived(t, "var/lib/daemon", "small-var-lib-daemon", "/starts")
	disturbed := l.receipts(t)

	calm := &lift{Bed: l.Bed, host: l.host, workspace: l.workspace + "-calm", namespace: l.namespace + "-calm"}
	t.Cleanup(func() { calm.Try("", "delete", "namespace", calm.namespace, "--wait=false", "--ignore-not-found") })
	calm.statelift(t, calm.args()...)
	calm.sameProofs(t, disturbed)
}

// TestReceiptLost: copies that were made while nobody watched, and whose Pods are
// gone, are proved again.
func TestReceiptLost(t *testing.T) {
	t.Parallel()
	l := newLift(t)
	l.statelift(t, l.args("--until", "manifests")...)
	cmd := l.command(t, "run", "-w", l.workspace)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if jobs, _ := l.Try("", "-n", l.namespace, "get", "jobs", "-o", "name"); strings.Contains(jobs, "copy-srv-papers") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no copy Job was made")
		}
	}
	cmd.Process.Kill()
	<-ended
	jobs := strings.Fields(l.Run(t, "-n", l.namespace, "get", "jobs", "-o", "name"))
	l.Run(t, append([]string{"-n", l.namespace, "wait", "--for=condition=complete", "--timeout=2m"}, jobs...)...)
	l.Run(t, "-n", l.namespace, "delete", "pod", "--all")

	out := l.statelift(t, "run", "-w", l.workspace)
	if !strings.Contains(out, "the Job is run again, and proves again") {
		t.Errorf("the receipts were not lost, or nobody was told:\n%s", out)
	}
	l.noCredentials(t)
	l.arrived(t, "srv/papers", "small-srv-papers")
}

// TestRehearsalSaysTheSame: the proof of a copy in the cluster is that of the
// same copy on this machine, but for what is said not to be compared.
func TestRehearsalSaysTheSame(t *testing.T) {
	t.Parallel()
	l := newLift(t)
	l.statelift(t, l.args()...)
	rehearsed := l.workspace + "-rehearsal"
	l.statelift(t, "run", l.host, "-w", rehearsed)
	out, err := exec.Command("bash", "-euc", `
		for f in "$1"/receipts/*.json; do
			jq -S 'del(.notCompared)' "$f" >"$f.plain"
			jq -S 'del(.notCompared)' "$2/receipts/$(basename "$f")" | diff "$f.plain" -
		done
		for f in "$1"/receipts/*.listing; do
			cmp "$f" "$2/receipts/$(basename "$f")"
			sha256sum "$f" | cut -c1-64 | diff - <(jq -r .copyTree "${f%.listing}.json")
		done`, "bash", l.workspace, rehearsed).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
