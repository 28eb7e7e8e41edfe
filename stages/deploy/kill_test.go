package deploy_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/workspace"
)

// childEnv holds root and workspace for a run of both stages in a process of its
// own, which the test kills.
const childEnv = "STATELIFT_TEST_DEPLOY"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		root, dir, _ := strings.Cut(job, "\n")
		if err := child(root, dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Fewer than rapid's hundred, since each is several runs of the program;
	// -rapid.checks on the command line still counts, -short takes a fifth.
	if err := flag.Set("rapid.checks", "10"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func child(root, dir string) error {
	ctx := context.Background()
	h := &host{root: root, plan: plan(), env: pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: workspace.Workspace{Dir: dir}, Progress: silent{}}}
	var err error
	if h.ledger, err = pipeline.OpenLedgers(ctx, h.env.Workspace.Path(workspace.Run, "ledger.db")); err != nil {
		return err
	}
	defer h.ledger.Close()
	seeds, err := h.seed(ctx)
	if err != nil {
		return err
	}
	_, err = h.deploy(ctx, seeds)
	return err
}

// Both stages, killed wherever it may be, end with the same hand-offs and the
// same files in the workspace as without.
func TestKilledStagesEndTheSame(t *testing.T) {
	h := newHost(t)
	start := time.Now()
	seeds, copies := h.both(t)
	whole := time.Since(start)
	want := files(t, h)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kills := 0
	rapid.Check(t, func(rt *rapid.T) {
		other := h.elsewhere(t)
		for range rapid.IntRange(1, 4).Draw(rt, "interrupts") {
			var said strings.Builder
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childEnv+"="+other.root+"\n"+other.env.Workspace.Dir)
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				rt.Fatal(err)
			}
			after := time.Duration(rapid.Float64Range(0.02, 1).Draw(rt, "after") * float64(whole))
			timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() >= 0 {
				rt.Fatalf("failed: %s", said.String())
			}
			if err != nil {
				kills++
			}
		}
		s, c := other.both(t)
		if diff := cmp.Diff(seeds, s) + cmp.Diff(copies, c, butMark); diff != "" {
			rt.Fatalf("hand-offs: %s", diff)
		}
		if diff := cmp.Diff(want, files(t, other)); diff != "" {
			rt.Fatalf("workspace: %s", diff)
		}
	})
	if !testing.Short() && kills == 0 {
		t.Error("no kill came before the end: this tested nothing")
	}
	t.Logf("%d kills", kills)
}

// files are the names, sums and metadata of what is in the workspace.
func files(t *testing.T, h *host) []string {
	t.Helper()
	cmd := exec.Command("bash", "-c", `for d in seeds receipts volumes; do
		(cd $d; find . -printf '%y %m %U %G %s %P\0' | sed -z '/^d/s/ [0-9]* / 0 /4' | sort -z | xargs -0 -n1 echo $d
		find . -type f -print0 | sort -z | xargs -0 sha256sum); done; cd volumes; find . -mindepth 2 -printf '%T@ %P\n' | sort`)
	cmd.Dir = h.env.Workspace.Dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Split(string(out), "\n")
}
