package delta_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
)

// lift is a volume at its source, and what is needed to bring it elsewhere.
type lift struct {
	t       testing.TB
	source  string // the volume's root
	rounds  string
	layout  *oci.Layout
	place   string // of the layout
	root    *rootfs.Root
	seed    *seed.Seed
	deltas  []*delta.Delta
	receipt handoff.Receipt // the last one of the copy
}

// begin makes the seed of a directory and records it.
func begin(t testing.TB, source string, limits seed.Limits) *lift {
	t.Helper()
	l := &lift{t: t, source: source, rounds: filepath.Join(t.TempDir(), "rounds"), place: t.TempDir()}
	var err error
	l.root, err = rootfs.Open(source)
	l.ok(err)
	t.Cleanup(func() { l.root.Close() })
	kept, err := delta.Record(t.Context(), l.rounds, l.root, hostpath.Root)
	l.ok(err)
	defer kept.Close()
	built := seedtest.Build(t, source, l.place, seed.Options{Limits: limits, Taken: kept.Taken})
	l.ok(kept.Commit(built))
	l.layout, err = oci.Open(l.place)
	l.ok(err)
	l.seed = seedtest.Open(t, l.place)
	return l
}

func (l *lift) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lift) options() delta.MakeOptions {
	return delta.MakeOptions{
		Volume: l.seed.Config.Volume, Root: hostpath.Root, Source: l.root, Dir: l.rounds, Layout: l.layout, Workers: 2,
	}
}

// round makes a delta, confirms it and opens it.
func (l *lift) round() handoff.VolumeRound {
	l.t.Helper()
	made, err := delta.Make(l.t.Context(), l.options())
	l.ok(err)
	l.ok(made.Confirm())
	if made.Delta.Digest != "" {
		d, err := delta.Open(l.t.Context(), l.layout, made.Delta)
		l.ok(err)
		l.deltas = append(l.deltas, d)
	}
	return made.Round
}

func (l *lift) applyOptions(target string, proof delta.Proof) delta.ApplyOptions {
	return delta.ApplyOptions{
		Dir: target, Listing: filepath.Join(l.t.TempDir(), "listing"), Seed: l.seed, Deltas: l.deltas, Proof: proof,
		Copy: copier.Options{Workers: 2},
	}
}

// apply brings the target up to date, with the proof of the last time.
func (l *lift) apply(target string) handoff.Receipt {
	l.t.Helper()
	o := l.applyOptions(target, delta.ProofOf(l.receipt))
	r, err := delta.Apply(l.t.Context(), o)
	l.ok(err)
	if !r.Proved {
		l.t.Fatalf("not proved: %d differences: %+v", r.DifferenceCount, r.Differences[:min(len(r.Differences), 10)])
	}
	// The listing is what the receipt says, and nothing else is left beside it.
	want := r.ListingSHA + "  listing\nlisting\n"
	if got := sh.Run(l.t, filepath.Dir(o.Listing), "sha256sum listing; ls -A"); got != want {
		l.t.Errorf("beside the listing: %s, want %s", got, want)
	}
	l.receipt = r
	return r
}

// equal compares two trees with public tools: rsync for content, metadata,
// attributes and links; find for times in nanoseconds, getfacl, getcap, getfattr.
func equal(t testing.TB, want, got string) {
	t.Helper()
	if out := sh.Run(t, "/", `rsync -n -aHAXS --numeric-ids --delete --checksum --itemize-changes "$1/" "$2/"`, want, got); out != "" {
		t.Errorf("rsync finds differences:\n%s", out)
	}
	for _, script := range []string{
		`find . -printf '%y %m %U %G %T@ %n %l %P\0' | sort -z`,
		`find . ! -type l -print0 | sort -z | xargs -0 getfacl -pn 2>&1`,
		`getcap -r . 2>&1 | sort`,
		`find . -print0 | sort -z | xargs -0 getfattr -hd -m - -e hex 2>&1`,
		`find . -type f -print0 | sort -z | xargs -0 sha256sum`,
	} {
		a, b := sh.Run(t, want, script), sh.Run(t, got, script)
		if a != b {
			t.Errorf("%s: %s", script, cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")))
		}
	}
}

func TestEveryKindOfChangeArrives(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	if err := trees.Every(source); err != nil {
		t.Fatal(err)
	}
	sh.Run(t, source, `
		mkdir -p log a/deep b gone/deep swap
		head -c 9000000 /dev/urandom > log/big; head -c 3000000 /dev/zero > log/zero; head -c 12000000 /dev/urandom > log/db
		echo one > a/deep/one; echo two > b/two; echo x > gone/deep/x; echo s1 > swap/1; echo s2 > swap/2; echo s3 > swap/3
		echo linked > a/l1; ln a/l1 b/l2; ln a/l1 b/l3; ln -s one a/sym; mkfifo b/fifo; echo keep > keep; echo meta > meta`)
	l := begin(t, source, seed.Limits{})
	if r := l.round(); r.Delta != "" || r.To != r.From || r.Looked == 0 {
		t.Errorf("a round without a change = %+v", r)
	}
	l.apply(target)
	equal(t, source, target)
	for _, script := range []string{
		`echo more >> log/big; printf XYZ | dd of=log/db bs=1 seek=5000000 conv=notrunc status=none; rm -r gone; echo new > new`,
		`mv swap/1 swap/t; mv swap/2 swap/1; mv swap/3 swap/2; mv swap/t swap/3; mv a c; mv log/big big`,
		`chmod 600 meta; chown 5:6 keep; setfattr -n user.x -v y meta; setfacl -m u:7:rx b; setfacl -d -m u:8:rwx b; touch -d @5.5 keep`,
		`rm b/two; mkdir b/two; echo in > b/two/in; rm -r swap; echo file > swap; rm c/sym; ln -s elsewhere c/sym; mknod b/dev c 1 3`,
		`rm c/l1; ln keep kept; echo linked > b/l2.new; mv b/l2.new b/l2; echo y > b/z; ln b/z b/y`,
		`truncate -s 5000000 log/db; truncate -s 20000000 log/zero; fallocate -p -o 1048576 -l 1048576 big; mv b d; mv c b; mv d c`,
		`find . -name '*' -type f -print0 | head -z -n 20 | xargs -0 touch; chmod -R u+w c`,
		`cp -a big big2; mv big big3; cp -a log/db log/db2; rm log/db; mkdir -p p/q/r; mv c p/q/r/; ln big3 p/big3`,
	} {
		sh.Run(t, source, script)
		r := l.round()
		if r.Delta == "" {
			t.Errorf("%s: no delta", script)
		}
		if len(r.Restless) > 0 {
			t.Errorf("%s: restless %v", script, r.Restless)
		}
		receipt := l.apply(target)
		equal(t, source, target)
		if t.Failed() {
			t.Fatalf("%s: %+v\n%+v", script, r, receipt)
		}
	}
	// A volume that missed all rounds, and one that lost the proof.
	fresh := t.TempDir()
	l.receipt = handoff.Receipt{}
	l.apply(fresh)
	equal(t, source, fresh)
	l.receipt = handoff.Receipt{}
	if r := l.apply(target); r.Carried != 0 {
		t.Errorf("%d files were carried over without a proof", r.Carried)
	}
}
