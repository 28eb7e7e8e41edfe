package hotbackup_test

import (
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/hotbackup"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
)

// place makes files: "PATH CONTENT", "PATH/" for a directory, "PATH -> TARGET".
func place(t *testing.T, root string, list ...string) {
	t.Helper()
	for _, item := range list {
		name, content, _ := strings.Cut(item, " ")
		p := filepath.Join(root, name)
		var err error
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		switch target, link := strings.CutPrefix(content, "-> "); {
		case link:
			err = os.Symlink(target, p)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		default:
			err = os.WriteFile(p, []byte(content), 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// scan lists what is below a path of the root, as an inventory does.
func scan(t *testing.T, root *rootfs.Root, p hostpath.Path) []tree.Entry {
	t.Helper()
	dir, err := root.OpenDir(p)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var out []tree.Entry
	err = tree.Walk(t.Context(), dir, tree.WalkOptions{}, nil,
		func(_ int, at tree.Spot, _ struct{}) (tree.Entry, error) { return tree.Lstat(at.Dir, at.Name, at.Path) },
		func(e tree.Entry) error {
			e.Path = p.Join(string(e.Path))
			out = append(out, e)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOverlay puts a copy, with a directory elsewhere, in the place of what was
// scanned: nothing is there twice, and every path is accounted for.
func TestOverlay(t *testing.T) {
	dir := t.TempDir()
	place(t, dir,
		"data/home/notes mine", "data/db/rows old", "data/db/base/1 one", "data/db/base/2 two", "data/db/server.pid 12", "data/db/user.txt kept", "data/db/dropped/table gone",
		"data/db/space -> /spaces/a", "data/zz last", "data/db/odd file", "spaces/a/rows old",
		"copy/data/rows new", "copy/data/base/1 one and more", "copy/data/base/3 three", "copy/data/made/4 four", "copy/data/label here", "copy/data/space -> /copy/ts", "copy/data/fresh -> /copy/ts/x", "copy/data/odd/", "copy/data/logs/today no", "copy/ts/rows newer")
	for name, mode := range map[string]os.FileMode{"data/db": 0o700, "data/db/rows": 0o600, "data/db/base": 0o710} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Lchown(filepath.Join(dir, "data/db"), 300, 301); err != nil {
		t.Fatal(err)
	}
	root, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	scanned := append(scan(t, root, "/data"), scan(t, root, "/spaces/a")...)
	if err := os.RemoveAll(filepath.Join(dir, "data/db/dropped")); err != nil {
		t.Fatal(err)
	}
	over := hotbackup.NewOverlay(root, []hotbackup.Copy{{Survey: hotbackup.Survey{
		Database: handoff.Database{Path: "/data/db"},
		Method: profile.Backup{Without: []profile.Omission{
			{Paths: []string{"*.pid"}, Reason: "of the server that runs"}, {Paths: []string{"base/**"}, Reason: "replaced"},
		}},
		Dirs: []hotbackup.Dir{{Live: "/data/db", Copy: "/copy/data"}, {Live: "/spaces/a", Copy: "/copy/ts"}},
	}}})
	if got := over.Homeless([]handoff.Volume{{Seed: true, Path: "/data"}}); !slices.Equal(got, []hostpath.Path{"/spaces/a"}) {
		t.Errorf("homeless: %q", got)
	}

	var got []string
	for e, err := range over.Entries(t.Context(), values(scanned), func(p hostpath.Path) bool { return !p.Within("/data/db/logs") }) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %o %d:%d %s%s", e.Path, e.Type, e.Mode, e.UID, e.GID, e.Target, content(t, over, e)))
	}
	want := []string{
		"/data d 755 0:0 ", "/data/db d 700 300:301 ",
		"/data/db/base d 710 0:0 ", "/data/db/base/1 f 640 0:0 one and more", "/data/db/base/3 f 640 0:0 three",
		"/data/db/fresh l 777 300:301 /spaces/a/x", "/data/db/label f 640 300:301 here",
		"/data/db/made d 700 300:301 ", "/data/db/made/4 f 640 300:301 four",
		"/data/db/odd d 755 0:0 ", "/data/db/rows f 600 0:0 new", "/data/db/space l 777 0:0 /spaces/a", "/data/db/user.txt f 640 0:0 kept",
		"/data/home d 755 0:0 ", "/data/home/notes f 640 0:0 mine", "/data/zz f 640 0:0 last",
		"/spaces/a d 755 0:0 ", "/spaces/a/rows f 640 0:0 newer",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	account := handoff.BackupAccount{
		Replaced: 8, Kept: 1, Left: 2, Gone: 2, Made: 5,
		Omitted: []handoff.Omitted{
			{Path: "/data/db/base/2", Bytes: 3, Why: "replaced"},
			{Path: "/data/db/dropped", Why: "it is not there any more"},
			{Path: "/data/db/dropped/table", Bytes: 4, Why: "it is not there any more"},
			{Path: "/data/db/server.pid", Bytes: 2, Why: "of the server that runs"},
		},
	}
	account.Scanned = 13
	if diff := cmp.Diff(account, over.Accounts[0]); diff != "" {
		t.Error(diff)
	}
}

func values(list []tree.Entry) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// content is what a seed would have of a file.
func content(t *testing.T, over *hotbackup.Overlay, e tree.Entry) string {
	t.Helper()
	if e.Type != tree.Regular {
		return ""
	}
	var f *os.File
	dir, err := over.OpenDir(e.Path.Dir())
	if err == nil {
		f, err = rootfs.OpenRegularAt(dir, e.Path)
		dir.Close()
	}
	if os.IsNotExist(err) {
		if dir, err = over.Under().OpenDir(e.Path.Dir()); err == nil {
			f, err = rootfs.OpenRegularAt(dir, e.Path)
			dir.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(text)) != e.Size {
		t.Errorf("%s: %d bytes, and its entry says %d", e.Path, len(text), e.Size)
	}
	return string(text)
}
