package tree

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The way through /proc, for kernels before 6.13, finds the same names.
func TestXattrNamesThroughProc(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(dir, "file"), "user.one", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	buf := make([]byte, 1024)
	n, err := unix.Llistxattr(throughProc(int(d.Fd()), "file"), buf)
	if err != nil || string(buf[:n]) != "user.one\x00" {
		t.Errorf("%q, %v", buf[:max(n, 0)], err)
	}
}

func FuzzNames(f *testing.F) {
	f.Add("")
	f.Add("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x18\x00\x08name\x00")
	f.Fuzz(func(t *testing.T, data string) {
		list, err := appendNames(nil, data)
		if err != nil {
			return
		}
		for _, n := range list {
			if n.name == "." || n.name == ".." {
				t.Errorf("%q", n.name)
			}
		}
	})
}
