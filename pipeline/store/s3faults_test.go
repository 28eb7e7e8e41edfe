package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/store/storetest"
	"github.com/statelift/statelift/pipeline/store/storetest/faults"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

// transientFaults are those after which the same request may succeed.
var transientFaults = map[string]faults.Fault{
	"reset":           faults.Reset,
	"reset in body":   faults.ResetBody,
	"reset after":     faults.ResetAfter,
	"truncated":       faults.Truncate,
	"slow down":       faults.SlowDown,
	"bad gateway":     faults.Unavailable,
	"stall":           faults.Stall,
	"stall in body":   faults.StallBody,
	"corrupt request": faults.CorruptRequest,
}

// requests are the kinds of requests that a Put and a read of two objects make.
var requests = map[string]func(*http.Request) bool{
	"list":     func(r *http.Request) bool { return r.URL.Query().Has("list-type") },
	"head":     func(r *http.Request) bool { return r.Method == http.MethodHead },
	"put":      func(r *http.Request) bool { return r.Method == http.MethodPut && !isPart(r) },
	"part":     isPart,
	"uploads":  func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("uploads") },
	"begin":    func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploads") },
	"complete": func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") },
	"get": func(r *http.Request) bool {
		q := r.URL.Query()
		return r.Method == http.MethodGet && !q.Has("list-type") && !q.Has("uploads") && !q.Has("uploadId")
	},
}

// Each kind of fault, twice at each kind of request: the transfer ends right.
func TestS3EveryFault(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	small, large := storetest.Content("small", 100_000), storetest.Content("large", 11*mib)
	for what, fault := range transientFaults {
		if testing.Short() && fault != faults.ResetAfter && fault != faults.SlowDown {
			continue // the quick loop tries two of the nine
		}
		for where, match := range requests {
			t.Run(what+"/"+where, func(t *testing.T) {
				t.Parallel()
				e := newBed(t, server)
				hits := 0
				e.proxy.Decide(func(r *http.Request) faults.Fault {
					if match(r) && hits < 2 {
						hits++
						return fault
					}
					return faults.None
				})
				s := e.open(t, store.Options{Stall: 700 * time.Millisecond})
				for name, content := range map[string][]byte{"small": small, "large": large} {
					mustPut(t, s, name, content)
					if err := store.Verify(t.Context(), s, storetest.ObjectOf(name, content)); err != nil {
						t.Error(err)
					}
					if got, want := sumOnDisk(t, e.file(name)), storetest.ObjectOf(name, content).SHA256; got != want {
						t.Errorf("sha256sum says %s, want %s", got, want)
					}
				}
				for _, err := range s.List(t.Context(), "") {
					if err != nil {
						t.Errorf("List: %v", err)
					}
				}
				if hits == 0 {
					t.Error("there was no such request")
				}
			})
		}
	}
}

// One request of ten is reset or worse, at random.
func TestS3RandomFaults(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	kinds := []faults.Fault{faults.Reset, faults.ResetBody, faults.ResetAfter, faults.Truncate, faults.SlowDown, faults.CorruptRequest}
	e := newBed(t, s3server.Start(t))
	s := e.open(t, store.Options{})
	e.proxy.Decide(func(*http.Request) faults.Fault {
		if rnd.IntN(10) > 0 {
			return faults.None
		}
		return kinds[rnd.IntN(len(kinds))]
	})
	var wg sync.WaitGroup
	room := make(chan struct{}, 4)
	for i := range 60 {
		size := 1000 * i
		if i%15 == 0 {
			size = 17*mib + i
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			name := fmt.Sprintf("random/%d", i)
			content := storetest.Content(name, size)
			o := storetest.ObjectOf(name, content)
			if _, err := s.Put(t.Context(), name, bytes.NewReader(content), o); err != nil {
				t.Errorf("Put: %v", err)
				return
			}
			if err := store.Verify(t.Context(), s, o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	broken := 0
	for _, r := range e.proxy.Requests() {
		if r.Fault != faults.None {
			broken++
		}
	}
	if broken < 10 {
		t.Errorf("only %d requests were broken", broken)
	}
}

// Answers that mislead: an upload that was completed although the answer was
// lost is gone when asked again, and a new object may not be seen at once.
func TestS3MisleadingAnswers(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	for name, c := range map[string]struct {
		match func(*http.Request) bool
		then  []faults.Fault
	}{
		"completed, but the answer is lost": {requests["complete"], []faults.Fault{faults.ResetAfter, faults.NoUpload}},
		"not seen at once":                  {requests["head"], []faults.Fault{faults.None, faults.Missing, faults.Missing}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newBed(t, server)
			s := e.open(t, store.Options{})
			e.proxy.Decide(func(r *http.Request) faults.Fault {
				if len(c.then) == 0 || !c.match(r) {
					return faults.None
				}
				f := c.then[0]
				c.then = c.then[1:]
				return f
			})
			content := storetest.Content("misleading", 11*mib)
			mustPut(t, s, "m", content)
			if len(c.then) != 0 {
				t.Errorf("%d faults were not used", len(c.then))
			}
			if got, want := sumOnDisk(t, e.file("m")), storetest.ObjectOf("m", content).SHA256; got != want {
				t.Errorf("sha256sum says %s, want %s", got, want)
			}
		})
	}
}

// A server that never recovers gives one clear error in bounded time.
func TestS3PermanentFaults(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	for name, c := range map[string]struct {
		fault faults.Fault
		want  string
	}{
		"slow down":   {faults.SlowDown, "given up after 3 attempts: the server answered 503 SlowDown"},
		"stall":       {faults.Stall, "nothing happened for 500ms"},
		"reset":       {faults.Reset, "given up after 3 attempts"},
		"bad gateway": {faults.Unavailable, "502"},
		"corrupt":     {faults.CorruptRequest, "given up after 3 attempts"},
	} {
		if testing.Short() && name != "stall" && name != "slow down" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			e := newBed(t, server)
			s := e.open(t, store.Options{Attempts: 3, Stall: 500 * time.Millisecond})
			e.proxy.Decide(func(r *http.Request) faults.Fault {
				if r.Method == http.MethodPut {
					return c.fault
				}
				return faults.None
			})
			for _, size := range []int{1000, 11 * mib} {
				content := storetest.Content("permanent", size)
				begin := time.Now()
				_, err := s.Put(t.Context(), "x/y", bytes.NewReader(content), storetest.ObjectOf("x/y", content))
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x/y") || !strings.Contains(err.Error(), "s3://legacy/") {
					t.Errorf("%d bytes: %v, want the bucket, the key and %q", size, err, c.want)
				}
				if d := time.Since(begin); d > 20*time.Second {
					t.Errorf("%d bytes: failed after %s only", size, d)
				}
				if _, err := s.Stat(t.Context(), "x/y"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Stat: %v, want ErrNotFound", err)
				}
			}
		})
	}
}

// A cancelled context ends a stalled transfer at once, not after the stall.
func TestS3CancelStalled(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	s := e.open(t, store.Options{Stall: time.Minute})
	e.proxy.Decide(func(r *http.Request) faults.Fault {
		if isPart(r) {
			return faults.Stall
		}
		return faults.None
	})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("the user pressed ^C"))
	defer cancel()
	content := storetest.Content("c", 11*mib)
	begin := time.Now()
	_, err := s.Put(ctx, "c", bytes.NewReader(content), storetest.ObjectOf("c", content))
	if err == nil || !strings.Contains(err.Error(), "^C") {
		t.Errorf("Put: %v, want the cause", err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("Put ended after %s", d)
	}
}

// The server is killed in the middle and comes back: the transfer ends right.
func TestS3ServerRestarts(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	var once sync.Once
	s := e.open(t, store.Options{Parallel: 1, Backoff: 300 * time.Millisecond, Progress: func(int64) {
		once.Do(func() {
			e.server.Stop()
			go e.server.Restart()
		})
	}})
	content := storetest.Content("restart", 6*5*mib)
	mustPut(t, s, "r", content)
	if got, want := sumOnDisk(t, e.file("r")), storetest.ObjectOf("r", content).SHA256; got != want {
		t.Errorf("sha256sum says %s, want %s", got, want)
	}
}

// What can never work is final, said in plain words, and never shows the secret.
func TestS3Final(t *testing.T) {
	server := s3server.Start(t)
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return server.Environment(name)
		}
	}
	t.Setenv("HOME", t.TempDir())
	for name, c := range map[string]struct {
		spec string
		env  func(string) string
		want string
	}{
		"no bucket":       {"s3://elsewhere/x?region=us-east-1&endpoint=" + server.Endpoint, env(), "the bucket does not exist"},
		"wrong secret":    {server.Spec("", "x"), env("AWS_SECRET_ACCESS_KEY", "quite-wrong-secret"), "access denied"},
		"wrong key":       {server.Spec("", "x"), env("AWS_ACCESS_KEY_ID", "nobody"), "access denied: check the credentials"},
		"no credentials":  {server.Spec("", "x"), func(string) string { return "" }, "no credentials"},
		"half of them":    {server.Spec("", "x"), env("AWS_SECRET_ACCESS_KEY", ""), "only one of"},
		"nobody listens":  {server.Spec("http://127.0.0.1:1", "x"), env(), "refused"},
		"https to http":   {server.Spec(strings.Replace(server.Endpoint, "http", "https", 1), "x"), env(), "HTTP"},
		"endpoint of env": {"s3://legacy/x?region=us-east-1", env("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := store.Open(t.Context(), c.spec, store.Options{Environment: c.env, Attempts: 3, Backoff: time.Millisecond})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open: %v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), server.Secret) || strings.Contains(err.Error(), "quite-wrong-secret")) {
				t.Errorf("the secret is in the error: %v", err)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("failed after %s only", d)
			}
		})
	}
}

// zeros is a large source that costs no memory.
type zeros struct{ size int64 }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), z.size-off))
	clear(p[:n])
	return n, nil
}

// Memory does not grow with the object.
func TestS3Memory(t *testing.T) {
	e := newBed(t, s3server.Start(t))
	s, err := store.Open(t.Context(), e.server.Spec("", e.prefix), store.Options{Environment: e.server.Environment})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// head -c 300M /dev/zero | sha256sum, and of 64M
	size, sum := int64(300*mib), "17a88af83717f68b8bd97873ffcf022c8aed703416fe9b08e0fa9e3287692bf0"
	if testing.Short() {
		size, sum = 64*mib, "3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351"
	}
	o := store.Object{Name: "z", Size: size, SHA256: sum}
	runtime.GC()
	var before, m runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
	}()
	_, err = s.Put(t.Context(), "z", zeros{size}, o)
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	if grown := int64(peak) - int64(before.HeapInuse); grown > 48*mib {
		t.Errorf("the heap grew by %d MiB for an object of %d MiB", grown/mib, size/mib)
	}
}
