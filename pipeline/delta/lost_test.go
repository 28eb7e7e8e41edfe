package delta_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
	"github.com/statelift/statelift/pipeline/snapshot"
)

func (l *lift) lost() string {
	l.t.Helper()
	lost, err := delta.Lost(l.t.Context(), l.layout, l.rounds)
	l.ok(err)
	return lost
}

func TestRoundsBeginAgainWhenABlobIsLost(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	sh.Run(t, source, `echo one > one; echo two > two`)
	l := begin(t, source, seed.Limits{})
	if lost := l.lost(); lost != "" {
		t.Errorf("without a delta %q is lost", lost)
	}
	sh.Run(t, source, `echo three > three`)
	l.round()
	l.apply(target)
	if lost := l.lost(); lost != "" {
		t.Errorf("%q is lost, and nothing was", lost)
	}
	for _, b := range l.deltas[0].Blobs() {
		hex, err := b.Digest.Hex()
		l.ok(err)
		name := filepath.Join(l.place, "blobs", "sha256", hex)
		if err := os.Rename(name, name+".away"); err != nil {
			continue // it was listed twice
		}
		if lost := l.lost(); !strings.Contains(lost, hex) {
			t.Errorf("without blob %s: %q", hex, lost)
		}
		l.ok(os.Rename(name+".away", name))
	}
	// What the stage seed does then.
	kept, err := delta.Record(t.Context(), l.rounds, l.root, hostpath.Root)
	l.ok(err)
	defer kept.Close()
	l.ok(kept.Forget())
	built := seedtest.Build(t, source, t.TempDir(), seed.Options{Taken: kept.Taken})
	l.ok(kept.Commit(built))
	base, err := delta.ReadBase(l.rounds)
	l.ok(err)
	if len(base.Deltas) != 0 || base.Tree != built.Config.Tree {
		t.Errorf("the base after it = %+v", base)
	}
}

// TestChecksumFindsWhatNoTimeTells has a change that the recorded state knows the
// times of: users cannot make one, a damaged disk can.
func TestChecksumFindsWhatNoTimeTells(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	sh.Run(t, source, `echo before > hidden; echo other > other; touch -d @1000 hidden`)
	l := begin(t, source, seed.Limits{})
	l.apply(target)
	sh.Run(t, source, `echo behind > hidden; touch -d @1000 hidden`)
	l.hide("/hidden", sh.Run(t, source, `stat -c %.9Z hidden | tr -d .`))
	if r := l.round(); r.Delta != "" || r.ReadBytes != 0 {
		t.Fatalf("the change is not hidden: %+v", r)
	}
	o := l.options()
	o.Checksum = true
	made, err := delta.Make(t.Context(), o)
	l.ok(err)
	if made.Delta.Digest == "" || made.Round.Altered != 1 || made.Round.ReadBytes < int64(len("before\nother\n")) {
		t.Fatalf("with checksums: %+v", made.Round)
	}
	l.ok(made.Confirm())
	d, err := delta.Open(t.Context(), l.layout, made.Delta)
	l.ok(err)
	l.deltas = append(l.deltas, d)
	l.receipt = handoff.Receipt{}
	l.apply(target)
	equal(t, source, target)
}

// hide gives a path of the recorded state another ctime.
func (l *lift) hide(path, ctime string) {
	l.t.Helper()
	base, err := delta.ReadBase(l.rounds)
	l.ok(err)
	name := filepath.Join(l.rounds, base.State)
	old, err := snapshot.OpenFile(name)
	l.ok(err)
	defer old.Close()
	f, err := os.Create(name + ".new")
	l.ok(err)
	defer f.Close()
	now := snapshot.NewWriter(f)
	for {
		i, err := old.Take()
		l.ok(err)
		if i == nil {
			break
		}
		if string(i.Path()) == path {
			i.Ctime, err = strconv.ParseInt(strings.TrimSpace(ctime), 10, 64)
			l.ok(err)
		}
		l.ok(now.Add(i))
	}
	_, err = now.Close()
	l.ok(err)
	l.ok(os.Rename(name+".new", name))
}
