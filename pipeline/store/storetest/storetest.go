// Package storetest is what every [store.Store] has to pass.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/store"
)

// Run checks the stores that open makes. Each has to be empty and of its own;
// those that upload in parts should do so from 5 MiB on.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, f := range map[string]func(*testing.T, store.Store){
		"sizes":          sizes,
		"names":          names,
		"bad names":      badNames,
		"bad objects":    badObjects,
		"metadata":       metadata,
		"again":          again,
		"replace":        replace,
		"nothing there":  nothingThere,
		"wrong digest":   wrongDigest,
		"short source":   shortSource,
		"broken source":  brokenSource,
		"cancelled":      cancelled,
		"list":           list,
		"many":           many,
		"parallel":       parallel,
		"one name twice": oneNameTwice,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			f(t, s)
		})
	}
}

// Content is size bytes that depend on seed and do not repeat.
func Content(seed string, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b)
	return b
}

// ObjectOf describes content.
func ObjectOf(name string, content []byte) store.Object {
	sum := sha256.Sum256(content)
	return store.Object{Name: name, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

// Get reads an object whole.
func Get(t *testing.T, s store.Store, name string) ([]byte, store.Object) {
	t.Helper()
	r, o, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return b, o
}

func put(t *testing.T, s store.Store, name string, content []byte) {
	t.Helper()
	reused, err := s.Put(t.Context(), name, bytes.NewReader(content), ObjectOf(name, content))
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	if reused {
		t.Fatalf("Put %s: reused, but it was not there", name)
	}
}

// holds checks that exactly this is stored under name.
func holds(t *testing.T, s store.Store, name string, content []byte) {
	t.Helper()
	want := ObjectOf(name, content)
	o, err := s.Stat(t.Context(), name)
	if err != nil {
		t.Fatalf("Stat: %v", err)
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("Stat (-want +got):\n%s", diff)
	}
	got, o := Get(t, s, name)
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("Open (-want +got):\n%s", diff)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("%s: %d bytes came back that are not the %d stored", name, len(got), len(content))
	}
}

// absent checks that nothing is visible under name.
func absent(t *testing.T, s store.Store, name string) {
	t.Helper()
	if o, err := s.Stat(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Stat %s: %+v, %v, want ErrNotFound", name, o, err)
	}
	if r, _, err := s.Open(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Open %s: %v, want ErrNotFound", name, err)
		if err == nil {
			r.Close()
		}
	}
	if diff := cmp.Diff(map[string]int64{}, listed(t, s, name)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func listed(t *testing.T, s store.Store, prefix string) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if _, twice := got[o.Name]; twice {
			t.Errorf("List yields %s twice", o.Name)
		}
		got[o.Name] = o.Size
	}
	return got
}

func sizes(t *testing.T, s store.Store) {
	const mib = 1 << 20
	for _, size := range []int{0, 1, 4095, mib, 5 * mib, 5*mib + 1, 10 * mib, 17*mib + 3} {
		name := fmt.Sprintf("size/%d", size)
		content := Content(name, size)
		put(t, s, name, content)
		holds(t, s, name, content)
	}
}

func names(t *testing.T, s store.Store) {
	want := map[string]int64{}
	for i, name := range []string{
		"a", "b/c/d/e/f", "with space/and  two", "per%cent%2F%00", "plus+and&and=?#;:,@$!", "quote'\"`",
		`back\slash`, "ünïcödé/漢字/🙂", "e\u0301", "é", "dots..in.../.hidden/..x", "-dash", "~tilde",
		"UPPER", "upper", "<xml>&amp;</xml>", "[x]{y}*", strings.Repeat("n", 255),
		strings.Repeat("d/", 60) + "deep", "ends with dot.", "z ",
	} {
		content := Content(name, 10+i)
		put(t, s, name, content)
		holds(t, s, name, content)
		want[name] = int64(10 + i)
	}
	if diff := cmp.Diff(want, listed(t, s, "")); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func badNames(t *testing.T, s store.Store) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", "a\x00b", "a\nb", "\xff",
		strings.Repeat("n", 256), strings.Repeat("n/", 600) + "n", ".statelift/meta/x", ".statelift",
	} {
		if _, err := s.Put(t.Context(), name, strings.NewReader("x"), ObjectOf(name, []byte("x"))); err == nil {
			t.Errorf("Put %q: no error", name)
		}
		if _, err := s.Stat(t.Context(), name); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("Stat %q: %v, want an error that says the name is wrong", name, err)
		}
		if r, _, err := s.Open(t.Context(), name); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("Open %q: %v, want an error that says the name is wrong", name, err)
			if err == nil {
				r.Close()
			}
		}
	}
	if diff := cmp.Diff(map[string]int64{}, listed(t, s, "")); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func badObjects(t *testing.T, s store.Store) {
	good := ObjectOf("x", []byte("x"))
	for what, change := range map[string]func(*store.Object){
		"no digest":        func(o *store.Object) { o.SHA256 = "" },
		"short digest":     func(o *store.Object) { o.SHA256 = o.SHA256[:62] },
		"upper digest":     func(o *store.Object) { o.SHA256 = strings.ToUpper(o.SHA256) },
		"negative size":    func(o *store.Object) { o.Size = -1 },
		"metadata key":     func(o *store.Object) { o.Metadata = map[string]string{"Bad_Key": "x"} },
		"our metadata key": func(o *store.Object) { o.Metadata = map[string]string{"statelift-sha256": "x"} },
		"empty metadata":   func(o *store.Object) { o.Metadata = map[string]string{"k": ""} },
		"much metadata":    func(o *store.Object) { o.Metadata = map[string]string{"k": strings.Repeat("v", 2000)} },
	} {
		o := good
		change(&o)
		if _, err := s.Put(t.Context(), "x", strings.NewReader("x"), o); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	absent(t, s, "x")
}

func metadata(t *testing.T, s store.Store) {
	for _, size := range []int{5, 11 << 20} {
		name := fmt.Sprintf("m/%d", size)
		content := Content(name, size)
		o := ObjectOf(name, content)
		o.Metadata = map[string]string{
			"path": "/var/backups/ünï \"x\"/%2F+1.sql.gz", "mode": "0600", "spaces": "  a  ", "line": "a\nb\tc", "k1-2": "=;,",
		}
		if _, err := s.Put(t.Context(), name, bytes.NewReader(content), o); err != nil {
			t.Fatalf("Put: %v", err)
		}
		got, err := s.Stat(t.Context(), name)
		if err != nil {
			t.Fatalf("Stat: %v", err)
		}
		if diff := cmp.Diff(o, got); diff != "" {
			t.Errorf("Stat (-want +got):\n%s", diff)
		}
		_, got = Get(t, s, name)
		if diff := cmp.Diff(o, got); diff != "" {
			t.Errorf("Open (-want +got):\n%s", diff)
		}
	}
}

// again: what is there is not read, not even opened.
func again(t *testing.T, s store.Store) {
	for _, size := range []int{0, 100, 6 << 20} {
		name := fmt.Sprintf("again/%d", size)
		content := Content(name, size)
		put(t, s, name, content)
		reused, err := s.Put(t.Context(), name, broken{}, ObjectOf(name, content))
		if err != nil || !reused {
			t.Errorf("second Put: reused %v, %v", reused, err)
		}
		holds(t, s, name, content)
	}
}

func replace(t *testing.T, s store.Store) {
	for i, sizes := range [][2]int{{10, 10}, {10, 20}, {6 << 20, 3}, {3, 6 << 20}, {6 << 20, 6 << 20}} {
		name := fmt.Sprintf("replace/%d", i)
		put(t, s, name, Content("old", sizes[0]))
		put(t, s, name, Content("new", sizes[1]))
		holds(t, s, name, Content("new", sizes[1]))
	}
}

func nothingThere(t *testing.T, s store.Store) {
	absent(t, s, "a")
	put(t, s, "a", []byte("a"))
	absent(t, s, "b")
	absent(t, s, "a/b")
	put(t, s, "c/d/e", []byte("e"))
	if _, err := s.Stat(t.Context(), "c/d"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Stat of a folder: %v, want ErrNotFound", err)
	}
	if _, _, err := s.Open(t.Context(), "c"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Open of a folder: %v, want ErrNotFound", err)
	}
}

func wrongDigest(t *testing.T, s store.Store) {
	for _, size := range []int{100, 12 << 20} {
		content := Content("right", size)
		o := ObjectOf("w", content)
		content[size-1] ^= 1
		if _, err := s.Put(t.Context(), "w", bytes.NewReader(content), o); !errors.Is(err, store.ErrMismatch) {
			t.Errorf("%d bytes: %v, want ErrMismatch", size, err)
		}
		absent(t, s, "w")
	}
	put(t, s, "w", []byte("right"))
	o := ObjectOf("w", []byte("other"))
	if _, err := s.Put(t.Context(), "w", strings.NewReader("wrong"), o); !errors.Is(err, store.ErrMismatch) {
		t.Errorf("over an object: %v, want ErrMismatch", err)
	}
	holds(t, s, "w", []byte("right"))
}

func shortSource(t *testing.T, s store.Store) {
	for _, size := range []int{100, 12 << 20} {
		content := Content("short", size)
		_, err := s.Put(t.Context(), "s", bytes.NewReader(content[:size-1]), ObjectOf("s", content))
		if !errors.Is(err, store.ErrMismatch) {
			t.Errorf("%d bytes: %v, want ErrMismatch", size, err)
		}
		absent(t, s, "s")
	}
}

var errBroken = errors.New("input/output error of the disk")

// broken is a source that cannot be read from at on.
type broken struct {
	content []byte
	at      int64
}

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, errBroken
	}
	return copy(p, b.content[off:]), nil
}

func brokenSource(t *testing.T, s store.Store) {
	for _, at := range []int64{0, 7 << 20} {
		content := Content("broken", 12<<20)
		_, err := s.Put(t.Context(), "b", broken{content, at}, ObjectOf("b", content))
		if !errors.Is(err, errBroken) {
			t.Errorf("broken at %d: %v, want the error of the source", at, err)
		}
		absent(t, s, "b")
	}
	put(t, s, "b", Content("broken", 12<<20))
	holds(t, s, "b", Content("broken", 12<<20))
}

// stopping cancels when the source is read at or after at.
type stopping struct {
	io.ReaderAt
	at   int64
	stop context.CancelFunc
}

func (s stopping) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.at {
		s.stop()
	}
	return s.ReaderAt.ReadAt(p, off)
}

func cancelled(t *testing.T, s store.Store) {
	content := Content("cancelled", 22<<20)
	for _, at := range []int64{0, 1 << 20, 9 << 20, 21 << 20} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Put(ctx, "c", stopping{bytes.NewReader(content), at, cancel}, ObjectOf("c", content))
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped at %d: %v, want context.Canceled", at, err)
		}
		absent(t, s, "c")
	}
	put(t, s, "c", content)
	holds(t, s, "c", content)
}

func list(t *testing.T, s store.Store) {
	all := map[string]int64{"a": 1, "ab/c": 2, "ab/cd": 3, "ab/ce/f": 4, "ab-x": 5, "b/a": 6, "ab.d/e": 7}
	for name, size := range all {
		put(t, s, name, Content(name, int(size)))
	}
	for _, prefix := range []string{"", "a", "ab", "ab/", "ab/c", "ab/cd", "ab/ce/", "b", "b/a", "c", "ab/ce/f/g", "../", "ab/ce//"} {
		want := maps.Clone(all)
		maps.DeleteFunc(want, func(name string, _ int64) bool { return !strings.HasPrefix(name, prefix) })
		if diff := cmp.Diff(want, listed(t, s, prefix)); diff != "" {
			t.Errorf("List %q (-want +got):\n%s", prefix, diff)
		}
	}
	for range s.List(t.Context(), "") {
		break // an iterator that is left must not panic
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("List with an ended context: %v", err)
		}
	}
}

// many is more than what S3 lists in one answer.
func many(t *testing.T, s store.Store) {
	const n = 1100
	want := map[string]int64{}
	var wg sync.WaitGroup
	room := make(chan struct{}, 8)
	for i := range n {
		name := fmt.Sprintf("many/%04d", i)
		want[name] = 4
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			content := fmt.Appendf(nil, "%04d", i)
			if _, err := s.Put(t.Context(), name, bytes.NewReader(content), ObjectOf(name, content)); err != nil {
				t.Errorf("Put: %v", err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(want, listed(t, s, "many/")); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func parallel(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			name := fmt.Sprintf("p/%d", i)
			content := Content(name, 6<<20+i)
			if _, err := s.Put(t.Context(), name, bytes.NewReader(content), ObjectOf(name, content)); err != nil {
				t.Errorf("Put: %v", err)
			}
		})
	}
	wg.Wait()
	for i := range 6 {
		name := fmt.Sprintf("p/%d", i)
		holds(t, s, name, Content(name, 6<<20+i))
	}
}

// oneNameTwice: who loses may get an error, but the object is whole in the end.
func oneNameTwice(t *testing.T, s store.Store) {
	content := Content("twice", 11<<20)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 4 {
		wg.Go(func() {
			_, err := s.Put(t.Context(), "t", bytes.NewReader(content), ObjectOf("t", content))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			}
		})
	}
	wg.Wait()
	if won == 0 {
		t.Error("no Put of four succeeded")
	}
	holds(t, s, "t", content)
}
