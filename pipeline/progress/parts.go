package progress

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// part is one of several things that go on in a phase at once.
type part struct {
	meter
	done atomic.Int64
}

// parts are those that are shown beside the phase.
type parts struct {
	mu   sync.Mutex
	list []*part
}

// Part shows one of several things of the current phase with a bar or line of its
// own, until end is called. Its amounts count for it only, not for the phase. Both
// functions are safe for concurrent use.
func (p *Progress) Part(name, unit string, total int64) (at func(done int64), end func()) {
	it := &part{meter: meter{phase: name, unit: unit, total: total, began: time.Now()}}
	p.parts.mu.Lock()
	p.parts.list = append(p.parts.list, it)
	p.parts.mu.Unlock()
	return it.done.Store, func() { p.parts.remove(it) }
}

func (l *parts) remove(it *part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.list {
		if other == it {
			l.list = append(l.list[:i:i], l.list[i+1:]...)
			return
		}
	}
}

// lines are one for each part, in the order of their beginning.
func (l *parts) lines(bars bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, p := range l.list {
		done := p.done.Load()
		text := p.line(done)
		if bars {
			text = drawn(done, p.total) + " " + text
		}
		out = append(out, text)
	}
	return out
}

// drawn is a short bar.
func drawn(done, total int64) string {
	const width = 20
	n := 0
	if total > 0 {
		n = int(min(float64(done)/float64(total), 1) * width)
	}
	return "[" + strings.Repeat("=", n) + strings.Repeat(" ", width-n) + "]"
}

// stack is the display on a terminal: the parts, one below the other, and below
// them the bar of the phase.
type stack struct {
	*bar
	w     *guarded
	parts *parts
	above int // lines of parts on the screen
}

func (s *stack) show(done int64) {
	lines := s.parts.lines(true)
	if len(lines) > 0 || s.above > 0 {
		s.clear()
		for _, line := range lines {
			fmt.Fprintf(s.w.w, "%s\n", line)
		}
		s.above = len(lines)
	}
	s.bar.show(done)
}

// clear makes room for other output: it erases from the first part on (ECMA-48,
// CUU and ED).
func (s *stack) clear() {
	s.bar.clear()
	if s.above > 0 {
		fmt.Fprintf(s.w.w, "\r\x1b[%dA\x1b[J", s.above)
		s.above = 0
	}
}

func (s *stack) end(done int64) {
	s.clear()
	s.bar.end(done)
}
