package copier_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
)

// mustShard does the share of one shard, and returns how many bytes it wrote.
func mustShard(t *testing.T, layout, target string, i, n int) int64 {
	t.Helper()
	var bytes atomic.Int64
	did, err := copier.CopyShard(t.Context(), seedtest.Open(t, layout), target, copier.Shard{Index: i, Of: n}, copier.Options{Workers: 2, Progress: func(k int64) { bytes.Add(k) }})
	if err != nil || !did {
		t.Fatalf("shard %d of %d: %v, %v", i, n, did, err)
	}
	return bytes.Load()
}

// However shards run, one after the other or side by side, killed or not, with
// other numbers of them in between, and however the copy that finishes is
// killed: the end is that of one copy.
func TestShardsEndAsOneCopy(t *testing.T) {
	dir, layout := every(t)
	want := unmarked(mustCopy(t, layout, t.TempDir()))
	start := time.Now()
	mustCopy(t, layout, t.TempDir())
	whole := time.Since(start)
	var kills atomic.Int32
	rapid.Check(t, func(rt *rapid.T) {
		target, err := os.MkdirTemp(t.TempDir(), "copy")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(target)
		listing := filepath.Join(t.TempDir(), "data.listing")
		after := func(label string) time.Duration {
			if rapid.IntRange(0, 2).Draw(rt, "patience") == 0 {
				return time.Hour
			}
			return time.Duration(rapid.Float64Range(0.02, 1.2).Draw(rt, label) * float64(whole))
		}
		for range rapid.IntRange(1, 2).Draw(rt, "rounds") {
			n := rapid.IntRange(1, 4).Draw(rt, "shards")
			var wait sync.WaitGroup
			for _, i := range rapid.Permutation(indices(n)).Draw(rt, "order") {
				delay := after("shard")
				run := func() {
					if !killShard(rt, layout, target, listing, fmt.Sprintf("%d/%d", i, n), delay) {
						kills.Add(1)
					}
				}
				if rapid.Bool().Draw(rt, "side by side") {
					wait.Go(run)
				} else {
					wait.Wait()
					run()
				}
			}
			wait.Wait()
			if rapid.IntRange(0, 3).Draw(rt, "finish killed") == 0 && !kill(rt, layout, target, listing, after("finish")) {
				kills.Add(1)
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
	if !testing.Short() && kills.Load() == 0 {
		t.Error("no kill came before the end: this tested nothing")
	}
	t.Logf("%d kills", kills.Load())
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Shards together write everything once, each about as much as the others, and
// the copy that finishes writes no content again.
func TestShardsShareTheWork(t *testing.T) {
	dir, layout := every(t)
	for _, n := range []int{1, 2, 3, 5} {
		target := t.TempDir()
		var bytes []int64
		total := int64(0)
		for i := range n {
			k := mustShard(t, layout, target, i, n)
			bytes = append(bytes, k)
			total += k
		}
		s := seedtest.Open(t, layout)
		if total < s.Config.Data || total > s.Config.Bytes {
			t.Errorf("%d shards wrote %d bytes, the seed has %d, of them in blobs %d", n, total, s.Config.Bytes, s.Config.Data)
		}
		if least, most := slices.Min(bytes), slices.Max(bytes); n > 1 && most-least > total/int64(n) {
			t.Errorf("%d shards wrote %v", n, bytes)
		}
		content := sh.Run(t, target, `find . -type f -size +0 -printf '%i %P\n' | grep -av statelift-copy | sort`)
		mustCopy(t, layout, target)
		after := sh.Run(t, target, `find . -type f -size +0 -printf '%i %P\n' | sort`)
		for line := range strings.Lines(content) {
			if !strings.Contains("\n"+after, "\n"+line) {
				t.Errorf("%d shards: made again by the last: %s", n, line)
			}
		}
		equal(t, dir, target)
		if left := sh.Run(t, target, "ls -A | grep statelift || true"); left != "" {
			t.Errorf("left behind: %s", left)
		}
	}
}

// What shards wrote is not fetched again, by them or by the copy that finishes.
func TestShardsFetchOnce(t *testing.T) {
	dir, layout := every(t)
	target := t.TempDir()
	for i := range 3 {
		mustShard(t, layout, target, i, 3)
	}
	for _, d := range seedtest.Open(t, layout).Blobs() {
		if d.MediaType == seed.MediaPack || d.MediaType == seed.MediaPart || d.MediaType == seed.MediaZPart {
			if err := os.Remove(filepath.Join(layout, "blobs/sha256", string(d.Digest[7:]))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 3 {
		mustShard(t, layout, target, i, 3)
	}
	mustCopy(t, layout, target)
	equal(t, dir, target)
}

// Shards that begin in an empty directory at the same moment do not stand in each
// other's way, and none takes what another one makes for something foreign.
func TestShardsBeginTogether(t *testing.T) {
	source, layout := t.TempDir(), t.TempDir()
	sh.Run(t, source, `mkdir -p a/b c; for i in $(seq 20); do echo $i > a/b/$i; head -c 300000 /dev/zero | tr '\0' x > c/$i; done`)
	seedtest.Build(t, source, layout, seed.Options{Limits: seedtest.Small()})
	s := seedtest.Open(t, layout)
	for round := range 10 {
		target := t.TempDir()
		var shards sync.WaitGroup
		begin := make(chan struct{})
		for i := range 8 {
			shards.Go(func() {
				<-begin
				did, err := copier.CopyShard(t.Context(), s, target, copier.Shard{Index: i, Of: 8}, copier.Options{Workers: 1})
				if !did || err != nil {
					t.Errorf("round %d, shard %d: %v, %v", round, i, did, err)
				}
			})
		}
		close(begin)
		shards.Wait()
		mustCopy(t, layout, target)
	}
}

// A shard leaves a directory alone that was full before, whatever it is full of.
func TestAShardOfAFullDirectory(t *testing.T) {
	_, layout := every(t)
	target := t.TempDir()
	mustCopy(t, layout, target)
	before := sh.Run(t, target, "find . -printf '%p %i %T@ %C@\\n' | sort")
	did, err := copier.CopyShard(t.Context(), seedtest.Open(t, layout), target, copier.Shard{Index: 1, Of: 2}, copier.Options{})
	if did || err != nil {
		t.Errorf("did = %v, %v", did, err)
	}
	if after := sh.Run(t, target, "find . -printf '%p %i %T@ %C@\\n' | sort"); after != before {
		t.Error("it touched something")
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, copier.Marker), []byte("sha256:"+strings.Repeat("0", 64)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := copier.CopyShard(t.Context(), seedtest.Open(t, layout), other, copier.Shard{Index: 0, Of: 2}, copier.Options{}); !errors.Is(err, copier.ErrOccupied) {
		t.Errorf("a copy of another seed: %v", err)
	}
}

func TestParseShard(t *testing.T) {
	for text, want := range map[string]copier.Shard{"0/1": {Index: 0, Of: 1}, "3/4": {Index: 3, Of: 4}} {
		if got, err := copier.ParseShard(text); got != want || err != nil || got.String() != text {
			t.Errorf("%q = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "1/", "/1", "1/1", "-1/2", "4/3", "0/0", "0/100000", "a/b", "0/1/2"} {
		if got, err := copier.ParseShard(text); err == nil {
			t.Errorf("%q = %v", text, got)
		}
	}
}
