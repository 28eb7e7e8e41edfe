package workspace_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/workspace"
)

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(dir string) error
		want error
	}{
		{"new", func(string) error { return nil }, nil},
		{"empty", func(dir string) error { return os.Mkdir(dir, 0o755) }, nil},
		{"decisions written before", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, workspace.Decisions), nil, 0o644))
		}, nil},
		{"a home directory", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, ".bashrc"), nil, 0o644))
		}, workspace.ErrForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ws")
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			_, err := workspace.Open(dir)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			fi, err := os.Stat(dir)
			if tt.want == nil && (err != nil || fi.Mode().Perm() != 0o700) {
				t.Errorf("mode %v (%v), want 0700", fi.Mode(), err)
			}
		})
	}
}

func TestSecondLockIsRefusedByName(t *testing.T) {
	w, err := workspace.Open(filepath.Join(t.TempDir(), "ws"))
	if err != nil {
		t.Fatal(err)
	}
	release, err := w.Lock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Lock()
	if !errors.Is(err, workspace.ErrLocked) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("second lock: %v", err)
	}
	release()
	release, err = w.Lock()
	if err != nil {
		t.Errorf("after release: %v", err)
	} else {
		release()
	}
}

// What is noted before volumes are written to stays until they are handed over.
func TestOverwritten(t *testing.T) {
	w, err := workspace.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := func(want bool) {
		t.Helper()
		if got, err := w.Overwritten(); got != want || err != nil {
			t.Errorf("overwritten: %v, %v", got, err)
		}
	}
	want(false)
	for range 2 {
		if err := w.Overwrites(); err != nil {
			t.Fatal(err)
		}
		want(true)
	}
	for range 2 {
		if err := w.HandsOver(); err != nil {
			t.Fatal(err)
		}
		want(false)
	}
}
