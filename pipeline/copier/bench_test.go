package copier_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
)

// BenchmarkLift measures seed, copy and proof beside rsync, which proves
// nothing, on the directory that STATELIFT_BENCH names or on made-up files. The
// metrics are milliseconds of wall time.
func BenchmarkLift(b *testing.B) {
	if dir := os.Getenv("STATELIFT_BENCH"); dir != "" {
		lift(b, dir)
		return
	}
	b.Run("small", func(b *testing.B) {
		dir := b.TempDir()
		for i := range 20_000 {
			if i%200 == 0 {
				must(b, os.Mkdir(filepath.Join(dir, fmt.Sprint(i/200)), 0o755))
			}
			must(b, os.WriteFile(filepath.Join(dir, fmt.Sprint(i/200), fmt.Sprint(i)), trees.Noise(500+i%7000, uint64(i)), 0o600))
		}
		lift(b, dir)
	})
	b.Run("large", func(b *testing.B) {
		dir := b.TempDir()
		for i := range 4 {
			must(b, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), trees.Noise(50<<20, uint64(i)), 0o600))
		}
		lift(b, dir)
	})
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func lift(b *testing.B, dir string) {
	entries := seedtest.Scan(b, dir)
	var seeding, copying, rsync time.Duration
	for b.Loop() {
		layout, target, other := b.TempDir(), b.TempDir(), b.TempDir()
		start := time.Now()
		must(b, exec.Command("rsync", "-aHAXS", "--numeric-ids", dir+"/", other+"/").Run())
		rsync += time.Since(start)
		must(b, exec.Command("sync").Run())

		start = time.Now()
		built, err := seedtest.TryBuild(b.Context(), dir, layout, entries, seed.Options{})
		must(b, err)
		seeding += time.Since(start)

		start = time.Now()
		r, err := copier.Copy(b.Context(), seedtest.Open(b, layout), target, filepath.Join(layout, "listing"), copier.Options{Workers: 2})
		must(b, err)
		if !r.Proved || r.SourceTree != built.Config.Tree {
			b.Fatal(r)
		}
		copying += time.Since(start)
		for _, dir := range []string{layout, target, other} {
			must(b, os.RemoveAll(dir))
		}
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(seeding.Milliseconds())/n, "seed-ms")
	b.ReportMetric(float64(copying.Milliseconds())/n, "copy-ms")
	b.ReportMetric(float64(rsync.Milliseconds())/n, "rsync-ms")
	b.ReportMetric(float64(seeding+copying)/float64(rsync), "times-rsync")
}
