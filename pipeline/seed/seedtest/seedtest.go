// Package seedtest makes seeds of directories for tests.
package seedtest

import (
	"context"
	"iter"
	"os"
	"testing"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// Small are limits under which a small tree has several packs and parts.
func Small() seed.Limits {
	return seed.Limits{LargeFrom: 256 << 10, PartSize: 1 << 20, PackBytes: 64 << 10, PackPaths: 16}
}

// Scan lists a tree as the scan would.
func Scan(t testing.TB, dir string) []tree.Entry {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []tree.Entry
	if err := tree.Read(t.Context(), f, tree.ReadOptions{Workers: 2}, func(r tree.Record) error {
		out = append(out, r.Entry)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// Each yields the entries without an error.
func Each(entries []tree.Entry) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TryBuild makes the seed of the volume "data" from the tree at dir in the
// layout, and names it in the layout's index.
func TryBuild(ctx context.Context, dir, layout string, entries []tree.Entry, o seed.Options) (seed.Built, error) {
	l, err := oci.Create(layout)
	if err != nil {
		return seed.Built{}, err
	}
	src, err := rootfs.Open(dir)
	if err != nil {
		return seed.Built{}, err
	}
	defer src.Close()
	if o.Volume == "" {
		o.Volume, o.Root = "data", hostpath.Root
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	b, err := seed.Build(ctx, l, src, Each(entries), o)
	if err != nil {
		return b, err
	}
	return b, l.SetIndex([]oci.Descriptor{b.Manifest})
}

// Build is TryBuild of a fresh scan that must succeed without a problem.
func Build(t testing.TB, dir, layout string, o seed.Options) seed.Built {
	t.Helper()
	b, err := TryBuild(t.Context(), dir, layout, Scan(t, dir), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range b.Problems {
		t.Error(p)
	}
	return b
}

// Open opens the seed of the volume "data". A property test may open it, too.
func Open(t interface {
	Helper()
	Fatal(...any)
}, layout string) *seed.Seed {
	t.Helper()
	l, err := oci.Open(layout)
	if err != nil {
		t.Fatal(err)
	}
	d, err := seed.Find(l, "data")
	if err != nil {
		t.Fatal(err)
	}
	s, err := seed.Open(context.Background(), l, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
