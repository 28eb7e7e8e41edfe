//go:build e2e

package sync_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/cluster/bedtest"
)

// held is a small host that is lifted into the cluster and held there.
type held struct {
	bedtest.Bed
	host, workspace, namespace string
}

const (
	state = "var/lib/daemon"
	claim = "small-var-lib-daemon"
)

const build = `cd "$1"
mkdir -p etc/systemd/system/multi-user.target.wants var/lib/dpkg var/lib/daemon usr/local/bin srv/papers
printf 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n' > etc/os-release
echo small > etc/hostname; : > var/lib/dpkg/status
printf 'root:x:0:0:root:/root:/bin/sh\ndaemon1:x:991:991::/var/lib/daemon:/usr/sbin/nologin\n' > etc/passwd
printf 'root:x:0:\ndaemon1:x:991:\n' > etc/group
printf '[Unit]\nDescription=A daemon\n[Service]\nExecStart=/usr/local/bin/daemon\nUser=daemon1\n[Install]\nWantedBy=multi-user.target\n' > etc/systemd/system/daemon1.service
ln -s ../daemon1.service etc/systemd/system/multi-user.target.wants/
printf '#!/bin/sh\nexec sleep 1000000\n' > usr/local/bin/daemon; chmod 755 usr/local/bin/daemon
echo 'Dear all' > 'srv/papers/a letter.txt'
cd var/lib/daemon
head -c 30000000 /dev/urandom > large; truncate -s 200M sparse
for i in $(seq 400); do mkdir -p d$((i % 20)); head -c $((i * 97)) /dev/urandom > d$((i % 20))/f$i; done
ln d1/f1 again; mkfifo queue; setfattr -n user.note -v kept large
chown -R 991:991 .`

func newHeld(t *testing.T) *held {
	t.Helper()
	h := &held{Bed: bedtest.Open(t), host: t.TempDir(), workspace: filepath.Join(t.TempDir(), "ws"), namespace: bedtest.Name("sync")}
	h.source(t, build, h.host)
	t.Cleanup(func() { h.Try("", "delete", "namespace", h.namespace, "--wait=false", "--ignore-not-found") })
	h.statelift(t, "run", h.host, "-w", h.workspace, "--hold", "--context", h.Context, "--namespace", h.namespace,
		"--registry", "http://"+h.Registry+"/"+h.namespace, "--carrier", "registry")
	return h
}

// source runs a script; without arguments in the daemon's directory.
func (h *held) source(t *testing.T, script string, args ...string) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...)
	if len(args) == 0 {
		cmd.Dir = filepath.Join(h.host, state)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// command calls statelift as users have it.
func (h *held) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program := os.Getenv("STATELIFT_BINARY")
	if program == "" {
		t.Fatal("STATELIFT_BINARY names no program: make build")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+h.Kubeconfig)
	return cmd
}

func (h *held) statelift(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.command(t, args...).CombinedOutput()
	if err != nil {
		pods, _ := h.Try("", "-n", h.namespace, "get", "pods,jobs,pvc,events")
		t.Fatalf("statelift %s: %v\n%s\n%s", strings.Join(args, " "), err, out, pods)
	}
	return string(out)
}

func (h *held) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(h.Run(t, append([]string{"-n", h.namespace}, args...)...))
}

// directory is that of the claim's volume on the node.
func (h *held) directory(t *testing.T) string {
	t.Helper()
	return filepath.Join(h.Volumes, h.kubectl(t, "get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}"))
}

// arrived compares the volume with the source, by rsync, and wants the workload
// at zero, and nothing left of the round.
func (h *held) arrived(t *testing.T) {
	t.Helper()
	out, err := exec.Command("rsync", "-aHAXSn", "--numeric-ids", "--delete", "--checksum", "--itemize-changes",
		filepath.Join(h.host, state)+"/", h.directory(t)+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("the volume is not as the source: %v\n%s", err, out)
	}
	if got := h.kubectl(t, "get", "statefulset/small-daemon1", "-o", "jsonpath={.spec.replicas}"); got != "0" {
		t.Errorf("replicas: %s", got)
	}
	if got := h.kubectl(t, "get", "secrets,jobs,pods", "-o", "name"); strings.Contains(got, "carrier") || strings.Contains(got, "-sync-") || strings.Contains(got, "daemon1-0") {
		t.Errorf("left of the round: %s", got)
	}
}

// round makes one and returns what it moved.
func (h *held) round(t *testing.T) (number int, moved int64) {
	t.Helper()
	cmd := h.command(t, "sync", "-w", h.workspace, "--json")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sync: %v\n%s", err, errs.String())
	}
	var r struct {
		Round struct {
			Number int `json:"number"`
		} `json:"round"`
		MovedBytes int64 `json:"movedBytes"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	return r.Round.Number, r.MovedBytes
}

// TestSync makes rounds into the real cluster.
func TestSync(t *testing.T) {
	h := newHeld(t)
	h.arrived(t)

	t.Run("nothing changed", func(t *testing.T) {
		if n, moved := h.round(t); n != 1 || moved != 0 {
			t.Errorf("round %d moved %d bytes", n, moved)
		}
		h.arrived(t)
	})
	t.Run("changes of every kind", func(t *testing.T) {
		h.source(t, `printf CHANGED | dd of=large bs=1 seek=5000000 conv=notrunc 2>/dev/null; echo new > 'a new one'; rm d2/f2; mv d3 d33
			chmod 0600 d4/f4; ln d5/f5 d5/again; setfattr -x user.note large; mkdir empty; ln -s nowhere link; printf x | dd of=sparse bs=1 seek=100000000 conv=notrunc 2>/dev/null`)
		// A block of the large file, one of the sparse one, and what belongs to them.
		if n, moved := h.round(t); n != 2 || moved > 3<<20 {
			t.Errorf("round %d moved %d bytes", n, moved)
		}
		h.arrived(t)
	})
	t.Run("no Pod starts by hand", func(t *testing.T) {
		h.kubectl(t, "scale", "--replicas=1", "statefulset/small-daemon1")
		deadline := time.Now().Add(time.Minute)
		for !strings.Contains(h.kubectl(t, "get", "events", "--field-selector=reason=FailedMount", "-o", "jsonpath={.items[*].message}"), `"small-serving" not found`) {
			if time.Now().After(deadline) {
				t.Fatalf("the kubelet does not wait for the fence:\n%s", h.kubectl(t, "get", "pods,events"))
			}
			time.Sleep(300 * time.Millisecond)
		}
		if got := h.kubectl(t, "get", "pod/small-daemon1-0", "-o", "jsonpath={.status.containerStatuses[*].started}"); strings.Contains(got, "true") {
			t.Error("a container has started")
		}
		h.source(t, "echo more >> d7/f7")
		h.round(t)
		h.arrived(t)
	})
	t.Run("somebody wrote into the volume", func(t *testing.T) {
		dir := h.directory(t)
		if err := os.WriteFile(filepath.Join(dir, "d8/f8"), []byte("of others"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "stray"), []byte("of others"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.source(t, "echo more >> d9/f9")
		h.round(t)
		h.arrived(t)
	})
	t.Run("proved again, and by a run", func(t *testing.T) {
		h.statelift(t, "verify", "-w", h.workspace)
		h.statelift(t, "verify", "--volumes", "-w", h.workspace)
		if out := h.statelift(t, "run", "-w", h.workspace); strings.Contains(out, "deploy begins") {
			t.Errorf("a run after rounds does something:\n%s", out)
		}
	})
	t.Run("killed", func(t *testing.T) { h.killed(t) })
	t.Run("namespace deleted", func(t *testing.T) {
		h.Run(t, "delete", "namespace", h.namespace, "--timeout=120s")
		if out, err := h.command(t, "sync", "-w", h.workspace).CombinedOutput(); err == nil || !strings.Contains(string(out), "statelift run --hold fills it") {
			t.Errorf("a round into a volume that is gone: %v\n%s", err, out)
		}
		h.statelift(t, "run", "-w", h.workspace)
		h.arrived(t)
		h.source(t, "echo last >> d10/f10")
		h.round(t)
		h.arrived(t)
		h.statelift(t, "verify", "-w", h.workspace)
	})
	t.Run("not held", func(t *testing.T) {
		h.statelift(t, "run", "-w", h.workspace, "--hold=false", "--until", "manifests")
		if out, err := h.command(t, "sync", "-w", h.workspace).CombinedOutput(); err == nil || !strings.Contains(string(out), "this lift is not held") {
			t.Errorf("a round into volumes that are used: %v\n%s", err, out)
		}
	})
}

// killed kills rounds at random moments, with Pods now and then.
func (h *held) killed(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("random numbers from %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const kills = 8
	died := 0
	for n := range kills {
		h.source(t, `head -c 6000000 /dev/urandom >> large; echo x >> d11/f11; mv d12 d12.new; mv d12.new d12`)
		cmd := h.command(t, "sync", "-w", h.workspace)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(time.Duration(300+random.IntN(4000)) * time.Millisecond):
			cmd.Process.Kill()
			<-ended
			died++
		}
		if n%3 == 1 {
			h.Try("", "-n", h.namespace, "delete", "pod", "--all", "--wait=false", "--grace-period=0", "--force")
		}
	}
	t.Logf("%d of %d rounds were killed", died, kills)
	h.round(t)
	h.arrived(t)
	h.statelift(t, "verify", "-w", h.workspace)
}
