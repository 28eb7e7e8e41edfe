package delta_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/seed"
)

// What travels of a large file: the blocks that changed, and one in a hundred of
// their size for everything else.
func TestOnlyChangedBlocksTravel(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	const size = 40<<20 + 12345
	if err := os.WriteFile(filepath.Join(source, "db"), trees.Noise(size, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	l := begin(t, source, seed.Limits{})
	l.apply(target)
	for _, c := range []struct {
		name, script string
		blocks       int64
	}{
		{"append", `head -c 1000 /dev/urandom >> db`, 1},
		{"1 % in place", `for i in 3 30; do dd if=/dev/urandom of=db bs=1M seek=$i count=1 conv=notrunc status=none; done`, 2},
		{"a byte over an edge", `printf xy | dd of=db bs=1 seek=$((20*1048576-1)) conv=notrunc status=none`, 2},
		{"metadata", `chmod 640 db; touch db; setfattr -n user.a -v b db`, 0},
		{"renamed", `mv db other`, 0},
		{"a second name", `ln other again`, 0},
		{"a new inode with nearly the same content", `cp other new; mv new other; printf x | dd of=other bs=1 seek=7 conv=notrunc status=none`, 1},
		{"truncated", `truncate -s 25M other`, 0},
		{"extended by a hole", `truncate -s 70M other`, 0},
	} {
		sh.Run(t, source, c.script)
		r := l.round()
		allowed := c.blocks<<20 + c.blocks<<20/100
		if c.blocks == 0 {
			allowed = 1 << 20 / 100 // no block: manifests and lines only
		}
		if r.MovedBytes > allowed || r.Delta == "" {
			t.Errorf("%s: moved %d bytes, at most %d allowed: %+v", c.name, r.MovedBytes, allowed, r)
		}
		l.apply(target)
	}
	equal(t, source, target)
}

// A round without a change writes nothing, neither at the source nor here.
func TestNoChangeWritesNothing(t *testing.T) {
	source := trees.New(t)
	l := begin(t, source, seed.Limits{})
	state := func() string {
		return sh.Run(t, "/", `find "$1" "$2" "$3" -printf '%p %s %T@ %C@ %A@\n' | sort`, source, l.rounds, l.place)
	}
	before := state()
	if r := l.round(); r.Delta != "" || r.ReadBytes != 0 || r.MovedBytes != 0 || r.From != r.To {
		t.Errorf("round = %+v", r)
	}
	// Directories are read, which may set their time of access.
	strip := func(s string) string {
		var out []string
		for line := range strings.Lines(s) {
			out = append(out, line[:max(strings.LastIndexByte(line, ' '), 0)])
		}
		return strings.Join(out, "\n")
	}
	if after := state(); strip(after) != strip(before) {
		t.Errorf("it wrote:\n%s\n%s", before, after)
	}
}

// A file that is written all the time is named, and the next round at rest brings
// it.
func TestAFileThatNeverHoldsStillIsNamed(t *testing.T) {
	source := t.TempDir()
	sh.Run(t, source, `echo calm > calm; head -c 9000000 /dev/urandom > large; echo first > busy`)
	l := begin(t, source, seed.Limits{})
	sh.Run(t, source, `echo more >> calm; head -c 100000 /dev/urandom > busy`)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			for _, name := range []string{"busy", "large"} {
				f, err := os.OpenFile(filepath.Join(source, name), os.O_WRONLY, 0)
				if err != nil {
					return
				}
				_, _ = f.WriteAt(bytes.Repeat([]byte{byte(n)}, 10), 5)
				f.Close()
			}
		}
	}()
	deadline := time.Now().Add(time.Minute)
	found := false
	for !found && time.Now().Before(deadline) {
		made, err := delta.Make(t.Context(), l.options())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range made.Round.Restless {
			found = found || (r.Path == "/large" || r.Path == "/busy") && r.Advice != ""
		}
	}
	stop()
	<-done
	if !found {
		t.Fatal("a file that changes all the time was not named")
	}
	if r := l.round(); len(r.Restless) != 0 {
		t.Errorf("restless at rest: %v", r.Restless)
	}
	target := t.TempDir()
	l.apply(target)
	equal(t, source, target)
}

// New paths follow the rule of their directory; what is out of the volume never
// arrives.
func TestScope(t *testing.T) {
	var s delta.Scope
	s.Set("/cache", delta.Out)
	s.Set("/way", delta.Only)
	s.Set("/way/in", delta.In)
	s.Set("/inner", delta.Only)
	for p, want := range map[string]bool{
		"/": true, "/new": true, "/cache": false, "/cache/new/deep": false, "/way": true, "/way/new": false,
		"/way/in": true, "/way/in/new": true, "/inner": true, "/inner/x": false, "/cached": true,
	} {
		if got := s.Has(hostPath(p)); got != want {
			t.Errorf("%s: %v", p, got)
		}
	}
}
