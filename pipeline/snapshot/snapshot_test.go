package snapshot_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// everything is a tree with one of each kind of path, odd names among them.
func everything(t *testing.T) (dir string, records []tree.Record) {
	t.Helper()
	dir = trees.New(t)
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := tree.Read(t.Context(), root, tree.ReadOptions{}, func(r tree.Record) error {
		records = append(records, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return dir, records
}

func written(t testing.TB, items ...snapshot.Item) ([]byte, tree.Totals) {
	t.Helper()
	var b bytes.Buffer
	w := snapshot.NewWriter(&b)
	for i := range items {
		if err := w.Add(&items[i]); err != nil {
			t.Fatal(err)
		}
	}
	totals, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), totals
}

func file(t *testing.T, items ...snapshot.Item) string {
	t.Helper()
	data, _ := written(t, items...)
	name := filepath.Join(t.TempDir(), "snapshot")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func read(r *snapshot.Reader) (items []*snapshot.Item, err error) {
	for {
		i, err := r.Next()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return items, err
		}
		items = append(items, i)
	}
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	dir, records := everything(t)
	var items []snapshot.Item
	for n, r := range records {
		i := snapshot.Of(r, bytes.Repeat([]byte{byte(n)}, n%3*sha256.Size))
		i.Flags = uint32(n)
		items = append(items, i)
	}
	data, totals := written(t, items...)
	got, err := read(snapshot.NewReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	var back []tree.Record
	for n, i := range got {
		r, err := i.Record()
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, r)
		if i.Path() != r.Path || i.Type() != r.Type || i.Sum() != r.SHA256 || i.Linked() != (r.Link != "") {
			t.Errorf("%s: the line says %s %x, linked %v", r.Path, i.Type(), i.Sum(), i.Linked())
		}
		if want := bytes.Repeat([]byte{byte(n)}, n%3*sha256.Size); i.Flags != uint32(n) || !bytes.Equal(i.Blocks, want) {
			t.Errorf("%s: flags %d, blocks %x", r.Path, i.Flags, i.Blocks)
		}
	}
	notKept := cmpopts.IgnoreFields(tree.Entry{}, "Dev", "Allocated")
	if diff := cmp.Diff(records, back, cmpopts.EquateEmpty(), notKept); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	name := file(t, items...)
	lines, err := snapshot.Lines(name)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	listing, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(listing); hex.EncodeToString(sum[:]) != totals.Digest {
		t.Errorf("the listing's SHA-256 is %x, and the writer says %s", sum, totals.Digest)
	}
	// find(1) counts independently.
	want := sh.Run(t, dir, `
		echo "$(find . -printf x | wc -c) paths, $(find . -type f -printf x | wc -c) files,
			$(find . -type f -printf '%i %s\n' | sort -u | awk '{ n += $2 } END { printf "%d", n }') bytes" | xargs`)
	if got := fmt.Sprintf("%d paths, %d files, %d bytes\n", totals.Entries, totals.Files, totals.Bytes); got != want {
		t.Errorf("%swant %s", got, want)
	}
}

func line(path, kind string) snapshot.Item {
	return snapshot.Of(tree.Record{Entry: tree.Entry{Path: hostpath.Path(path), Type: tree.Type(kind), Size: int64(len(path)), Nlink: 1}}, nil)
}

// TestDamaged: whatever is cut off or altered is told, never taken for the end.
func TestDamaged(t *testing.T) {
	whole, _ := written(t, line("/", "d"), line("/a", "f"), line("/a b", "f"), line("/c", "d"))
	for n := range whole {
		if items, err := read(snapshot.NewReader(bytes.NewReader(whole[:n]))); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("cut at %d of %d: %d items, %v", n, len(whole), len(items), err)
		}
	}
	first := bytes.IndexByte(whole, '\n') + 1
	for n := range first + 52 {
		other := bytes.Clone(whole)
		other[n] ^= 1
		if items, err := read(snapshot.NewReader(bytes.NewReader(other))); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("altered at %d: %d items, %v", n, len(items), err)
		}
	}
	last, _ := written(t, line("/", "d"))
	end := last[len(last)-52:] // says that it was one path
	if items, err := read(snapshot.NewReader(bytes.NewReader(append(bytes.Clone(whole[:len(whole)-52]), end...)))); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("paths that the end does not count: %d items, %v", len(items), err)
	}
}

func TestUpTo(t *testing.T) {
	name := file(t, line("/", "d"), line("/a", "d"), line("/a/b", "f"), line("/a.c", "f"), line("/d", "f"))
	for _, c := range []struct {
		name   string
		asked  []hostpath.Path
		found  []bool
		before []hostpath.Path
	}{
		{"each", []hostpath.Path{"/", "/a", "/a/b", "/a.c", "/d"}, []bool{true, true, true, true, true}, nil},
		{"some", []hostpath.Path{"/a/b", "/d"}, []bool{true, true}, []hostpath.Path{"/", "/a", "/a.c"}},
		{"what is not there", []hostpath.Path{"/a/a", "/a/c", "/e"}, []bool{false, false, false}, []hostpath.Path{"/", "/a", "/a/b", "/a.c", "/d"}},
		{"all others", []hostpath.Path{"/a", ""}, []bool{true, false}, []hostpath.Path{"/", "/a/b", "/a.c", "/d"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, err := snapshot.OpenFile(name)
			if err != nil {
				t.Fatal(err)
			}
			defer at.Close()
			var before []hostpath.Path
			for n, p := range c.asked {
				i, err := at.UpTo(p, func(i *snapshot.Item) error { before = append(before, i.Path()); return nil })
				if err != nil {
					t.Fatal(err)
				}
				if (i != nil) != c.found[n] || i != nil && i.Path() != p {
					t.Errorf("%q: %v", p, i)
				}
			}
			if diff := cmp.Diff(c.before, before); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPairs(t *testing.T) {
	a := file(t, line("/", "d"), line("/a", "d"), line("/a/b", "f"), line("/d", "f"))
	b := file(t, line("/", "d"), line("/a", "d"), line("/a/c", "f"), line("/d", "d"), line("/e", "f"))
	var got []string
	if err := snapshot.Pairs(a, b, func(a, b *snapshot.Item) error {
		switch {
		case a == nil:
			got = append(got, "> "+b.Path().String())
		case b == nil:
			got = append(got, "< "+a.Path().String())
		default:
			got = append(got, string(a.Type())+string(b.Type())+" "+a.Path().String())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"dd /", "dd /a", "< /a/b", "> /a/c", "fd /d", "> /e"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// FuzzReader: what is no snapshot is refused; of what is taken, everything can be
// asked.
func FuzzReader(f *testing.F) {
	whole, _ := written(f, line("/", "d"), line("/a\n\\", "f"), line("/c", "l"))
	f.Add(whole)
	f.Add(whole[:60])
	f.Add([]byte("statelift snapshot 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := read(snapshot.NewReader(bytes.NewReader(data)))
		if err != nil && !errors.Is(err, snapshot.ErrDamaged) {
			t.Fatal(err)
		}
		for _, i := range items {
			ask(t, i)
		}
	})
}

// FuzzOfLine is for lines that come from another machine.
func FuzzOfLine(f *testing.F) {
	for _, i := range []snapshot.Item{line("/", "d"), line("/a\n\\", "f"), line("/c", "l")} {
		f.Add(i.Line())
	}
	f.Add([]byte("f\t0644\t0\t0\t1\t1\t-\t-\t-\t" + strings.Repeat("ab", 40) + "\t/longer than a digest\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := snapshot.OfLine(data)
		if err == nil {
			ask(t, i)
		}
	})
}

func ask(t *testing.T, i *snapshot.Item) {
	t.Helper()
	i.Type()
	i.Linked()
	sum := i.Sum()
	r, err := i.Record()
	if err != nil {
		return
	}
	if r.Path != i.Path() || r.SHA256 != sum || (r.Link != "") != i.Linked() {
		t.Errorf("the record of %q is %+v; asked, the line says %s %x", i.Line(), r, i.Path(), sum)
	}
}
