package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/store/storetest"
	"github.com/statelift/statelift/pipeline/store/storetest/faults"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

const mib = 1 << 20

// sumOnDisk is what sha256sum says of the file that the server made.
func sumOnDisk(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.Command("sha256sum", file).Output()
	if err != nil {
		t.Fatalf("sha256sum: %v", err)
	}
	sum, _, _ := strings.Cut(string(out), " ")
	return sum
}

func (e *bed) file(name string) string {
	return filepath.Join(e.server.Folder, e.prefix, name)
}

// bed is a server behind a proxy, with one place in its bucket.
type bed struct {
	server *s3server.Server
	proxy  *faults.Proxy
	prefix string
}

func newBed(t *testing.T, server *s3server.Server) *bed {
	return &bed{server: server, proxy: faults.New(t, server.Endpoint), prefix: prefixOf(t)}
}

// open is a new client, as a new process has.
func (e *bed) open(t *testing.T, o store.Options) store.Store {
	t.Helper()
	o.Environment = e.server.Environment
	o.PartSize = 5 * mib
	if o.Backoff == 0 {
		o.Backoff = 5 * time.Millisecond
	}
	s, err := store.Open(t.Context(), e.server.Spec(e.proxy.URL, e.prefix), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustPut(t *testing.T, s store.Store, name string, content []byte) {
	t.Helper()
	if _, err := s.Put(t.Context(), name, bytes.NewReader(content), storetest.ObjectOf(name, content)); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// partsSent are the numbers of the parts that reached the server.
func partsSent(requests []faults.Request) (numbers []string) {
	for _, r := range requests {
		if r.Method == http.MethodPut && r.URL.Query().Has("partNumber") {
			numbers = append(numbers, r.URL.Query().Get("partNumber"))
		}
	}
	return numbers
}

func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

func TestS3OnDisk(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	s := e.open(t, store.Options{})
	for _, size := range []int{0, 100, 23 * mib} {
		name := fmt.Sprintf("disk/%d", size)
		content := storetest.Content(name, size)
		mustPut(t, s, name, content)
		if got, want := sumOnDisk(t, e.file(name)), storetest.ObjectOf(name, content).SHA256; got != want {
			t.Errorf("%s: sha256sum says %s on the server's disk, want %s", name, got, want)
		}
	}
}

// An upload that was stopped goes on: no part that the server confirmed is sent
// again, by a client that knows nothing of the first one.
func TestS3Resume(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	content := storetest.Content("resume", 8*5*mib+77)
	o := storetest.ObjectOf("r", content)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Four parts get through, and those after them reach no server: nothing is on
	// its way there when the first client stops.
	e.proxy.Decide(func(r *http.Request) faults.Fault {
		if n, err := strconv.Atoi(r.URL.Query().Get("partNumber")); r.Method == http.MethodPut && err == nil && n > 4 {
			return faults.Stall
		}
		return faults.None
	})
	var confirmed atomic.Int64
	s := e.open(t, store.Options{Parallel: 2, Progress: func(n int64) {
		if confirmed.Add(n) >= 4*5*mib {
			cancel()
		}
	}})
	if _, err := s.Put(ctx, "r", bytes.NewReader(content), o); !errors.Is(err, context.Canceled) {
		t.Fatalf("Put: %v, want context.Canceled", err)
	}
	s.Close()
	listed := listParts(t, e, "r")
	if diff := cmp.Diff(map[string]bool{"1": true, "2": true, "3": true, "4": true}, listed); diff != "" {
		t.Fatalf("the server's parts after the stop (-want +got):\n%s", diff)
	}
	e.proxy.Decide(func(*http.Request) faults.Fault { return faults.None })
	e.proxy.Requests()

	var progress atomic.Int64
	s = e.open(t, store.Options{Progress: func(n int64) { progress.Add(n) }})
	reused, err := s.Put(t.Context(), "r", bytes.NewReader(content), o)
	if err != nil || reused {
		t.Fatalf("Put: reused %v, %v", reused, err)
	}
	sent := partsSent(e.proxy.Requests())
	slices.Sort(sent)
	if diff := cmp.Diff([]string{"5", "6", "7", "8", "9"}, sent); diff != "" {
		t.Errorf("parts sent by the second client (-want +got):\n%s", diff)
	}
	if progress.Load() != o.Size {
		t.Errorf("progress %d, want %d", progress.Load(), o.Size)
	}
	if got := sumOnDisk(t, e.file("r")); got != o.SHA256 {
		t.Errorf("sha256sum says %s, want %s", got, o.SHA256)
	}
	noUploads(t, e, "r")
}

// Unfinished uploads of other content under the same name are not built upon.
func TestS3ResumeOther(t *testing.T) {
	t.Parallel()
	old := storetest.Content("old", 4*5*mib)
	for name, change := range map[string]func([]byte) []byte{
		"first part": func(b []byte) []byte { b[0] ^= 1; return b },
		"last part":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"longer":     func(b []byte) []byte { return append(b, 1) },
		"shorter":    func(b []byte) []byte { return b[:len(b)-7] },
	} {
		t.Run(name, func(t *testing.T) {
			e := newBed(t, s3server.Start(t))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := e.open(t, store.Options{Parallel: 1, Progress: func(int64) { cancel() }})
			if _, err := s.Put(ctx, "o", bytes.NewReader(old), storetest.ObjectOf("o", old)); !errors.Is(err, context.Canceled) {
				t.Fatalf("Put: %v, want context.Canceled", err)
			}
			if len(listParts(t, e, "o")) == 0 {
				t.Fatal("no part was there when the first Put stopped")
			}
			content := change(bytes.Clone(old))
			s = e.open(t, store.Options{})
			mustPut(t, s, "o", content)
			want := storetest.ObjectOf("o", content)
			if err := store.Verify(t.Context(), s, want); err != nil {
				t.Error(err)
			}
			if got := sumOnDisk(t, e.file("o")); got != want.SHA256 {
				t.Errorf("sha256sum says %s, want %s", got, want.SHA256)
			}
			noUploads(t, e, "o")
		})
	}
}

// changing gives other bytes from its n-th read of the position at on.
type changing struct {
	io.ReaderAt
	at   int64
	n    int64
	seen atomic.Int64
}

func (c *changing) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	if i := c.at - off; i >= 0 && i < int64(n) && c.seen.Add(1) >= c.n {
		p[i] ^= 1
	}
	return n, err
}

// A file that changes between being summed and being sent is refused by the
// server, and is then known as what it is.
func TestS3SourceChanges(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	s := e.open(t, store.Options{})
	for _, size := range []int{1000, 12 * mib} {
		name := fmt.Sprintf("changes/%d", size)
		content := storetest.Content(name, size)
		src := &changing{ReaderAt: bytes.NewReader(content), at: int64(size) - 5, n: 2}
		_, err := s.Put(t.Context(), name, src, storetest.ObjectOf(name, content))
		if !errors.Is(err, store.ErrMismatch) {
			t.Errorf("%d bytes: %v, want ErrMismatch", size, err)
		}
		if _, err := s.Stat(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%d bytes: Stat: %v, want ErrNotFound", size, err)
		}
		noUploads(t, e, name)
	}
}

// What others put into the bucket is never replaced.
func TestS3Foreign(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	s := e.open(t, store.Options{})
	mustPut(t, s, "near", []byte("x"))
	if err := os.WriteFile(e.file("foreign"), []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), "foreign", strings.NewReader("ours"), storetest.ObjectOf("foreign", []byte("ours")))
	if err == nil || !strings.Contains(err.Error(), "did not put there") {
		t.Errorf("Put over a foreign object: %v", err)
	}
	if b, err := os.ReadFile(e.file("foreign")); err != nil || string(b) != "theirs" {
		t.Errorf("the foreign object is %q now, %v", b, err)
	}
}

// A byte flipped on the server's disk is found by reading back, in the middle of
// a large object as well as in a small one.
func TestS3Rot(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	s := e.open(t, store.Options{})
	for _, size := range []int{1000, 12 * mib} {
		name := fmt.Sprintf("rot/%d", size)
		content := storetest.Content(name, size)
		mustPut(t, s, name, content)
		o := storetest.ObjectOf(name, content)
		if err := store.Verify(t.Context(), s, o); err != nil {
			t.Fatalf("before: %v", err)
		}
		flipByte(t, e.file(name), int64(size)/2)
		if err := store.Verify(t.Context(), s, o); !errors.Is(err, store.ErrMismatch) {
			t.Errorf("%d bytes: Verify: %v, want ErrMismatch", size, err)
		}
	}
}

func flipByte(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// A server that keeps no checksums has to give the object back before it counts.
func TestS3WithoutChecksums(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	s := e.open(t, store.Options{})
	for _, size := range []int{1000, 12 * mib} {
		content := storetest.Content("n", size)
		for _, spoiled := range []bool{false, true} {
			name := fmt.Sprintf("n/%d-%v", size, spoiled)
			reads := 0
			e.proxy.Decide(func(r *http.Request) faults.Fault {
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, name) && !r.URL.Query().Has("uploadId") {
					reads++
					if spoiled {
						return faults.Corrupt
					}
				}
				return faults.NoChecksums
			})
			_, err := s.Put(t.Context(), name, bytes.NewReader(content), storetest.ObjectOf(name, content))
			if reads == 0 {
				t.Errorf("%s: was not read back", name)
			}
			if spoiled != errors.Is(err, store.ErrMismatch) || !spoiled && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
