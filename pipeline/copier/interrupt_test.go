package copier_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
)

// childEnv holds layout, target, listing and shard ("" for the whole) for a copy
// in a process of its own, which the test kills.
const childEnv = "STATELIFT_TEST_COPY"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(strings.Split(job, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Fewer than rapid's hundred, since each is several runs of the program;
	// -rapid.checks on the command line still counts, -short takes a fifth.
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func child(job []string) error {
	l, err := oci.Open(job[0])
	if err != nil {
		return err
	}
	d, err := seed.Find(l, "data")
	if err != nil {
		return err
	}
	s, err := seed.Open(context.Background(), l, d)
	if err != nil {
		return err
	}
	if job[3] != "" {
		shard, err := copier.ParseShard(job[3])
		if err != nil {
			return err
		}
		_, err = copier.CopyShard(context.Background(), s, job[1], shard, copier.Options{Workers: 2})
		return err
	}
	_, err = copier.Copy(context.Background(), s, job[1], job[2], copier.Options{Workers: 2})
	return err
}

// kill runs a copy in a process and kills it after a while. It reports whether
// the copy ended before.
func kill(t *rapid.T, layout, target, listing string, after time.Duration) bool {
	return killShard(t, layout, target, listing, "", after)
}

func killShard(t *rapid.T, layout, target, listing, shard string, after time.Duration) bool {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{layout, target, listing, shard}, "\n"))
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		t.Fatalf("the copy failed: %s", said.String())
	}
	return err == nil
}

// However often a copy is cancelled or killed, the last run ends with the same
// tree and the same receipt as a copy that was never stopped.
func TestInterruptedCopiesEndTheSame(t *testing.T) {
	dir, layout := every(t)
	want := unmarked(mustCopy(t, layout, t.TempDir()))
	start := time.Now()
	mustCopy(t, layout, t.TempDir())
	whole := time.Since(start)
	kills, cancels := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		target, err := os.MkdirTemp(t.TempDir(), "copy")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(target)
		listing := filepath.Join(t.TempDir(), "data.listing")
		for range rapid.IntRange(1, 3).Draw(rt, "interrupts") {
			if rapid.Bool().Draw(rt, "kill") {
				after := time.Duration(rapid.Float64Range(0.02, 1.2).Draw(rt, "after") * float64(whole))
				if !kill(rt, layout, target, listing, after) {
					kills++
				}
				continue
			}
			if cancelled(rt, layout, target, listing, rapid.Int64Range(0, 3<<20).Draw(rt, "bytes")) {
				cancels++
			}
		}
		r, err := copier.Copy(t.Context(), seedtest.Open(rt, layout), target, listing, copier.Options{Workers: 2})
		if err != nil {
			rt.Fatal(err)
		}
		if got := unmarked(r); got != want {
			rt.Fatalf("receipt %s\nwant    %s", got, want)
		}
		out, err := exec.Command("rsync", "-aHAXni", "--numeric-ids", "--delete", dir+"/", target+"/").CombinedOutput()
		if err != nil || len(out) > 0 {
			rt.Fatalf("rsync finds differences: %v\n%s", err, out)
		}
	})
	if !testing.Short() && (kills == 0 || cancels == 0) {
		t.Errorf("%d kills and %d cancels came before the end: this tested nothing", kills, cancels)
	}
	t.Logf("%d kills, %d cancels", kills, cancels)
}

// cancelled runs a copy and cancels it after so many bytes.
func cancelled(t *rapid.T, layout, target, listing string, after int64) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var n atomic.Int64
	_, err := copier.Copy(ctx, seedtest.Open(t, layout), target, listing, copier.Options{Workers: 2, Progress: func(k int64) {
		if n.Add(k) > after {
			cancel()
		}
	}})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return err != nil
}

// interrupted is a target in which a copy stopped after half of the bytes.
func interrupted(t *testing.T, layout string) string {
	t.Helper()
	target := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := seedtest.Open(t, layout)
	var n atomic.Int64
	_, err := copier.Copy(ctx, s, target, filepath.Join(t.TempDir(), "l"), copier.Options{Workers: 1, Progress: func(k int64) {
		if n.Add(k) > s.Config.Bytes/2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v", err)
	}
	if _, err := os.Stat(filepath.Join(target, copier.Marker)); err != nil {
		t.Fatal(err)
	}
	return target
}

// What was finished is not written again: it keeps its inode and the time of its
// last change. Parts of a large file that were written are not either.
func TestAResumedCopyKeepsWhatIsFinished(t *testing.T) {
	dir, layout := every(t)
	target := interrupted(t, layout)
	finished := map[string]unix.Stat_t{}
	for u, err := range seedtest.Open(t, layout).Units(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range u.Records {
			var st unix.Stat_t
			name := filepath.Join(target, string(r.Path))
			if u.Small(i) && unix.Lstat(name, &st) == nil && st.Mtim.Nano() == r.Mtime && st.Nlink == 1 && r.Nlink == 0 {
				finished[name] = st
			}
		}
	}
	if len(finished) < 5 {
		t.Fatalf("only %d files were finished", len(finished))
	}
	mustCopy(t, layout, target)
	equal(t, dir, target)
	kept := 0
	for name, before := range finished {
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			t.Fatal(err)
		}
		if st.Ino == before.Ino && (st.Ctim == before.Ctim || st.Nlink > 1) {
			kept++
		}
	}
	if kept != len(finished) {
		t.Errorf("%d of %d finished files were written again", len(finished)-kept, len(finished))
	}
}

// What only looks finished, as after a power cut, is found by reading it back,
// and made good.
func TestAResumedCopyTrustsNothing(t *testing.T) {
	dir, layout := every(t)
	target := interrupted(t, layout)
	sh.Run(t, target, `
		touch -r files/text ../ref; printf 'A' | dd of=files/text bs=1 conv=notrunc status=none; touch -r ../ref files/text
		: >files/one; touch -r ../ref files/one; rm ../ref`)
	mustCopy(t, layout, target)
	equal(t, dir, target)
}

// Killed between the removal of the marker and the last touch of the root.
func TestOnlyTheRootsTimeIsLeft(t *testing.T) {
	dir, layout := every(t)
	target := t.TempDir()
	mustCopy(t, layout, target)
	sh.Run(t, target, "touch .")
	mustCopy(t, layout, target)
	equal(t, dir, target)
}
