package delta_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/seed"
)

// mapped maps a file as databases do that write through memory.
func mapped(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	return m
}

// TestStoresThroughMappings has a process store into pages that are dirty already,
// of which the times of the file tell nothing: after the seed, and after a round.
func TestStoresThroughMappings(t *testing.T) {
	for _, size := range []string{"4096", "9000000"} {
		t.Run(size, func(t *testing.T) {
			source, target := t.TempDir(), t.TempDir()
			sh.Run(t, source, `head -c `+size+` /dev/urandom > db; echo other > small`)
			m := mapped(t, filepath.Join(source, "db"))
			m[0] = 'a'
			l := begin(t, source, seed.Limits{})
			for _, now := range "bcd" {
				m[0] = byte(now)
				l.round()
				l.apply(target)
				equal(t, source, target)
			}
		})
	}
}

// TestStoresWhileItIsRead never stops storing while rounds are made. When it does,
// the next round has all of it.
func TestStoresWhileItIsRead(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	sh.Run(t, source, `for i in $(seq 20); do head -c 40000 /dev/urandom > db$i; done; head -c 20000000 /dev/urandom > large`)
	var maps [][]byte
	for _, name := range []string{"db1", "db7", "db20", "large"} {
		maps = append(maps, mapped(t, filepath.Join(source, name)))
	}
	l := begin(t, source, seed.Limits{})
	for range 5 {
		stop := make(chan struct{})
		var stores sync.WaitGroup
		for _, m := range maps {
			stores.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						m[i*4096%len(m)]++
					}
				}
			})
		}
		l.round()
		close(stop)
		stores.Wait()
		l.round()
		l.apply(target)
		equal(t, source, target)
	}
}
