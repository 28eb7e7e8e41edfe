package catalog_test

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

func sample() []catalog.Entry {
	file := func(p hostpath.Path, ino uint64, size int64) catalog.Entry {
		return catalog.Entry{Entry: tree.Entry{Path: p, Type: tree.Regular, Mode: 0o644, Size: size, Allocated: 4096, Ino: ino, Dev: 1 << 63, Nlink: 1, Mtime: -1}}
	}
	dir := func(p hostpath.Path) catalog.Entry {
		return catalog.Entry{Entry: tree.Entry{Path: p, Type: tree.Directory, Mode: 0o755, Nlink: 2}}
	}
	first, second, other := file("/a/one", 10, 100), file("/a/two", 10, 100), file("/a-b", 11, 7)
	first.Nlink, second.Nlink = 2, 2
	odd := file("/z\xff\n", 12, 1)
	odd.Xattrs = []tree.Xattr{{Name: "user.caf\xe9", Value: []byte("not UTF-8")}, {Name: "user.x", Value: []byte{0, 1, 255}}}
	odd.Package, odd.State = "bash", catalog.Same
	return []catalog.Entry{dir("/"), dir("/a"), first, second, other, odd}
}

func fill(t *testing.T, entries []catalog.Entry) (name, digest string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "odd ?#% name", "inventory.db")
	if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := catalog.Create(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := w.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.AddFact(t.Context(), facts.KindUser, "root", facts.Source{Path: "/etc/passwd", Line: 1}, facts.User{Name: "root", Home: "/root"}); err != nil {
		t.Fatal(err)
	}
	digest, err = w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return name, digest
}

func open(t *testing.T, name string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	name, _ := fill(t, sample())
	c := open(t, name)
	want := sample()
	for i := range want {
		want[i].ID = int64(i + 1)
	}
	want[3].Link = 3
	var got []catalog.Entry
	for e, err := range c.Entries(t.Context(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Entry)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	users, err := catalog.Facts[facts.User](t.Context(), c, facts.KindUser)
	if err != nil || len(users) != 1 || users[0].Home != "/root" {
		t.Errorf("users %v, %v", users, err)
	}
	total, err := c.Total(t.Context())
	if err != nil || total.Entries != 6 || total.Files != 4 || total.Bytes != 108 {
		t.Errorf("total %+v, %v; want 6 entries, 4 files, 108 bytes with the hard link counted once", total, err)
	}
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode of the database: %v, %v", fi.Mode(), err)
	}
}

func TestUnderSelectsOneSubtree(t *testing.T) {
	name, _ := fill(t, sample())
	c := open(t, name)
	for under, want := range map[hostpath.Path][]string{
		"/a": {"/a", "/a/one", "/a/two"}, "/a-b": {"/a-b"}, "/nothing": nil, "/z\xff\n": {`/z\xff\n`},
	} {
		var got []string
		for e, err := range c.Entries(t.Context(), catalog.Filter{Under: under}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Path.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("under %s: %s", under, diff)
		}
	}
}

func TestBatchesLoseNothing(t *testing.T) {
	entries := []catalog.Entry{{Entry: tree.Entry{Path: "/", Type: tree.Directory}}}
	for i := range 10_000 {
		entries = append(entries, catalog.Entry{Entry: tree.Entry{Path: hostpath.Path(fmt.Sprintf("/%06d", i)), Type: tree.Regular, Size: 1, Ino: uint64(i), Nlink: 1}})
	}
	name, _ := fill(t, entries)
	c := open(t, name)
	n := 0
	for e, err := range c.Entries(t.Context(), catalog.Filter{}) {
		if err != nil || e.Path != entries[n].Path {
			t.Fatalf("entry %d is %s (%v)", n, e.Path, err)
		}
		n++
	}
	if n != len(entries) {
		t.Errorf("%d of %d entries", n, len(entries))
	}
}

func TestDigestTellsEveryChange(t *testing.T) {
	_, before := fill(t, sample())
	if _, again := fill(t, sample()); again != before {
		t.Errorf("the same source gives %s and %s", before, again)
	}
	for name, change := range map[string]func(*catalog.Entry){
		"mode": func(e *catalog.Entry) { e.Mode = 0o600 }, "mtime": func(e *catalog.Entry) { e.Mtime++ },
		"ctime": func(e *catalog.Entry) { e.Ctime++ }, "size": func(e *catalog.Entry) { e.Size++ },
		"owner": func(e *catalog.Entry) { e.UID = 5 }, "xattr": func(e *catalog.Entry) { e.Xattrs = []tree.Xattr{{Name: "user.a"}} },
		"state": func(e *catalog.Entry) { e.State = catalog.Changed },
	} {
		entries := sample()
		change(&entries[4])
		if _, after := fill(t, entries); after == before {
			t.Errorf("a changed %s leaves the digest as it was", name)
		}
	}
}

func TestWrongOrderIsRefused(t *testing.T) {
	w, err := catalog.Create(t.Context(), filepath.Join(t.TempDir(), "inventory.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	entries := sample()
	if err := w.Add(t.Context(), entries[4]); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(t.Context(), entries[2]); err == nil {
		t.Error("/a/one after /a-b was accepted")
	}
}

func TestAbortLeavesTheOldInventory(t *testing.T) {
	name, _ := fill(t, sample())
	w, err := catalog.Create(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(t.Context(), sample()[0]); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if total, err := open(t, name).Total(t.Context()); err != nil || total.Entries != 6 {
		t.Errorf("total %+v, %v", total, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(name), ".new*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func place(t *testing.T, c *catalog.Catalog, class claim.Class) *catalog.Placement {
	t.Helper()
	p, err := c.BeginPlacement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Claim(t.Context(), claim.Claim{ID: 1, Class: class, Reach: claim.Tree, Path: "/", Reason: "test", Confidence: claim.High, By: "test", Evidence: []claim.Evidence{{Path: "/x", Line: 3}}}); err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Entries(t.Context(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Place(t.Context(), e.ID, class, 1); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestPlacementIsAllOrNothing(t *testing.T) {
	name, _ := fill(t, sample())
	c := open(t, name)
	digest, err := place(t, c, claim.Image).Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	place(t, c, claim.Drop).Abort()
	tallies, err := c.Tallies(t.Context())
	if err != nil || len(tallies) != 1 || tallies[0].Class != claim.Image || tallies[0].Entries != 6 || tallies[0].Bytes != 108 {
		t.Errorf("after an abort: %+v, %v", tallies, err)
	}
	if got, err := c.Meta(t.Context(), catalog.MetaPlacements); err != nil || got != digest {
		t.Errorf("digest in the database %q (%v), want %q", got, err, digest)
	}
	claims, err := c.Claims(t.Context())
	if err != nil || len(claims) != 1 || claims[0].Evidence[0].Line != 3 {
		t.Errorf("claims %+v, %v", claims, err)
	}
}

// TestUsersCanQuery is the promise of the schema's comment, with the ordinary
// client as a user would call it.
func TestUsersCanQuery(t *testing.T) {
	name, _ := fill(t, sample())
	c := open(t, name)
	if _, err := place(t, c, claim.Volume).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sqlite3", "-readonly", name, "SELECT bytes, class, reason FROM paths WHERE path='/a/one'").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "100|volume|test" {
		t.Errorf("sqlite3 says %q (%v)", out, err)
	}
}

// tangled has names that sort otherwise among their siblings than whole paths do.
func tangled() []catalog.Entry {
	var out []catalog.Entry
	add := func(p hostpath.Path, t tree.Type) {
		out = append(out, catalog.Entry{Entry: tree.Entry{Path: p, Type: t, Size: 10, Nlink: 1}})
	}
	add("/", tree.Directory)
	for _, top := range []string{"/a", "/a b", "/a!", "/a-b", "/a.d", "/a0", "/a\xff", "/b"} {
		add(hostpath.Path(top), tree.Directory)
		for _, name := range []string{"/!", "/a", "/a/x", "/a-x", "/z"} {
			t := tree.Regular
			if name == "/a" {
				t = tree.Directory
			}
			add(hostpath.Path(top+name), t)
		}
	}
	slices.SortFunc(out, func(a, b catalog.Entry) int { return hostpath.Compare(a.Path, b.Path) })
	return out
}

// What bisection finds is what a plain pass finds.
func TestFindingAgainstPlainPass(t *testing.T) {
	entries := tangled()
	name, _ := fill(t, entries)
	c := open(t, name)
	for i, e := range entries {
		got, err := c.Find(e.Path)
		if err != nil || got.ID != int64(i+1) || got.Path != e.Path {
			t.Errorf("%s: found %d %s (%v)", e.Path, got.ID, got.Path, err)
		}
		if _, err := c.Find(e.Path + "\x01"); !errors.Is(err, catalog.ErrNoPath) {
			t.Errorf("%s and a byte more: %v", e.Path, err)
		}
		after := i + 1
		for after < len(entries) && entries[after].Path.Within(e.Path) {
			after++
		}
		if got, err := c.After(int64(i+1), e.Path); err != nil || got != int64(after+1) {
			t.Errorf("after %s comes %d (%v), want %d", e.Path, got, err, after+1)
		}
		for n := 1; n <= len(e.Path); n++ {
			prefix := string(e.Path[:n])
			from, to, err := c.Span(prefix)
			for k, other := range entries {
				if in := from <= int64(k+1) && int64(k+1) < to; err != nil || in != strings.HasPrefix(string(other.Path), prefix) {
					t.Fatalf("span of %q is %d to %d (%v), and %q is number %d", prefix, from, to, err, other.Path, k+1)
				}
			}
		}
	}
}

func TestGlobAgainstPlainPass(t *testing.T) {
	entries := tangled()
	name, _ := fill(t, entries)
	c := open(t, name)
	for _, pattern := range []hostpath.Path{"/a", "/a*", "/*/a/x", "/a/**", "/**/x", "/a?b/z", "/nothing/*", "/a*/a*"} {
		var want []hostpath.Path
		for _, e := range entries {
			if claim.MatchGlob(pattern, e.Path) {
				want = append(want, e.Path)
			}
		}
		got, err := c.Glob(t.Context(), claim.NewPattern(pattern), 1000)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", pattern, err, diff)
		}
		if got, err := c.Glob(t.Context(), claim.NewPattern(pattern), 1); err != nil || len(got) != min(1, len(want)) {
			t.Errorf("%s, the first: %v %v", pattern, got, err)
		}
	}
}

// Classes by runs, with entries between them that have none.
func TestClassesByRuns(t *testing.T) {
	entries := tangled()
	name, _ := fill(t, entries)
	c := open(t, name)
	p, err := c.BeginPlacement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	classes := make([]claim.Class, len(entries))
	for i := range entries {
		if classes[i] = []claim.Class{"", claim.Image, claim.Image, claim.Volume, claim.Drop}[i/3%5]; classes[i] != "" {
			if err := p.Place(t.Context(), int64(i+1), classes[i], int64(i/3+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Place(t.Context(), 5, claim.Image, 1); err == nil {
		t.Error("an entry was placed after a later one")
	}
	if _, err := p.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, class := range []claim.Class{"", claim.Image, claim.Volume, claim.Object} {
		for _, under := range []hostpath.Path{"", "/a", "/a-b/a", "/b"} {
			var want, got []hostpath.Path
			for i, e := range entries {
				if (class == "" || classes[i] == class) && (under == "" || e.Path.Within(under)) {
					want = append(want, e.Path)
				}
			}
			for e, err := range c.Entries(t.Context(), catalog.Filter{Class: class, Under: under}) {
				if err != nil || e.Class != classes[e.ID-1] || e.Class != "" && e.Claim != (e.ID-1)/3+1 {
					t.Fatalf("%s: %s %d (%v)", e.Path, e.Class, e.Claim, err)
				}
				got = append(got, e.Path)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("class %q under %q: %s", class, under, diff)
			}
		}
	}
	tallies := map[claim.Class]catalog.Tally{}
	for i, e := range entries {
		if got, err := c.Lookup(t.Context(), e.Path); err != nil || got.Class != classes[i] {
			t.Errorf("%s is %q (%v), want %q", e.Path, got.Class, err, classes[i])
		}
		k := tallies[classes[i]]
		k.Class, k.Entries = classes[i], k.Entries+1
		if e.Type == tree.Regular {
			k.Files, k.Bytes = k.Files+1, k.Bytes+10
		}
		tallies[classes[i]] = k
	}
	got, err := c.Tallies(t.Context())
	if diff := cmp.Diff(slices.SortedFunc(maps.Values(tallies), func(a, b catalog.Tally) int { return strings.Compare(string(a.Class), string(b.Class)) }), got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	sizes := map[claim.Class]catalog.Tally{}
	for s, err := range c.Sizes(t.Context(), func(class claim.Class, _ int64) bool { return class != claim.Image }) {
		if err != nil || string(s.Path) != string(entries[s.ID-1].Path) {
			t.Fatalf("%d is %s (%v)", s.ID, s.Path, err)
		}
		k := sizes[s.Class]
		k.Class, k.Entries, k.Bytes = s.Class, k.Entries+1, k.Bytes+s.Bytes
		if s.File {
			k.Files++
		}
		sizes[s.Class] = k
	}
	delete(tallies, "")
	delete(tallies, claim.Image)
	if diff := cmp.Diff(tallies, sizes); diff != "" {
		t.Error(diff)
	}
	// As users see it.
	out, err := exec.Command("sqlite3", "-readonly", name, "SELECT coalesce(class,'') FROM paths ORDER BY id").Output()
	if want := fmt.Sprint(classes); err != nil || "["+strings.ReplaceAll(strings.TrimSuffix(string(out), "\n"), "\n", " ")+"]" != want {
		t.Errorf("the view says %q (%v), want %q", out, err, want)
	}
}

func TestLookupSaysWhatIsMissing(t *testing.T) {
	name, _ := fill(t, sample())
	if _, err := open(t, name).Lookup(t.Context(), "/nowhere"); !errors.Is(err, catalog.ErrNoPath) {
		t.Errorf("error %v", err)
	}
}

func TestOtherSchemaIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "inventory.db")
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version=99; CREATE TABLE x (y)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := catalog.Open(t.Context(), name); err == nil || !strings.Contains(err.Error(), "schema 99") {
		t.Errorf("error %v", err)
	}
}
