// Package progress shows how far a stage is: a bar on a terminal, a line every
// few seconds elsewhere. Telling it anything neither fails nor waits for the
// terminal, so that showing a transfer can never break one.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/statelift/statelift/pipeline/bytesize"
)

// Progress implements pipeline.Progress. It is safe for concurrent use.
type Progress struct {
	out      *guarded
	terminal bool
	every    time.Duration

	parts parts

	mu      sync.Mutex // of Begin and End
	current atomic.Pointer[phase]
}

// The pauses between two updates.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
)

// New shows progress on out, usually standard error: as a bar when that is a
// terminal.
func New(out io.Writer) *Progress {
	f, ok := out.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) {
		return &Progress{out: &guarded{w: out}, terminal: true, every: barEvery}
	}
	return &Progress{out: &guarded{w: out}, every: lineEvery}
}

// display shows one phase. Its methods are called by one goroutine at a time.
type display interface {
	show(done int64)
	clear() // makes room for other output
	end(done int64)
}

// phase is what lies between Begin and End.
type phase struct {
	done  atomic.Int64
	stop  chan struct{}
	ended chan struct{}
}

// Begin starts a phase, and ends one that was not.
func (p *Progress) Begin(name, unit string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	ph := &phase{stop: make(chan struct{}), ended: make(chan struct{})}
	m := meter{phase: name, unit: unit, total: total, began: time.Now()}
	var d display = &lines{w: p.out, meter: m, parts: &p.parts}
	if p.terminal {
		d = &stack{bar: newBar(p.out, m), w: p.out, parts: &p.parts}
	}
	p.out.use(d)
	p.current.Store(ph)
	go ph.run(p.out, d, p.every)
}

// Add says that n more are done.
func (p *Progress) Add(n int64) {
	if ph := p.current.Load(); ph != nil {
		ph.done.Add(n)
	}
}

// End closes the phase.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

func (p *Progress) end() {
	if ph := p.current.Swap(nil); ph != nil {
		close(ph.stop)
		<-ph.ended
		p.out.use(nil)
	}
}

func (ph *phase) run(out *guarded, d display, every time.Duration) {
	defer close(ph.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			out.locked(func() { d.show(ph.done.Load()) })
		case <-ph.stop:
			out.locked(func() { d.end(ph.done.Load()) })
			return
		}
	}
}

// Write passes lines of others (the log) on to the output, where the bar then
// does not spoil them.
func (p *Progress) Write(b []byte) (int, error) { return p.out.Write(b) }

// Close ends what was not. The output stays open.
func (p *Progress) Close() error {
	p.End()
	return nil
}

// guarded is the output that the display and others share.
type guarded struct {
	mu      sync.Mutex
	w       io.Writer
	display display
}

func (g *guarded) use(d display) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.display = d
}

func (g *guarded) locked(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// Write implements io.Writer for others.
func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.display != nil {
		g.display.clear()
	}
	return g.w.Write(p)
}

// meter puts numbers into words.
type meter struct {
	phase, unit string
	total       int64
	began       time.Time
}

func (m meter) amount(n int64) string {
	if m.unit != "bytes" {
		return fmt.Sprint(n)
	}
	return bytesize.Text(n)
}

func (m meter) line(done int64) string {
	s := m.phase + ": " + m.amount(done)
	if m.total > 0 {
		s += fmt.Sprintf(" of %s, %d %%", m.amount(m.total), min(100, int64(float64(done)/float64(m.total)*100)))
	}
	if m.unit != "bytes" && m.unit != m.phase {
		s += " " + m.unit
	}
	return s + m.rate(done)
}

// rate is empty as long as there is none to speak of.
func (m meter) rate(done int64) string {
	took := time.Since(m.began).Seconds()
	if took < 1 || float64(done) < took {
		return ""
	}
	return fmt.Sprintf(", %s/s", m.amount(int64(float64(done)/took)))
}

// lines is the display where there is no terminal.
type lines struct {
	w *guarded
	meter
	parts *parts
	shown bool
	still int   // ticks since the last line
	last  int64 // that was shown
}

// stillTicks is after how many ticks what stands still is said again, so that
// nobody takes it for dead.
const stillTicks = 12

// Errors of the output are nobody's: the transfer goes on.
func (l *lines) show(done int64) {
	parts := l.parts.lines(false)
	if l.shown && done == l.last && len(parts) == 0 && l.still < stillTicks {
		l.still++
		return
	}
	l.print(done, parts)
}

func (l *lines) print(done int64, parts []string) {
	l.shown, l.last, l.still = true, done, 0
	for _, line := range parts {
		fmt.Fprintln(l.w.w, "  "+line)
	}
	fmt.Fprintln(l.w.w, l.line(done))
}

func (l *lines) clear() {}

// end says how it ended when it was long enough to be spoken of before.
func (l *lines) end(done int64) {
	if l.shown && (done != l.last || l.still > 0) {
		l.print(done, l.parts.lines(false))
	}
}
