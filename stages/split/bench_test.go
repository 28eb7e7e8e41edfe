package split_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
)

// largeInventory makes an inventory of n files of unknown data under top,
// a hundred to a directory. No file is there: the split reads none of them.
func largeInventory(tb testing.TB, name, top string, n int) {
	tb.Helper()
	ctx := context.Background()
	c, err := catalog.Create(ctx, name)
	if err != nil {
		tb.Fatal(err)
	}
	add := func(p string, t tree.Type, i int) {
		e := catalog.Entry{Entry: tree.Entry{Path: hostpath.Path(p), Type: t, Mode: 0o644, Dev: 1, Ino: uint64(i + 10), Nlink: 1}}
		if t == tree.Regular {
			e.Size = 100
		}
		if err := c.Add(ctx, e); err != nil {
			tb.Fatal(err)
		}
	}
	for i, d := range []string{"/", filepath.Dir(top), top} {
		add(d, tree.Directory, i)
	}
	for i := range n {
		if i%100 == 0 {
			add(fmt.Sprintf("%s/%06d", top, i/100), tree.Directory, 2*n+i)
		}
		add(fmt.Sprintf("%s/%06d/%02d.dat", top, i/100, i%100), tree.Regular, i)
	}
	if err := c.AddFact(ctx, facts.KindUnit, "x", facts.Source{}, facts.Unit{Name: "x.service", Type: "service", Enabled: true}); err != nil {
		tb.Fatal(err)
	}
	if _, err := c.Commit(ctx); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkSplit reports the time for each of many small files of unknown data.
func BenchmarkSplit(b *testing.B) {
	for _, top := range []string{"/srv/data", "/unknown/data", "/opt/app"} {
		b.Run(top, func(b *testing.B) {
			w := &world{t: &testing.T{}, root: b.TempDir(), ws: workspace.Workspace{Dir: b.TempDir()}}
			if err := os.MkdirAll(w.ws.Path(workspace.Run), 0o700); err != nil {
				b.Fatal(err)
			}
			const n = 100_000
			largeInventory(b, w.ws.Path(workspace.Inventory), top, n)
			for b.Loop() {
				if _, err := w.try(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/file")
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapSys>>20), "MiB-heap")
		})
	}
}
