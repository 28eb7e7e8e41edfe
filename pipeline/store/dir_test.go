package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/store/storetest"
)

func openDir(t *testing.T, dir string) *store.Dir {
	t.Helper()
	s, err := store.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestDirModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "new")
	s := openDir(t, dir)
	mustPut(t, s, "a/b/c", []byte("secret"))
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", p, fi.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The files are what people can check with public tools.
func TestDirFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openDir(t, dir)
	content := storetest.Content("f", 3*mib)
	mustPut(t, s, "a/b", content)
	if got, want := sumOnDisk(t, filepath.Join(dir, "a/b")), storetest.ObjectOf("", content).SHA256; got != want {
		t.Errorf("sha256sum says %s, want %s", got, want)
	}
	meta, err := exec.Command("jq", "-r", `"\(.name) \(.size) \(.sha256)"`, filepath.Join(dir, ".statelift/meta/a/b")).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("a/b %d %s\n", len(content), sumOnDisk(t, filepath.Join(dir, "a/b")))
	if string(meta) != want {
		t.Errorf("the metadata says %q, want %q", meta, want)
	}
}

func TestDirRefusesOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenDir(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory with a stranger's file: %v", err)
	}
	if _, err := store.OpenDir(filepath.Join(dir, "thesis.txt")); err == nil {
		t.Error("a file as a directory: no error")
	}
}

// Every kind of damage below is seen, by Stat where it is cheap, else by Verify,
// and healed by the next Put where Stat sees it.
func TestDirDamage(t *testing.T) {
	t.Parallel()
	content := storetest.Content("d", 100_000)
	o := storetest.ObjectOf("a/b", content)
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		stat   error
	}{
		"flipped byte":  {func(t *testing.T, dir string) { flipByte(t, filepath.Join(dir, "a/b"), 55_555) }, nil},
		"truncated":     {func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "a/b"), 99_999)) }, store.ErrMismatch},
		"longer":        {func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "a/b"), 100_001)) }, store.ErrMismatch},
		"content gone":  {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "a/b"))) }, store.ErrNotFound},
		"metadata gone": {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, ".statelift/meta/a/b"))) }, store.ErrNotFound},
		"metadata cut":  {func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, ".statelift/meta/a/b"), 20)) }, store.ErrMismatch},
		"metadata of another": {func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, ".statelift/meta/other"))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, ".statelift/meta/a/b"), b, 0o600))
		}, store.ErrMismatch},
		"symlink": {func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, "a/b"), filepath.Join(dir, "a/c")))
			must(t, os.Symlink("c", filepath.Join(dir, "a/b")))
		}, store.ErrMismatch},
		"fifo": {func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "a/b")))
			must(t, syscall.Mkfifo(filepath.Join(dir, "a/b"), 0o600))
		}, store.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openDir(t, dir)
			mustPut(t, s, "other", []byte("other"))
			mustPut(t, s, "a/b", content)
			c.damage(t, dir)
			if _, err := s.Stat(t.Context(), "a/b"); !errors.Is(err, c.stat) {
				t.Errorf("Stat: %v, want %v", err, c.stat)
			}
			err := store.Verify(t.Context(), s, o)
			if !errors.Is(err, store.ErrMismatch) && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Verify: %v", err)
			}
			if c.stat == nil {
				return
			}
			mustPut(t, s, "a/b", content)
			if err := store.Verify(t.Context(), s, o); err != nil {
				t.Errorf("after another Put: %v", err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A symlink in the store leads nowhere outside.
func TestDirStaysInside(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	s := openDir(t, dir)
	must(t, os.Symlink(outside, filepath.Join(dir, "out")))
	must(t, os.WriteFile(filepath.Join(outside, "x"), []byte("theirs"), 0o600))
	for _, name := range []string{"out/x", "out/new"} {
		if _, err := s.Put(t.Context(), name, strings.NewReader("ours"), storetest.ObjectOf(name, []byte("ours"))); err == nil {
			t.Errorf("Put %s: no error", name)
		}
	}
	entries, err := os.ReadDir(outside)
	must(t, err)
	b, err := os.ReadFile(filepath.Join(outside, "x"))
	must(t, err)
	if len(entries) != 1 || string(b) != "theirs" {
		t.Errorf("outside there are %v, x is %q", entries, b)
	}
}

// What a stopped Put left is continued when it is the beginning of the same, and
// thrown away when it is not.
func TestDirContinues(t *testing.T) {
	t.Parallel()
	content := storetest.Content("content", 3*mib)
	for name, left := range map[string][]byte{
		"the beginning": content[:2*mib],
		"all of it":     content,
		"other bytes":   storetest.Content("other", 2*mib),
		"too long":      append(bytes.Clone(content), 1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openDir(t, dir)
			stop := stopAt{bytes.NewReader(content), 2 * mib, errors.New("stop")}
			if _, err := s.Put(t.Context(), "x", stop, storetest.ObjectOf("x", content)); err == nil {
				t.Fatal("the Put that should stop did not")
			}
			// What failed is cleared away; what was killed is not.
			leftovers, err := os.ReadDir(filepath.Join(dir, ".statelift/tmp"))
			must(t, err)
			if len(leftovers) != 0 {
				t.Fatalf("a failed Put left %v", leftovers)
			}
			must(t, os.WriteFile(filepath.Join(dir, ".statelift/tmp", temporaryOf("x")), left, 0o600))
			src := &counting{ReaderAt: bytes.NewReader(content)}
			if _, err := s.Put(t.Context(), "x", src, storetest.ObjectOf("x", content)); err != nil {
				t.Fatalf("Put: %v", err)
			}
			if err := store.Verify(t.Context(), s, storetest.ObjectOf("x", content)); err != nil {
				t.Error(err)
			}
			if name == "the beginning" && src.n != mib {
				t.Errorf("%d bytes of the source were read, want the last MiB only", src.n)
			}
		})
	}
}

// A full disk: a clear error, nothing visible, the room given back, and the
// store goes on working.
func TestDirFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a small file system (needs root): %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	s, err := store.OpenDir(dir)
	must(t, err)
	defer s.Close()
	mustPut(t, s, "before", storetest.Content("before", mib))
	content := storetest.Content("large", 12*mib)
	_, err = s.Put(t.Context(), "large", bytes.NewReader(content), storetest.ObjectOf("large", content))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "large") {
		t.Errorf("Put: %v, want ENOSPC with the store and the object", err)
	}
	if _, err := s.Stat(t.Context(), "large"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Stat: %v, want ErrNotFound", err)
	}
	mustPut(t, s, "after", storetest.Content("after", 4*mib))
	for name, size := range map[string]int{"before": mib, "after": 4 * mib} {
		if err := store.Verify(t.Context(), s, storetest.ObjectOf(name, storetest.Content(name, size))); err != nil {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, ".statelift/tmp"))
	must(t, err)
	if diff := cmp.Diff(0, len(left)); diff != "" {
		t.Errorf("temporary files are left: %v", left)
	}
}

// When a Put ends between content and metadata, nothing is visible: not the old
// object with the new content, even when their sizes are the same.
func TestDirHalfReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openDir(t, dir)
	mustPut(t, s, "x", []byte("old content"))
	mustPut(t, s, "y", []byte("another"))
	block := filepath.Join(dir, ".statelift/tmp", temporaryOf("x")+".meta")
	must(t, os.Mkdir(block, 0o700)) // where the metadata should be written
	if _, err := s.Put(t.Context(), "x", strings.NewReader("new content"), storetest.ObjectOf("x", []byte("new content"))); err == nil {
		t.Fatal("the Put that cannot write its metadata says nothing")
	}
	if o, err := s.Stat(t.Context(), "x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Stat: %+v, %v, want ErrNotFound", o, err)
	}
	var names []string
	for o, err := range s.List(t.Context(), "") {
		must(t, err)
		names = append(names, o.Name)
	}
	if diff := cmp.Diff([]string{"y"}, names); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	must(t, os.Remove(block))
	mustPut(t, s, "x", []byte("new content"))
	if err := store.Verify(t.Context(), s, storetest.ObjectOf("x", []byte("new content"))); err != nil {
		t.Error(err)
	}
}
