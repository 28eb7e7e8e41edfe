package carrier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/store/storetest/faults"
)

func pass(*http.Request) faults.Fault { return faults.None }

// every breaks one request of ten, in ever other ways.
func everyTenth() func(*http.Request) faults.Fault {
	dice := rand.New(rand.NewPCG(1, 2))
	kinds := []faults.Fault{faults.Reset, faults.ResetBody, faults.ResetAfter, faults.Truncate}
	return func(*http.Request) faults.Fault {
		if dice.IntN(10) == 0 {
			return kinds[dice.IntN(len(kinds))]
		}
		return faults.None
	}
}

// With one request of ten broken, everything arrives all the same.
func resets(t *testing.T, f *far) {
	f.proxy.Requests()
	f.proxy.Decide(everyTenth())
	c := f.open(t)
	for i := range 60 {
		b, d := content(fmt.Sprint("resets ", i), 50_000)
		put(t, c, b, d)
		if got, err := get(t.Context(), c, d); err != nil || !bytes.Equal(got, b) {
			t.Errorf("blob %d: %v", i, err)
		}
	}
	broken := 0
	for _, r := range f.proxy.Requests() {
		if r.Fault != faults.None {
			broken++
		}
	}
	if broken < 10 {
		t.Errorf("only %d requests were broken", broken)
	}
}

// A download that breaks goes on where it was, whatever breaks it.
func brokenDownloads(t *testing.T, f *far) {
	b, d := content("download", 3<<20)
	put(t, f.open(t), b, d)
	for _, fault := range []faults.Fault{faults.Reset, faults.Truncate, faults.StallBody, faults.Stall, faults.Unavailable, faults.SlowDown} {
		var n atomic.Int32
		f.proxy.Requests()
		c := f.open(t)
		if _, err := c.SizeOf(t.Context(), d.Digest); err != nil { // the handshake
			t.Fatal(err)
		}
		f.proxy.Decide(func(r *http.Request) faults.Fault {
			if r.Method == http.MethodGet && n.Add(1) <= 2 {
				return fault
			}
			return faults.None
		})
		if got, err := get(t.Context(), c, d); err != nil || !bytes.Equal(got, b) {
			t.Errorf("fault %v: %v", fault, err)
		}
		if n.Load() != 3 {
			t.Errorf("fault %v: %d requests, want 3", fault, n.Load())
		}
		f.proxy.Decide(pass)
	}
}

// A far side that stays broken is given up, in plain words.
func givesUp(t *testing.T, f *far) {
	b, d := content("gives up", 10_000)
	put(t, f.open(t), b, d)
	_, other := content("gives up too", 10_000)
	for _, fault := range []faults.Fault{faults.Reset, faults.Unavailable, faults.Truncate} {
		few := *f
		few.o.Attempts = 3
		c := few.open(t)
		if _, err := c.SizeOf(t.Context(), d.Digest); err != nil {
			t.Fatal(err)
		}
		f.proxy.Requests()
		f.proxy.Decide(func(*http.Request) faults.Fault { return fault })
		start := time.Now()
		if _, err := get(t.Context(), c, d); err == nil || !strings.Contains(err.Error(), host(f)) {
			t.Errorf("fault %v: Open: %v", fault, err)
		}
		// Go's own client repeats a request on a connection that was kept open.
		if n := len(f.proxy.Requests()); n > 2*few.o.Attempts {
			t.Errorf("fault %v: %d requests", fault, n)
		}
		if fault != faults.Truncate {
			if err := c.Put(t.Context(), other, bytes.NewReader(b), func(int64) {}); err == nil {
				t.Errorf("fault %v: Put succeeded", fault)
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("fault %v: it took %v", fault, took)
		}
		f.proxy.Decide(pass)
	}
}

func host(f *far) string { return strings.TrimPrefix(f.proxy.URL, "http://") }

func cancelled(t *testing.T, f *far) {
	b, d := content("cancelled", 3<<20)
	c := f.open(t)
	put(t, c, b, d)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := c.Open(ctx, d.Digest, d.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := r.Read(make([]byte, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v", err)
	}
	if _, err := c.Open(ctx, d.Digest, d.Size); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	_, other := content("cancelled too", 10)
	if err := c.Put(ctx, other, bytes.NewReader(b), func(int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
}
