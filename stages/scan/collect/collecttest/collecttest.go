// Package collecttest runs collectors in tests, on trees made for them.
package collecttest

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/walk"
)

// Plant makes a tree in a new directory. Keys are paths, that of a directory ends
// in a slash; a value that begins with "-> " is the target of a symlink, one that
// begins with "#!" an executable file, and any other the content of a file.
func Plant(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		isDir := strings.HasSuffix(name, "/")
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if isDir {
			if err := os.MkdirAll(name, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Run walks the root at dir as the scan does, and returns what c emits.
func Run(t testing.TB, c collect.Collector, dir string) []collect.Found {
	t.Helper()
	r, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx := context.Background()
	var wanted []hostpath.Path
	err = walk.Walk(ctx, walk.Options{Root: r}, func(it *walk.Item) error {
		if c.Wants(it.Path, it.Type) {
			wanted = append(wanted, it.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var found []collect.Found
	err = c.Collect(ctx, r, wanted, func(f collect.Found) error {
		found = append(found, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Problems are the problems among what was found, as path:line.
func Problems(found []collect.Found) []string {
	var out []string
	for _, f := range found {
		if f.Kind == "problem" {
			out = append(out, f.Source.Path.String()+":"+strconv.Itoa(f.Source.Line))
		}
	}
	return out
}

// Data are the facts of the type T among what was found.
func Data[T any](found []collect.Found) []T {
	var out []T
	for _, f := range found {
		if d, ok := f.Data.(T); ok {
			out = append(out, d)
		}
	}
	return out
}
