package tree_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// list reads a tree and returns its listing.
func list(t *testing.T, dir string) ([]byte, tree.Totals) {
	t.Helper()
	var out bytes.Buffer
	w := tree.NewWriter(&out)
	if err := tree.Read(t.Context(), openDir(t, dir), tree.ReadOptions{Workers: 2}, w.Add); err != nil {
		t.Fatal(err)
	}
	totals, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), totals
}

// parse reads a listing to the end.
func parse(t *testing.T, listing []byte) []tree.Record {
	t.Helper()
	r := tree.NewReader(bytes.NewReader(listing))
	var out []tree.Record
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
}

func TestReadFindsWhatFindFinds(t *testing.T) {
	dir := trees.New(t)
	listing, totals := list(t, dir)
	found := strings.Split(strings.TrimSuffix(run(t, dir, "find", ".", "-printf", `%y %m %U %G %P\0`), "\x00"), "\x00")
	want := map[string]bool{}
	for _, line := range found {
		want[line] = true
	}
	records := parse(t, listing)
	for _, r := range records {
		rel := r.Path.Rel()
		if rel == "." {
			rel = ""
		}
		line := fmt.Sprintf("%s %o %d %d %s", r.Type, r.Mode, r.UID, r.GID, rel)
		if !want[line] {
			t.Errorf("find does not know %q", line)
		}
		delete(want, line)
	}
	for line := range want {
		t.Errorf("the listing does not have %q", line)
	}
	if totals.Entries != int64(len(found)) || totals.Entries != int64(len(records)) {
		t.Errorf("entries = %d, find has %d, the listing %d", totals.Entries, len(found), len(records))
	}
}

func TestTreeDigestIsTheSumOfTheListing(t *testing.T) {
	listing, totals := list(t, trees.New(t))
	name := filepath.Join(t.TempDir(), "listing")
	if err := os.WriteFile(name, listing, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(run(t, "/", "sha256sum", name))[0]; got != totals.Digest {
		t.Errorf("sha256sum says %s, the writer %s", got, totals.Digest)
	}
	r := tree.NewReader(bytes.NewReader(listing))
	for {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	if r.Digest() != totals.Digest {
		t.Errorf("the reader says %s, the writer %s", r.Digest(), totals.Digest)
	}
}

// sha256sum -c must agree with every sum, for every odd name.
func TestSumsAreCheckedBySha256sum(t *testing.T) {
	dir := trees.New(t)
	listing, totals := list(t, dir)
	check := func() (string, error) {
		name := filepath.Join(t.TempDir(), "sums")
		var sums bytes.Buffer
		if err := tree.Sums(t.Context(), &sums, tree.NewReader(bytes.NewReader(listing))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, sums.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sha256sum", "-c", "--strict", name)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := check()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(out, ": OK\n"); int64(n) != totals.Files {
		t.Errorf("sha256sum checked %d of %d files", n, totals.Files)
	}
	if err := os.WriteFile(filepath.Join(dir, "names/new\nline"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil || strings.Count(out, "FAILED\n") != 1 {
		t.Errorf("a changed file was not found: %v\n%s", err, out)
	}
}

func TestHardLinks(t *testing.T) {
	listing, _ := list(t, trees.New(t))
	got := map[hostpath.Path]hostpath.Path{}
	for _, r := range parse(t, listing) {
		if r.Link != "" {
			got[r.Path] = r.Link
		}
	}
	want := map[hostpath.Path]hostpath.Path{
		"/links/hard-1": "/a-third-name", "/links/elsewhere/hard-2": "/a-third-name",
		"/links/hard-large": "/files/large-noise", "/links/hard-empty": "/files/empty",
		"/links/hard-symlink": "/links/dangling", "/special/fifo-again": "/special/fifo",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDiffNamesEveryChange(t *testing.T) {
	dir := trees.New(t)
	before, _ := list(t, dir)
	run(t, dir, "sh", "-c", `
		chmod 600 files/text; chown 9 files/many/00; setfattr -n user.comment -v other attrs/user
		touch -d 2020-01-01 files/many/01; rm files/many/02; echo more >files/many/020
		printf 'numbeR 3\n' >files/many/03; rm files/many/04; mkdir files/many/04
		ln -sfn other links/dangling; rm special/null; mknod -m 666 special/null c 1 5
		rm links/hard-1; cp -p a-third-name links/hard-1`)
	after, _ := list(t, dir)
	var got []string
	quiet := map[string]bool{"/": true, "/files/many": true, "/links": true, "/special": true} // their times changed with what is in them
	err := tree.Diff(t.Context(), tree.NewReader(bytes.NewReader(before)), tree.NewReader(bytes.NewReader(after)), func(d tree.Difference) {
		if !quiet[d.Path.String()] {
			got = append(got, d.Path.String()+" "+d.What)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/attrs/user xattrs", "/files/many/00 owner", "/files/many/01 mtime", "/files/many/02 missing", "/files/many/020 extra",
		"/files/many/03 content", "/files/many/03 mtime", "/files/many/04 type", "/files/text mode",
		"/links/dangling target", "/links/dangling mtime", "/links/hard-1 link",
		"/links/hard-symlink link", "/special/null target", "/special/null mtime",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadIsTheSameWithAnyNumberOfWorkers(t *testing.T) {
	dir := trees.New(t)
	_, want := list(t, dir)
	for _, workers := range []int{0, 1, 7} {
		w := tree.NewWriter(io.Discard)
		if err := tree.Read(t.Context(), openDir(t, dir), tree.ReadOptions{Workers: workers}, w.Add); err != nil {
			t.Fatal(err)
		}
		if got, err := w.Close(); err != nil || got != want {
			t.Errorf("%d workers: %+v, %v; want %+v", workers, got, err, want)
		}
	}
}

func TestReadStops(t *testing.T) {
	dir := trees.New(t)
	stop := errors.New("stop")
	if err := tree.Read(t.Context(), openDir(t, dir), tree.ReadOptions{Workers: 2}, func(tree.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("err = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tree.Read(ctx, openDir(t, dir), tree.ReadOptions{Workers: 2}, func(tree.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestReadRefusesAMountWithin(t *testing.T) {
	dir := t.TempDir()
	mount := filepath.Join(dir, "sub")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "mount", "-t", "tmpfs", "none", mount)
	t.Cleanup(func() { run(t, dir, "umount", mount) })
	err := tree.Read(t.Context(), openDir(t, dir), tree.ReadOptions{Workers: 1}, func(tree.Record) error { return nil })
	if !errors.Is(err, tree.ErrMounted) || !strings.Contains(err.Error(), "/sub") {
		t.Errorf("err = %v", err)
	}
}

func TestListingsThatAreRefused(t *testing.T) {
	const root = "d\t0755\t0\t0\t0\t0\t-\t-\t-\t-\t/\n"
	const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	file := func(path string) string { return "f\t0644\t0\t0\t0\t0\t-\t-\t-\t" + sum + "\t" + path + "\n" }
	if n := len(parse(t, []byte(root+file("/a")+file("/b")))); n != 3 {
		t.Fatalf("a good one has %d records", n)
	}
	for name, listing := range map[string]string{
		"no root":            file("/a"),
		"twice":              root + file("/a") + file("/a"),
		"order":              root + file("/b") + file("/a"),
		"no parent":          root + file("/a/b"),
		"below a file":       root + file("/a") + file("/a/b"),
		"below a symlink":    root + "l\t0777\t0\t0\t3\t0\t-\t-\t-\t-\t/a\t/etc\n" + file("/a/b"),
		"dot dot":            root + file("/../a"),
		"relative":           root + file("a"),
		"double slash":       root + file("//a"),
		"trailing slash":     root + file("/a/"),
		"NUL":                root + file(`/a\x00`),
		"not canonical":      root + file(`/\x41`),
		"superfluous zero":   root + strings.Replace(file("/a"), "\t0\t0\t0\t", "\t00\t0\t0\t", 1),
		"size of a FIFO":     root + "p\t0644\t0\t0\t5\t0\t-\t-\t-\t-\t/a\n",
		"negative size":      root + strings.Replace(file("/a"), "\t0\t0\t-\t", "\t-5\t0\t-\t", 1),
		"unknown type":       root + "x\t0644\t0\t0\t0\t0\t-\t-\t-\t-\t/a\n",
		"link forwards":      root + "f\t0644\t0\t0\t0\t0\t-\t/b\t-\t" + sum + "\t/a\n",
		"directory link":     root + "d\t0644\t0\t0\t0\t0\t-\t/\t-\t-\t/a\n",
		"target of a file":   root + strings.TrimSuffix(file("/a"), "\n") + "\tx\n",
		"symlink without":    root + "l\t0777\t0\t0\t0\t0\t-\t-\t-\t-\t/a\n",
		"cut off":            root + strings.TrimSuffix(file("/a"), "\n"),
		"xattrs out of line": root + "f\t0644\t0\t0\t0\t0\t-\t-\tuser.b=,user.a=\t" + sum + "\t/a\n",
	} {
		r := tree.NewReader(strings.NewReader(listing))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if err == io.EOF {
			t.Errorf("%s: accepted\n%s", name, listing)
		}
	}
}

func FuzzRecord(f *testing.F) {
	dir := f.TempDir()
	if err := trees.Every(dir); err != nil {
		f.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer root.Close()
	if err := tree.Read(f.Context(), root, tree.ReadOptions{Workers: 1}, func(r tree.Record) error {
		line, _ := r.AppendText(nil)
		f.Add(line)
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var r tree.Record
		if r.UnmarshalText(line) != nil {
			return
		}
		again, err := r.AppendText(nil)
		if err != nil || string(again) != strings.TrimSuffix(string(line), "\n")+"\n" {
			t.Fatalf("%q became %q, %v", line, again, err)
		}
		if p := string(r.Path); p[0] != '/' || strings.Contains(p, "/../") || strings.Contains(p, "\x00") {
			t.Fatalf("path %q", p)
		}
	})
}

// The inventory keeps attributes as JSON, which has no bytes.
func TestXattrSurvivesJSON(t *testing.T) {
	for _, want := range []tree.Xattr{{Name: "user.a=b,c\xff\\\n", Value: []byte{0, 255}}, {Name: "user.plain", Value: []byte{}}} {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got tree.Xattr
		if err := json.Unmarshal(data, &got); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%s: %v %s", data, err, cmp.Diff(want, got))
		}
	}
}
