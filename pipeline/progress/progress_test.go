package progress

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline"
)

var _ pipeline.Progress = (*Progress)(nil)

// buffer is an output that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await waits until the output has the text.
func (b *buffer) await(t *testing.T, text string) {
	t.Helper()
	for range 500 {
		if strings.Contains(b.String(), text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%q is not in %q", text, b.String())
}

func quick(out *buffer, terminal bool) *Progress {
	return &Progress{out: &guarded{w: out}, terminal: terminal, every: 5 * time.Millisecond}
}

func TestLines(t *testing.T) {
	var out buffer
	p := quick(&out, false)
	p.Begin("layers", "bytes", 4<<20)
	p.Add(1 << 20)
	out.await(t, "layers: 1.0 MiB of 4.0 MiB, 25 %\n")
	p.Add(8 << 20) // more than was announced
	out.await(t, "layers: 9.0 MiB of 4.0 MiB, 100 %\n")
	p.Begin("entries", "files", 0)
	p.Add(7)
	out.await(t, "entries: 7 files\n")
	p.End()
	if strings.Contains(out.String(), "\r") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("terminal controls in %q", out.String())
	}
}

// What stands still is not said at every tick, and never gets a rate of 0.
func TestStandstill(t *testing.T) {
	var out buffer
	l := &lines{w: &guarded{w: &out}, meter: meter{phase: "workloads", unit: "workloads", total: 2, began: time.Now().Add(-time.Hour)}, parts: &parts{}}
	for range stillTicks + 2 {
		l.show(1)
	}
	l.show(2)
	l.end(2)
	want := strings.Repeat("workloads: 1 of 2, 50 %\n", 2) + "workloads: 2 of 2, 100 %\n"
	if got := out.String(); got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// A phase that is over soon says nothing at all.
func TestShortPhase(t *testing.T) {
	var out buffer
	p := New(&out)
	p.Begin("x", "bytes", 1)
	p.Add(1)
	p.End()
	if out.String() != "" {
		t.Errorf("printed %q", out.String())
	}
}

func TestBar(t *testing.T) {
	for _, total := range []int64{100, 0, -3} {
		var out buffer
		p := quick(&out, true)
		p.Begin("seed", "bytes", total)
		p.Add(50)
		out.await(t, "seed")
		p.Add(1000)
		time.Sleep(20 * time.Millisecond)
		if _, err := p.Write([]byte("a log line\n")); err != nil {
			t.Fatal(err)
		}
		p.End()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		p.Add(1)
		i := strings.Index(out.String(), "a log line\n")
		if i < 1 || out.String()[i-1] != '\r' {
			t.Errorf("the log line does not begin a line: %q", out.String())
		}
	}
}

// refusing is a terminal that is gone.
type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("gone") }

// Whatever the output does, telling goes on, and at once.
func TestNeverFails(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		p := &Progress{out: &guarded{w: refusing{}}, terminal: terminal, every: time.Millisecond}
		p.Begin("x", "bytes", 10)
		for range 100 {
			p.Add(1)
		}
		time.Sleep(10 * time.Millisecond)
		p.End()
	}
	stuck := make(chan struct{})
	p := &Progress{out: &guarded{w: blocking(stuck)}, every: time.Millisecond}
	p.Begin("x", "bytes", 10)
	time.Sleep(10 * time.Millisecond)
	start := time.Now()
	for range 1000 {
		p.Add(1)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("Add waited for the output: %v", took)
	}
	close(stuck)
	p.End()
}

type blocking chan struct{}

func (b blocking) Write(p []byte) (int, error) {
	<-b
	return len(p), nil
}
