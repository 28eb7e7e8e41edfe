package rootfs_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// foreign makes a root with links of every kind that could lead out of it, and
// a file beside it that no link may reach.
func foreign(t *testing.T) *rootfs.Root {
	top := t.TempDir()
	dir := filepath.Join(top, "root")
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(top, "etc", "passwd"), "outside")
	write(filepath.Join(dir, "etc", "passwd"), "inside")
	write(filepath.Join(dir, "usr", "bin", "php8.2"), "php")
	for link, target := range map[string]string{
		"usr/bin/php":          "/etc/alternatives/php",
		"etc/alternatives/php": "/usr/bin/php8.2",
		"absolute":             "/etc/passwd",
		"up":                   "../../../../../../etc/passwd",
		"loop":                 "loop",
		"way":                  "/etc",
		"dangling":             "/nowhere",
	} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755)
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestLinksLeadInsideTheRoot(t *testing.T) {
	r := foreign(t)
	for p, want := range map[hostpath.Path]string{
		"/etc/passwd": "inside", "/absolute": "inside", "/up": "inside", "/way/passwd": "inside", "/usr/bin/php": "php",
	} {
		got, err := r.ReadFile(p, 100)
		if err != nil || string(got) != want {
			t.Errorf("%s reads %q (%v), want %q", p, got, err, want)
		}
	}
	for p, want := range map[hostpath.Path]hostpath.Path{"/usr/bin/php": "/usr/bin/php8.2", "/up": "/etc/passwd", "/way": "/etc", "/": "/"} {
		if got, err := r.Resolve(p); err != nil || got != want {
			t.Errorf("%s leads to %s (%v), want %s", p, got, err, want)
		}
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	r := foreign(t)
	for p, want := range map[hostpath.Path]error{
		"/loop": unix.ELOOP, "/dangling": fs.ErrNotExist, "/missing": fs.ErrNotExist, "/fifo": nil, "/etc": nil,
	} {
		f, err := r.Open(p)
		if err == nil {
			f.Close()
			t.Errorf("%s was opened", p)
			continue
		}
		if want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", p, err, want)
		}
		if !strings.Contains(err.Error(), p.String()) || strings.Contains(err.Error(), r.Name()) {
			t.Errorf("%s: the message %q should name the path of the host only", p, err)
		}
	}
}

func TestOpenNoFollowRefusesEveryLink(t *testing.T) {
	r := foreign(t)
	for _, p := range []hostpath.Path{"/absolute", "/way/passwd", "/up", "/fifo", "/etc"} {
		if f, err := r.OpenNoFollow(p); err == nil {
			f.Close()
			t.Errorf("%s was opened", p)
		}
	}
	f, err := r.OpenNoFollow("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, _ := io.ReadAll(f); string(got) != "inside" {
		t.Errorf("read %q", got)
	}
}

func TestReadFileIsBounded(t *testing.T) {
	r := foreign(t)
	if _, err := r.ReadFile("/etc/passwd", 5); !errors.Is(err, rootfs.ErrTooLarge) {
		t.Errorf("6 bytes with a limit of 5: %v", err)
	}
	if _, err := r.ReadFile("/etc/passwd", 6); err != nil {
		t.Errorf("6 bytes with a limit of 6: %v", err)
	}
}
