package catalog_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

const benchEntries = 100_000

func benchEntry(i int) catalog.Entry {
	e := catalog.Entry{Entry: tree.Entry{
		Path: hostpath.Path(fmt.Sprintf("/srv/data/%04d/file-%07d.dat", i/1000, i)), Type: tree.Regular, Mode: 0o644, UID: 33, GID: 33,
		Size: 12345, Allocated: 16384, Mtime: 1_700_000_000_123_456_789, Ctime: 1_700_000_000_987_654_321, Dev: 64769, Ino: uint64(5_000_000 + i), Nlink: 1,
	}}
	return e
}

// BenchmarkWrite reports the time for each entry of a new inventory, the
// indexes and the flush to the disk included.
func BenchmarkWrite(b *testing.B) {
	name := filepath.Join(b.TempDir(), "inventory.db")
	for b.Loop() {
		benchFill(b, name)
	}
	perEntry(b)
}

func benchFill(b *testing.B, name string) {
	b.Helper()
	w, err := catalog.Create(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchEntries {
		if err := w.Add(b.Context(), benchEntry(i)); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func perEntry(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEntries, "ns/entry")
}

// BenchmarkRead reports the time for each entry of the passes that stages make,
// and for one path that is looked up.
func BenchmarkRead(b *testing.B) {
	name := filepath.Join(b.TempDir(), "inventory.db")
	benchFill(b, name)
	c, err := catalog.Open(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p, err := c.BeginPlacement(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchEntries {
		if err := p.Place(b.Context(), int64(i+1), claim.Classes()[i/20%2], 1); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := p.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
	count := func(b *testing.B, n int) {
		if n != benchEntries {
			b.Fatalf("%d entries", n)
		}
	}
	b.Run("rows", func(b *testing.B) {
		for b.Loop() {
			rows, n := c.Rows(1, false), 0
			for e := (catalog.Entry{}); rows.Next(&e); n++ {
			}
			count(b, n)
		}
		perEntry(b)
	})
	b.Run("entries", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for range c.Entries(b.Context(), catalog.Filter{}) {
				n++
			}
			count(b, n)
		}
		perEntry(b)
	})
	b.Run("sizes", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for range c.Sizes(b.Context(), func(claim.Class, int64) bool { return true }) {
				n++
			}
			count(b, n)
		}
		perEntry(b)
	})
	b.Run("find", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := c.Find(benchEntry(i * 7919 % benchEntries).Path); err != nil {
				b.Fatal(err)
			}
		}
	})
}
