package delta_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
)

// childEnv holds layout, rounds, target, listing and proof for an Apply in a
// process of its own, which the test kills.
const childEnv = "STATELIFT_TEST_APPLY"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(strings.Split(job, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Fewer than rapid's hundred, since each is several rounds and runs of the
	// program; -rapid.checks on the command line still counts.
	if err := flag.Set("rapid.checks", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func child(job []string) error {
	ctx := context.Background()
	l, err := oci.Open(job[0])
	if err != nil {
		return err
	}
	d, err := seed.Find(l, "data")
	if err != nil {
		return err
	}
	o := delta.ApplyOptions{Dir: job[2], Listing: job[3], Copy: copier.Options{Workers: 2}}
	if o.Seed, err = seed.Open(ctx, l, d); err != nil {
		return err
	}
	base, err := delta.ReadBase(job[1])
	if err != nil {
		return err
	}
	for _, d := range base.Deltas {
		open, err := delta.Open(ctx, l, d)
		if err != nil {
			return err
		}
		o.Deltas = append(o.Deltas, open)
	}
	if o.Proof, err = delta.ParseProof(job[4]); err != nil {
		return err
	}
	_, err = delta.Apply(ctx, o)
	return err
}

// kill applies in a process and kills it after a while. It reports whether that
// ended before.
func (l *lift) kill(target string, after time.Duration) bool {
	self, err := os.Executable()
	l.ok(err)
	var said strings.Builder
	cmd := exec.Command(self)
	job := []string{l.place, l.rounds, target, filepath.Join(l.t.TempDir(), "listing"), delta.ProofOf(l.receipt).String()}
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(job, "\n"))
	cmd.Stderr = &said
	l.ok(cmd.Start())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		l.t.Fatalf("apply failed: %s", said.String())
	}
	return err == nil
}

// Whatever changes at the source in whatever number of rounds, of which some are
// missed, made twice or killed, and whatever a workload does to the volume in
// between: after the next round the volume is what the source is.
func TestRoundsEndLikeTheSource(t *testing.T) {
	kills := 0
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "rounds")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
		for _, d := range []string{source, target} {
			if err := os.Mkdir(d, 0o755); err != nil {
				rt.Fatal(err)
			}
		}
		if err := trees.Every(source); err != nil {
			rt.Fatal(err)
		}
		at := &unrest{dir: source, rand: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))}
		stir := func(u *unrest, n int) {
			if err := u.stir(n); err != nil {
				rt.Fatal(err)
			}
		}
		stir(at, 30)
		l := begin(t, source, seed.Limits{})
		if rapid.Bool().Draw(rt, "filled first") {
			l.apply(target)
		}
		for range rapid.IntRange(2, 4).Draw(rt, "rounds") {
			stir(at, rapid.IntRange(0, 40).Draw(rt, "changes"))
			if rapid.IntRange(0, 3).Draw(rt, "not confirmed") == 0 {
				if _, err := delta.Make(t.Context(), l.options()); err != nil {
					rt.Fatal(err)
				}
				stir(at, 5)
			}
			if r := l.round(); len(r.Restless) > 0 {
				rt.Fatalf("restless in a tree at rest: %v", r.Restless)
			}
			if rapid.IntRange(0, 3).Draw(rt, "missed") == 0 {
				continue
			}
			if rapid.IntRange(0, 2).Draw(rt, "workload writes") == 0 && l.receipt.Proved {
				stir(&unrest{dir: target, rand: at.rand, n: 1e6}, 20)
			}
			if rapid.IntRange(0, 5).Draw(rt, "proof lost") == 0 {
				l.receipt = handoff.Receipt{}
			}
			for range rapid.IntRange(0, 2).Draw(rt, "kills") {
				if !l.kill(target, time.Duration(rapid.IntRange(5, 900).Draw(rt, "after"))*time.Millisecond) {
					kills++
				}
			}
			l.apply(target)
			equal(t, source, target)
			if t.Failed() {
				rt.Fatal("not like the source")
			}
		}
	})
	if kills == 0 {
		t.Error("no kill came before the end: this tested nothing")
	}
	t.Logf("%d kills", kills)
}
