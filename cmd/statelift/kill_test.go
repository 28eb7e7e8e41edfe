package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/tinyhost"
	"github.com/statelift/statelift/stages"
)

// TestKilledAnywhere is the third promise: SIGKILL at any moment, run again, and
// what is there is what an undisturbed run makes. rsync judges.
func TestKilledAnywhere(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	if err := errors.Join(os.Mkdir(host, 0o755), tinyhost.Build(host)); err != nil {
		t.Fatal(err)
	}
	k := newKiller(t, host)
	for i := range 50 {
		delay := time.Duration(rand.Float64() * float64(k.took))
		t.Run(fmt.Sprintf("random point %d", i), func(t *testing.T) {
			t.Parallel()
			t.Logf("killed after %s of %s", delay, k.took)
			k.check(t, func(run *exec.Cmd, _ <-chan string) { time.Sleep(delay) })
		})
	}
	for _, s := range stages.All(stages.Deps{}) {
		for _, edge := range []string{s.Name + " begins", s.Name + " done"} {
			t.Run(edge, func(t *testing.T) {
				t.Parallel()
				k.check(t, func(run *exec.Cmd, lines <-chan string) {
					for line := range lines {
						if strings.Contains(line, edge) {
							return
						}
					}
				})
			})
		}
	}
}

// TestRealHostKilled does the same at five points of the WordPress host.
func TestRealHostKilled(t *testing.T) {
	k := newKiller(t, filepath.Join(hosts.WordPress(t), "root"))
	for i := range 5 {
		delay := time.Duration((float64(i) + rand.Float64()) / 5 * float64(k.took))
		t.Run(fmt.Sprintf("random point %d", i), func(t *testing.T) {
			t.Logf("killed after %s of %s", delay, k.took)
			k.check(t, func(*exec.Cmd, <-chan string) { time.Sleep(delay) })
		})
	}
}

// killer knows what an undisturbed run makes of a host, and how long it takes.
type killer struct {
	host, want string
	took       time.Duration
}

func newKiller(t *testing.T, host string) *killer {
	t.Helper()
	k := &killer{host: host, want: filepath.Join(t.TempDir(), "undisturbed")}
	started := time.Now()
	if out, err := exec.Command(shipped(), "run", host, "-w", k.want).CombinedOutput(); err != nil {
		t.Fatalf("undisturbed run: %v\n%s", err, out)
	}
	k.took = time.Since(started)
	return k
}

// check starts a run, kills it when wait returns, runs again, and compares.
func (k *killer) check(t *testing.T, wait func(run *exec.Cmd, lines <-chan string)) {
	t.Helper()
	ws := filepath.Join(t.TempDir(), "ws")
	k.kill(t, ws, wait)
	confirmed := confirmedBlobs(t, ws)
	if out, err := exec.Command(shipped(), "run", k.host, "-w", ws).CombinedOutput(); err != nil {
		t.Fatalf("second run: %v\n%s", err, out)
	}
	for name, before := range confirmed {
		after, err := os.Stat(name)
		if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
			t.Errorf("%s was confirmed before the kill and was made again (%v)", name, err)
		}
	}
	compare(t, k.want, ws)
	os.RemoveAll(ws)
}

func (k *killer) kill(t *testing.T, ws string, wait func(*exec.Cmd, <-chan string)) {
	t.Helper()
	run := exec.Command(shipped(), "run", k.host, "-w", ws)
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(stderr); sc.Scan(); {
			select {
			case lines <- sc.Text():
			default:
			}
		}
	}()
	wait(run, lines)
	syscall.Kill(-run.Process.Pid, syscall.SIGKILL)
	run.Wait()
}

// confirmedBlobs are the blobs whose digest the ledger has.
func confirmedBlobs(t *testing.T, ws string) map[string]fs.FileInfo {
	t.Helper()
	found := map[string]fs.FileInfo{}
	ledger := filepath.Join(ws, "run", "ledger.db")
	if _, err := os.Stat(ledger); err != nil {
		return found
	}
	// A copy is read, so that looking does not repair what the kill left.
	copied := filepath.Join(t.TempDir(), "ledger.db")
	for _, suffix := range []string{"", "-wal"} {
		if data, err := os.ReadFile(ledger + suffix); err == nil {
			if err := os.WriteFile(copied+suffix, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	marks, err := exec.Command("sqlite3", copied, "SELECT stage, item, mark FROM marks").Output()
	if err != nil {
		return found // killed before the table was there
	}
	for _, dir := range []string{"images", "seeds"} {
		blobs, err := filepath.Glob(filepath.Join(ws, dir, "blobs", "sha256", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range blobs {
			if strings.Contains(string(marks), filepath.Base(name)) {
				if fi, err := os.Stat(name); err == nil {
					found[name] = fi
				}
			}
		}
	}
	return found
}

// compare lets rsync say how two workspaces differ.
func compare(t *testing.T, want, got string) {
	t.Helper()
	if d := differences(want, got); d != "" {
		t.Error(d)
	}
}

// differences of two workspaces: the volumes in everything, the rest in
// everything but the time it was written.
func differences(want, got string) string {
	const artefact = "-rlpgoDHAXn"
	pairs := map[string]string{
		"images": artefact, "seeds": artefact, "store": artefact, "manifests": artefact, "receipts": artefact,
	}
	volumes, err := os.ReadDir(filepath.Join(want, "volumes"))
	if err != nil || len(volumes) == 0 {
		return fmt.Sprintf("volumes: %v, %v", volumes, err)
	}
	for _, v := range volumes {
		pairs[filepath.Join("volumes", v.Name())] = "-aHAXSn"
	}
	var all strings.Builder
	for dir, flags := range pairs {
		out, err := exec.Command("rsync", flags, "--numeric-ids", "--checksum", "--delete", "--itemize-changes",
			filepath.Join(want, dir)+"/", filepath.Join(got, dir)+"/").CombinedOutput()
		if err != nil || len(out) > 0 {
			fmt.Fprintf(&all, "%s differs (%v):\n%s", dir, err, out)
		}
	}
	// Fingerprints of credentials are made with a key of the workspace.
	script := `cmp "$1/plan.yaml" "$2/plan.yaml" && for w in "$1" "$2"; do
		jq 'del(.credentials[].fingerprint)' "$w/report.json" | sha256sum; done | uniq | wc -l`
	out, err := exec.Command("sh", "-c", script, "sh", want, got).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		fmt.Fprintf(&all, "plan.yaml or report.json differs (%v): %s", err, out)
	}
	return all.String()
}
