package atomicfile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/statelift/statelift/pipeline/atomicfile"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteReplacesWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	for _, content := range []string{"a longer first content", "second"} {
		if err := atomicfile.Write(name, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != content {
			t.Errorf("read %q, %v", got, err)
		}
	}
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if got := names(t, filepath.Dir(name)); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestFailedFillLeavesTheOldFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	if err := atomicfile.Write(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := atomicfile.WriteTo(name, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, "half of the new")
		return errors.Join(err, full)
	})
	if !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "old" {
		t.Errorf("read %q, %v", got, err)
	}
	if got := names(t, filepath.Dir(name)); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

// What a kill in mid-write left is gone after the next write.
func TestLeftoverOfAKillIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x")
	if err := os.WriteFile(filepath.Join(dir, ".tmp-x"), []byte("a long half-written rest of a killed run"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(name, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "whole" {
		t.Errorf("read %q, %v", got, err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}
