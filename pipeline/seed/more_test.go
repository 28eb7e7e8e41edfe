package seed_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
)

// A seed of many blobs has several manifests under an index, each of a size that
// registries take; skopeo copies all of them.
func TestManyBlobs(t *testing.T) {
	dir, layout, copied := t.TempDir(), t.TempDir(), t.TempDir()
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), trees.Noise(20, uint64(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := seedtest.Build(t, dir, layout, seed.Options{Limits: seed.Limits{LargeFrom: 1, PageBlobs: 30}})
	if b.Manifest.MediaType != oci.MediaIndex || b.Blobs < 100 {
		t.Fatalf("manifest = %+v, %d blobs", b.Manifest, b.Blobs)
	}
	if err := seed.Verify(t.Context(), openLayout(t, layout), b.Manifest, 2); err != nil {
		t.Error(err)
	}
	s := seedtest.Open(t, layout)
	manifests := 0
	for _, d := range s.Blobs() {
		if d.MediaType == oci.MediaManifest {
			manifests++
		}
	}
	if manifests != 4 {
		t.Errorf("%d manifests", manifests)
	}
	sh.Run(t, "/", `skopeo copy -q --all --preserve-digests "oci:$1:data" "oci:$2:data"`, layout, copied)
	if err := seed.Verify(t.Context(), openLayout(t, copied), b.Manifest, 2); err != nil {
		t.Errorf("what skopeo copied: %v", err)
	}
}

// A file that changes while it is read is named, and in no seed.
func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	dir, layout := t.TempDir(), t.TempDir()
	name := filepath.Join(dir, "growing")
	if err := os.WriteFile(name, trees.Noise(4<<20, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var read atomic.Int64
	b, err := seedtest.TryBuild(t.Context(), dir, layout, seedtest.Scan(t, dir), seed.Options{
		Limits: seedtest.Small(),
		Progress: func(n int64) {
			if read.Add(n) == n {
				sh.Run(t, dir, "printf x | dd of=growing bs=1 seek=3000000 conv=notrunc status=none")
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Problems) != 1 || b.Problems[0].Path != "/growing" || !errors.Is(b.Problems[0].Err, seed.ErrChanged) || b.ProblemCount != 1 {
		t.Errorf("problems = %+v", b.Problems)
	}
	if b.Config.Files != 0 {
		t.Errorf("config = %+v", b.Config)
	}
}

// A directory that became a symlink is not followed.
func TestADirectoryThatBecameASymlink(t *testing.T) {
	dir, layout, outside := t.TempDir(), t.TempDir(), t.TempDir()
	sh.Run(t, dir, `mkdir sub; echo inside >sub/file; cp -a sub/. "$1"`, outside)
	entries := seedtest.Scan(t, dir)
	sh.Run(t, dir, `rm -r sub; ln -s "$1" sub`, outside)
	b, err := seedtest.TryBuild(t.Context(), dir, layout, entries, seed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Problems) != 1 || b.Problems[0].Path != "/sub/file" {
		t.Errorf("problems = %v", b.Problems)
	}
}

func TestAFullDiskEndsTheBuildAndTheNextOneGoesOn(t *testing.T) {
	dir, layout := trees.New(t), t.TempDir()
	entries := seedtest.Scan(t, dir)
	want := seedtest.Build(t, dir, t.TempDir(), seed.Options{Limits: seedtest.Small()})
	sh.Run(t, "/", `mount -t tmpfs -o size=3M none "$1"`, layout)
	defer sh.Run(t, "/", `umount "$1"`, layout)
	led := &ledger{}
	_, err := seedtest.TryBuild(t.Context(), dir, layout, entries, seed.Options{Limits: seedtest.Small(), Ledger: led})
	if err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), layout) {
		t.Fatalf("err = %v", err)
	}
	if len(led.marks) == 0 {
		t.Error("nothing was remembered")
	}
	sh.Run(t, "/", `mount -o remount,size=100M "$1"`, layout)
	got, err := seedtest.TryBuild(t.Context(), dir, layout, entries, seed.Options{Limits: seedtest.Small(), Ledger: led})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
