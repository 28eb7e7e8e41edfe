package objects_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer/hosttest"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/objects"
)

func everything(tree.Entry) hosttest.Place { return hosttest.Place{Class: claim.Object} }

func prepare(t *testing.T, root string, place func(tree.Entry) hosttest.Place) *pipeline.Env {
	t.Helper()
	env := hosttest.Env(t, t.TempDir())
	hosttest.Inventory(t, env, root, place)
	return env
}

func lift(t *testing.T, env *pipeline.Env, root string, open func(context.Context, string) (store.Store, error)) (handoff.Objects, error) {
	t.Helper()
	return objects.New(objects.Options{}, open).Run(t.Context(), env, handoff.Source{Root: root}, handoff.Plan{})
}

func mustLift(t *testing.T, env *pipeline.Env, root string) handoff.Objects {
	t.Helper()
	out, err := lift(t, env, root, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func openStore(t *testing.T, env *pipeline.Env) store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), env.Workspace.Path(workspace.Store), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// index reads the index and every object it names.
func index(t *testing.T, env *pipeline.Env, out handoff.Objects) (lines []handoff.IndexEntry, text string) {
	t.Helper()
	st := openStore(t, env)
	raw := get(t, st, out.Index)
	sum := exec.Command("sha256sum")
	sum.Stdin = strings.NewReader(raw)
	if got, err := sum.Output(); err != nil || string(got[:64]) != out.IndexSHA256 {
		t.Errorf("the index has SHA-256 %s, the hand-off says %s (%v)", got, out.IndexSHA256, err)
	}
	s := bufio.NewScanner(strings.NewReader(raw))
	for s.Scan() {
		var l handoff.IndexEntry
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines, raw
}

func get(t *testing.T, st store.Store, name string) string {
	t.Helper()
	r, _, err := st.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The index says of every path what find(1) says, and the objects are, byte for
// byte, the files.
func TestObjectsAreTheFiles(t *testing.T) {
	root := t.TempDir()
	if err := trees.Every(root); err != nil {
		t.Fatal(err)
	}
	env := prepare(t, root, everything)
	out := mustLift(t, env, root)
	lines, _ := index(t, env, out)
	// NUL separates, since names hold everything else. The order is that of the
	// index, so both are compared as sets.
	found, err := exec.Command("find", root, "-printf", `%P\0%y %m %U %G %T@ %l \0%s\0`).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	fields := strings.Split(strings.TrimSuffix(string(found), "\x00"), "\x00")
	for i := 0; i < len(fields); i += 3 {
		path, meta, size := fields[i], fields[i+1], fields[i+2]
		if !strings.HasPrefix(meta, "f ") {
			size = ""
		}
		want["/"+path] = meta + size
	}
	got := map[string]string{}
	st := openStore(t, env)
	var last hostpath.Path
	for _, l := range lines {
		if last != "" && hostpath.Compare(last, l.Path) >= 0 {
			t.Errorf("%s comes after %s", l.Path, last)
		}
		last = l.Path
		size := ""
		if l.Type == "f" {
			size = fmt.Sprint(l.Size)
			data, err := os.ReadFile(root + string(l.Path))
			if err != nil {
				t.Fatal(err)
			}
			if get(t, st, l.Object) != string(data) {
				t.Errorf("%s: object %s has other content", l.Path, l.Object)
			}
		} else if l.Object != "" || l.SHA256 != "" {
			t.Errorf("%s of type %s has an object", l.Path, l.Type)
		}
		target, err := hostpath.Unquote(l.Target)
		if err != nil {
			t.Error(err)
		}
		sec, nsec := l.Mtime/1e9, l.Mtime%1e9
		if nsec < 0 {
			sec, nsec = sec-1, nsec+1e9
		}
		got[string(l.Path)] = fmt.Sprintf("%s %o %d %d %d.%09d0 %s %s", l.Type, l.Mode, l.UID, l.GID, sec, nsec, target, size)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("find and the index differ:\n%s", diff)
	}
	sums := map[string]string{}
	for _, l := range lines {
		if l.Type == "f" {
			sums[l.SHA256] = "x"
		}
	}
	listed, err := exec.Command("sh", "-c", `find "$1" -type f -exec sha256sum -z {} + | tr '\0' '\n' | grep -aoE '^[0-9a-f]{64}  /' | cut -c1-64`, "sh", root).Output()
	if err != nil {
		t.Fatal(err)
	}
	for s := range strings.FieldsSeq(string(listed)) {
		if sums[s] == "" {
			t.Errorf("sha256sum prints %s, which the index has not", s)
		}
	}
}

// A further path of an inode is the object of the first.
func TestHardLinks(t *testing.T) {
	root := t.TempDir()
	for _, cmd := range []string{`echo x >"$1/a"`, `ln "$1/a" "$1/b"`} {
		if err := exec.Command("sh", "-c", cmd, "sh", root).Run(); err != nil {
			t.Fatal(err)
		}
	}
	env := prepare(t, root, everything)
	out := mustLift(t, env, root)
	lines, _ := index(t, env, out)
	if lines[1].Object != "objects/a" || lines[2].Object != "objects/a" || out.Count != 2 || out.Bytes != 2 {
		t.Errorf("index = %+v, %+v", lines, out)
	}
	// With a first path of another class it is an object of its own.
	env = prepare(t, root, func(e tree.Entry) hosttest.Place {
		if e.Path == "/a" {
			return hosttest.Place{Class: claim.Volume}
		}
		return hosttest.Place{Class: claim.Object}
	})
	lines, _ = index(t, env, mustLift(t, env, root))
	if len(lines) != 2 || lines[1].Object != "objects/b" {
		t.Errorf("index = %+v", lines)
	}
}

func TestNothing(t *testing.T) {
	root := t.TempDir()
	env := prepare(t, root, func(tree.Entry) hosttest.Place { return hosttest.Place{Class: claim.Drop} })
	out := mustLift(t, env, root)
	lines, _ := index(t, env, out)
	if len(lines) != 0 || out.Count != 0 || out.Bytes != 0 {
		t.Errorf("%d lines, %+v", len(lines), out)
	}
}

// faulty passes calls on until its budget of puts is used up.
type faulty struct {
	store.Store
	puts *atomic.Int64
	fail func(n int64) error
}

func (f faulty) Put(ctx context.Context, name string, r io.ReaderAt, o store.Object) (bool, error) {
	if err := f.fail(f.puts.Add(1)); err != nil {
		return false, err
	}
	return f.Store.Put(ctx, name, r, o)
}

func withFaults(puts *atomic.Int64, fail func(n int64) error) func(context.Context, string) (store.Store, error) {
	return func(ctx context.Context, spec string) (store.Store, error) {
		st, err := store.Open(ctx, spec, store.Options{})
		return faulty{Store: st, puts: puts, fail: fail}, err
	}
}

// Stopped after any number of objects, the next run sends only the others, and
// the result is that of an undisturbed run.
func TestResume(t *testing.T) {
	root := t.TempDir()
	if err := trees.Every(root); err != nil {
		t.Fatal(err)
	}
	undisturbed := prepare(t, root, everything)
	want := mustLift(t, undisturbed, root)
	_, wantIndex := index(t, undisturbed, want)
	env := prepare(t, root, everything)
	var puts atomic.Int64
	broken := errors.New("the store is gone")
	for range 100 {
		puts.Store(0)
		_, err := lift(t, env, root, withFaults(&puts, func(n int64) error {
			if n > 7 {
				return broken
			}
			return nil
		}))
		if err == nil {
			break
		}
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	puts.Store(0)
	out, err := lift(t, env, root, withFaults(&puts, func(int64) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	if puts.Load() != 1 { // the index, which the store has already
		t.Errorf("the last run put %d objects again", puts.Load())
	}
	_, gotIndex := index(t, env, out)
	want.Store, out.Store = "", ""
	if diff := cmp.Diff(want, out); diff != "" || gotIndex != wantIndex {
		t.Errorf("the result differs:\n%s", diff)
	}
	// An object that somebody removed from the store is sent again.
	if err := os.RemoveAll(env.Workspace.Path(workspace.Store)); err != nil {
		t.Fatal(err)
	}
	mustLift(t, env, root)
	index(t, env, out)
}

// Files that changed since the scan are named, and not in the index; the others
// are.
func TestChanged(t *testing.T) {
	root := t.TempDir()
	for _, n := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(root, n), []byte("as scanned"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := prepare(t, root, everything)
	if err := exec.Command("sh", "-c", `rm "$1/a"; echo more >>"$1/b"`, "sh", root).Run(); err != nil {
		t.Fatal(err)
	}
	out, err := lift(t, env, root, nil)
	var inc *pipeline.Incomplete
	if !errors.As(err, &inc) {
		t.Fatalf("error = %v, want Incomplete", err)
	}
	if len(inc.Because) != 2 || !strings.HasPrefix(inc.Because[0], "/a changed since the scan: gone") || !strings.HasPrefix(inc.Because[1], "/b changed since the scan: size 15, was 10") {
		t.Errorf("reasons = %q", inc.Because)
	}
	lines, _ := index(t, env, out)
	if len(lines) != 2 || lines[1].Path != "/c" || out.Count != 1 {
		t.Errorf("index = %+v", lines)
	}
}

// A file that changes between the two readings is named as such.
func TestChangedWhileRead(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("first"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := prepare(t, root, everything)
	var puts atomic.Int64
	_, err := lift(t, env, root, withFaults(&puts, func(n int64) error {
		if n == 1 {
			return os.WriteFile(filepath.Join(root, "a"), []byte("other"), 0o644)
		}
		return nil
	}))
	var inc *pipeline.Incomplete
	if !errors.As(err, &inc) || len(inc.Because) != 1 || !strings.HasPrefix(inc.Because[0], "/a changed") {
		t.Errorf("error = %v, want that /a changed", err)
	}
}

// Every name is one that stores take, and no two paths share one.
func TestName(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, p := range []hostpath.Path{
		"/a", "/a b", "/a\nb", "/a\xffb", `/a\xffb`, "/a\\b", "/ä", "/.statelift/x",
		hostpath.Path("/" + long), hostpath.Path("/" + strings.Repeat("\xff", 255)),
		hostpath.Path("/" + strings.Repeat(long+"/", 15) + "x"),
	} {
		if err := store.ValidName(objects.Name(p)); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if objects.Name("/a\xffb") == objects.Name(`/a\xffb`) {
		t.Error("two paths have one name")
	}
}

func FuzzName(f *testing.F) {
	f.Add("/a", "/b")
	f.Add("/a\xff", `/a\xff`)
	f.Add("/"+strings.Repeat("\n", 255), "/x")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsRune(a+b, 0) {
			return
		}
		p, q := hostpath.Clean(a), hostpath.Clean(b)
		if p == hostpath.Root || q == hostpath.Root {
			return
		}
		if err := store.ValidName(objects.Name(p)); err != nil {
			t.Error(err)
		}
		if (p == q) != (objects.Name(p) == objects.Name(q)) {
			t.Errorf("%q and %q are %s and %s", p, q, objects.Name(p), objects.Name(q))
		}
	})
}

// What the store lost is noticed without reading it all.
func TestRecheck(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := prepare(t, root, everything)
	out := mustLift(t, env, root)
	stale := func() string {
		t.Helper()
		why, err := objects.New(objects.Options{}, nil).Recheck(t.Context(), env, out)
		if err != nil {
			t.Error(err)
		}
		return why
	}
	if why := stale(); why != "" {
		t.Errorf("stale right after the run: %s", why)
	}
	for _, name := range []string{"objects/a", objects.IndexName} {
		file := env.Workspace.Path(workspace.Store, name)
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		if why := stale(); !strings.Contains(why, name) {
			t.Errorf("without %s: %q", name, why)
		}
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
	}
}
