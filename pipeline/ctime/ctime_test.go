package ctime_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/ctime"
)

// at opens a file and says what it looks like.
func at(t *testing.T, name string) (*os.File, unix.Stat_t) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return f, st
}

// What was written before the mark is trusted, but only after the flush, and what
// was written after it is not.
func TestTrusts(t *testing.T) {
	for range 20 {
		name := filepath.Join(t.TempDir(), "file")
		write := func() {
			if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write()
		mark, err := ctime.Now()
		if err != nil {
			t.Fatal(err)
		}
		f, before := at(t, name)
		if mark.Trusts(before.Dev, before.Ctim.Nano()) {
			t.Fatal("a file system that was not flushed is trusted")
		}
		if _, err := mark.Flush(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if !mark.Trusts(before.Dev, before.Ctim.Nano()) {
			t.Fatal("what was written before is not trusted")
		}
		write()
		if _, after := at(t, name); mark.Trusts(after.Dev, after.Ctim.Nano()) {
			t.Fatal("what was written after the mark is trusted")
		}
	}
}

// A store through a mapping into a tmpfs leaves its times alone, ever.
func TestTrustsNoMemory(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "ctime")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	mark, err := ctime.Now()
	if err != nil {
		t.Fatal(err)
	}
	f, st := at(t, dir)
	if _, err := mark.Flush(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if mark.Trusts(st.Dev, 1) {
		t.Error("a tmpfs is trusted")
	}
}

func TestFlushStops(t *testing.T) {
	mark, err := ctime.Now()
	if err != nil {
		t.Fatal(err)
	}
	f, st := at(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Which of the two is first, nobody knows; what failed is not trusted.
	if _, err := mark.Flush(ctx, f); err != nil && (!errors.Is(err, context.Canceled) || mark.Trusts(st.Dev, 1)) {
		t.Error(err)
	}
}
