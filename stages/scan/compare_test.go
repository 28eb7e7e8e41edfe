package scan

import (
	"context"
	"crypto"
	"crypto/md5"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/walk"
)

type index map[hostpath.Path]collect.Owned

func (x index) Owner(p hostpath.Path) (collect.Owned, bool) { o, ok := x[p]; return o, ok }

// look inspects one path of a directory as a worker does; seen changes what the
// walk saw, or the file after that.
func look(t *testing.T, dir, name string, o collect.Owned, seen func(*walk.Item)) *walk.Item {
	t.Helper()
	c := newComparer([]collect.Index{index{hostpath.Path("/" + name): o}})
	defer c.close()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := tree.Lstat(f, name, hostpath.Path("/"+name))
	if err != nil {
		t.Fatal(err)
	}
	it := &walk.Item{Entry: e}
	if seen != nil {
		seen(it)
	}
	if later := c.inspect(t.Context(), f, it); later != nil {
		later(context.Background(), f, it)
	}
	return it
}

func TestStates(t *testing.T) {
	dir := t.TempDir()
	large := strings.Repeat("0123456789abcdef", slow/8)
	for name, content := range map[string]string{"small": "x", "empty": "", "large": large, "block": strings.Repeat("y", 128<<10)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("small", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	sum := func(s string) string { b := md5.Sum([]byte(s)); return string(b[:]) }
	sum256 := func(s string) string { b := sha256.Sum256([]byte(s)); return string(b[:]) }
	for _, tt := range []struct {
		name  string
		owned collect.Owned
		want  catalog.State
	}{
		{"small", collect.Owned{Hash: crypto.MD5, Sum: sum("x")}, catalog.Same},
		{"small", collect.Owned{Hash: crypto.MD5, Sum: sum("y")}, catalog.Changed},
		{"small", collect.Owned{Hash: crypto.MD5, Sum: sum("x"), Conffile: true}, catalog.ConffileSame},
		{"small", collect.Owned{Hash: crypto.MD5, Sum: sum("y"), Conffile: true}, catalog.ConffileChanged},
		{"small", collect.Owned{}, catalog.Unchecked},
		{"small", collect.Owned{Hash: crypto.SHA256, Sum: sum256("x")}, catalog.Same},
		{"small", collect.Owned{Hash: crypto.SHA256, Sum: sum256("y")}, catalog.Changed},
		{"empty", collect.Owned{Hash: crypto.MD5, Sum: sum("")}, catalog.Same},
		{"large", collect.Owned{Hash: crypto.MD5, Sum: sum(large)}, catalog.Same},
		{"large", collect.Owned{Hash: crypto.MD5, Sum: sum(large + "x")}, catalog.Changed},
		{"block", collect.Owned{Hash: crypto.MD5, Sum: sum(strings.Repeat("y", 128<<10))}, catalog.Same},
		// An administrator's link in place of a file that was shipped.
		{"link", collect.Owned{Hash: crypto.MD5, Sum: sum("x")}, catalog.Changed},
		{"link", collect.Owned{}, catalog.Unchecked},
	} {
		tt.owned.Package = "p"
		it := look(t, dir, tt.name, tt.owned, nil)
		if it.Note.State != string(tt.want) || it.Note.Package != "p" || it.Problem != "" {
			t.Errorf("%s: %+v, %q; want %s", tt.name, it.Note, it.Problem, tt.want)
		}
	}
}

// A file that is not what the walk saw is told, and never compared.
func TestChangesWhileScanned(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, file string){
		"content": func(t *testing.T, file string) { os.WriteFile(file, []byte("other"), 0o644) },
		"longer":  func(t *testing.T, file string) { os.WriteFile(file, []byte("much longer"), 0o644) },
		"replaced": func(t *testing.T, file string) {
			os.Rename(file, file+".old")
			os.WriteFile(file, []byte("first"), 0o644)
		},
		"gone": func(t *testing.T, file string) { os.Remove(file) },
		"FIFO": func(t *testing.T, file string) { os.Remove(file); unix.Mkfifo(file, 0o600) },
		"link": func(t *testing.T, file string) { os.Rename(file, file+".old"); os.Symlink(file+".old", file) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "f")
			if err := os.WriteFile(file, []byte("first"), 0o644); err != nil {
				t.Fatal(err)
			}
			sum := md5.Sum([]byte("first"))
			it := look(t, dir, "f", collect.Owned{Package: "p", Hash: crypto.MD5, Sum: string(sum[:])}, func(it *walk.Item) {
				change(t, file)
			})
			if it.Problem == "" || it.Note.State != string(catalog.Unchecked) {
				t.Errorf("problem %q, state %s", it.Problem, it.Note.State)
			}
		})
	}
}
