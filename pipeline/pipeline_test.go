package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/workspace"
)

type number struct {
	N int `json:"n"`
}

var (
	one   = pipeline.NewKey[number]("one", 1)
	two   = pipeline.NewKey[number]("two", 1)
	three = pipeline.NewKey[number]("three", 1)
)

// bench runs three stages: one is an option, two doubles it, three adds both.
type bench struct {
	ws      workspace.Workspace
	version string
	n       int // option of stage one
	fail    error
	stale   string // what the recheck of stage three says
	granted pipeline.Effect
	ran     []string
}

func newBench(t *testing.T) *bench {
	ws, err := workspace.Open(filepath.Join(t.TempDir(), "ws"))
	if err != nil {
		t.Fatal(err)
	}
	return &bench{ws: ws, version: "v1", n: 1, granted: pipeline.Local | pipeline.Bucket}
}

func (b *bench) runner() *pipeline.Runner {
	first := pipeline.Step0(pipeline.Info{Name: "first", Effects: pipeline.Local}, b.n, one, func(context.Context, *pipeline.Env) (number, error) {
		b.ran = append(b.ran, "first")
		return number{b.n}, nil
	})
	second := pipeline.Step1(pipeline.Info{Name: "second", Effects: pipeline.Local}, nil, one, two, func(_ context.Context, _ *pipeline.Env, a number) (number, error) {
		b.ran = append(b.ran, "second")
		if b.fail != nil {
			return number{}, b.fail
		}
		return number{2 * a.N}, nil
	})
	third := pipeline.Step2(pipeline.Info{Name: "third", Effects: pipeline.Local | pipeline.Bucket}, nil, one, two, three, func(_ context.Context, _ *pipeline.Env, a, b2 number) (number, error) {
		b.ran = append(b.ran, "third")
		return number{a.N + b2.N}, nil
	})
	third = pipeline.Recheck(third, three, func(context.Context, *pipeline.Env, number) (string, error) { return b.stale, nil })
	return &pipeline.Runner{
		Stages: []pipeline.Stage{first, second, third}, Granted: b.granted, Version: b.version,
		Env:     pipeline.Env{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Workspace: b.ws},
		Ledgers: func(string) pipeline.Ledger { return nil },
	}
}

func (b *bench) run(t *testing.T) []string {
	t.Helper()
	b.ran = nil
	if err := b.runner().Run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	return b.ran
}

func TestExactlyTheStagesThatDependOnAChangeRunAgain(t *testing.T) {
	all := []string{"first", "second", "third"}
	for _, tt := range []struct {
		name   string
		change func(*bench)
		want   []string
	}{
		{"nothing", func(*bench) {}, nil},
		{"an option", func(b *bench) { b.n = 5 }, all},
		{"the program", func(b *bench) { b.version = "v2" }, all},
		{"the outside", func(b *bench) { b.stale = "the bucket is empty" }, []string{"third"}},
		{"a removed hand-off", func(b *bench) { os.Remove(b.ws.Path("run", "two.json")) }, []string{"second"}},
		{"a damaged hand-off", func(b *bench) { os.WriteFile(b.ws.Path("run", "three.json"), []byte(`{"data":`), 0o600) }, []string{"third"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			if diff := cmp.Diff(all, b.run(t)); diff != "" {
				t.Fatalf("first run: %s", diff)
			}
			tt.change(b)
			if diff := cmp.Diff(tt.want, b.run(t)); diff != "" {
				t.Errorf("ran after the change (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPartThatDidNotChangeLeavesTheStageFresh(t *testing.T) {
	b := newBench(t)
	parity := func(r *pipeline.Runner) *pipeline.Runner {
		r.Stages[1] = pipeline.Part(r.Stages[1], one, func(v number) any { return v.N % 2 })
		r.Stages = r.Stages[:2]
		return r
	}
	for _, tt := range []struct {
		n    int
		want []string
	}{{1, []string{"first", "second"}}, {3, []string{"first"}}, {4, []string{"first", "second"}}} {
		b.n, b.ran = tt.n, nil
		if err := parity(b.runner()).Run(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, b.ran); diff != "" {
			t.Errorf("with %d (-want +got):\n%s", tt.n, diff)
		}
	}
}

func TestResultReachesTheNextStage(t *testing.T) {
	b := newBench(t)
	b.n = 7
	b.run(t)
	got, err := pipeline.Read(b.ws, three)
	if err != nil || got.N != 21 {
		t.Errorf("third stage wrote %v, %v; want 21", got, err)
	}
}

func TestIncompleteGoesOnButIsNoSuccess(t *testing.T) {
	b := newBench(t)
	b.fail = &pipeline.Incomplete{Because: []string{"/etc/x changed"}}
	err := b.runner().Run(t.Context(), "")
	var inc *pipeline.Incomplete
	if !errors.As(err, &inc) || !strings.Contains(err.Error(), "/etc/x changed") {
		t.Fatalf("error %v, want incomplete with the reason", err)
	}
	if diff := cmp.Diff([]string{"first", "second", "third"}, b.ran); diff != "" {
		t.Errorf("stages after the incomplete one: %s", diff)
	}
	b.fail = nil
	if got := b.run(t); len(got) == 0 || got[0] != "second" {
		t.Errorf("after an incomplete run %v ran, want second again", got)
	}
}

func TestFailureStopsAndIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.fail = errors.New("disk on fire")
	if err := b.runner().Run(t.Context(), ""); err == nil || err.Error() != "second: disk on fire" {
		t.Fatalf("error %v", err)
	}
	standings, err := b.runner().Standings()
	if err != nil {
		t.Fatal(err)
	}
	var states []pipeline.State
	for _, s := range standings {
		states = append(states, s.State)
	}
	if diff := cmp.Diff([]pipeline.State{pipeline.Fresh, pipeline.Pending, pipeline.Pending}, states); diff != "" {
		t.Error(diff)
	}
	b.fail = nil
	if diff := cmp.Diff([]string{"second", "third"}, b.run(t)); diff != "" {
		t.Error(diff)
	}
}

func TestEffectThatWasNotGrantedIsRefusedBeforeAnyWork(t *testing.T) {
	b := newBench(t)
	b.granted = pipeline.Local
	err := b.runner().Run(t.Context(), "")
	if err == nil || !strings.Contains(err.Error(), "bucket") || len(b.ran) > 0 {
		t.Errorf("error %v after %v ran", err, b.ran)
	}
	if err := b.runner().Run(t.Context(), "second"); err != nil {
		t.Errorf("until the stage before: %v", err)
	}
}

func TestUntilUnknownStage(t *testing.T) {
	b := newBench(t)
	if err := b.runner().Run(t.Context(), "nonsense"); err == nil || len(b.ran) > 0 {
		t.Errorf("error %v after %v ran", err, b.ran)
	}
}

func TestCancelledRunStops(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.runner().Run(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestValidateFindsWiringFaults(t *testing.T) {
	r := newBench(t).runner()
	if err := pipeline.Validate(r.Stages); err != nil {
		t.Error(err)
	}
	if err := pipeline.Validate(r.Stages[1:]); err == nil {
		t.Error("a stage that reads what nobody wrote was accepted")
	}
	if err := pipeline.Validate(append(r.Stages, r.Stages[0])); err == nil {
		t.Error("two stages that write the same were accepted")
	}
}

func TestLedgerSurvivesAKill(t *testing.T) {
	if name := os.Getenv("LEDGER_TO_WRITE"); name != "" {
		l, err := pipeline.OpenLedgers(t.Context(), name)
		for i := 0; err == nil; i++ {
			err = l.Of("seed").Commit(t.Context(), fmt.Sprint("item ", i), "mark")
			fmt.Printf("confirmed %d\n", i)
		}
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "ledger.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLedgerSurvivesAKill$")
	cmd.Env = append(os.Environ(), "LEDGER_TO_WRITE="+name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	for last < 100 {
		if _, err := fmt.Fscanf(out, "confirmed %d\n", &last); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	l, err := pipeline.OpenLedgers(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range last + 1 {
		if _, ok, err := l.Of("seed").Lookup(t.Context(), fmt.Sprint("item ", i)); err != nil || !ok {
			t.Fatalf("item %d of %d was confirmed and is gone (%v)", i, last, err)
		}
	}
	if _, ok, err := l.Of("images").Lookup(t.Context(), "item 1"); ok || err != nil {
		t.Errorf("another stage sees the mark (%v)", err)
	}
}

func TestEngineKnowsNoFarSide(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".", "./handoff", "./catalog").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, heavy := range []string{"k8s.io/", "github.com/google/go-containerregistry", "github.com/minio/", "github.com/hashicorp/"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("the engine imports %s", dep)
			}
		}
	}
}
