package progress

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPartsAreLinesOfTheirOwn(t *testing.T) {
	var out buffer
	p := quick(&out, false)
	p.Begin("volumes", "bytes", 4<<20)
	at, end := p.Part("mysql", "bytes", 1<<20)
	at(1 << 19)
	out.await(t, "  mysql: 512.0 KiB of 1.0 MiB, 50 %\nvolumes: 0 B of 4.0 MiB, 0 %\n")
	end()
	p.Add(1 << 20)
	out.await(t, "25 %\nvolumes: 1.0 MiB of 4.0 MiB, 25 %\n") // no part between
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// screen does what a terminal does with the few sequences that are used.
type screen struct{ lines []string }

func (s *screen) show(text string) {
	at := len(s.lines) - 1
	for i := 0; i < len(text); i++ {
		var up int
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, "\x1b[J"):
			s.lines = append(s.lines[:at:at], "")
			i += 2
		case strings.HasPrefix(rest, "\x1b[2K"), strings.HasPrefix(rest, "\x1b[0K"):
			s.lines[at] = ""
			i += 3
		case strings.HasPrefix(rest, "\x1b["):
			if _, err := fmt.Sscanf(rest, "\x1b[%dA", &up); err == nil {
				at -= up
			}
			i += strings.IndexAny(rest, "AJKm")
		case text[i] == '\r':
			s.lines[at] = ""
		case text[i] == '\n':
			if at++; at == len(s.lines) {
				s.lines = append(s.lines, "")
			}
		default:
			s.lines[at] += text[i : i+1]
		}
	}
}

func TestPartsAreBarsOnATerminal(t *testing.T) {
	var out buffer
	p := quick(&out, true)
	p.Begin("volumes", "bytes", 4<<20)
	one, endOne := p.Part("mysql", "bytes", 1<<20)
	two, endTwo := p.Part("uploads", "bytes", 1<<20)
	one(1 << 19)
	two(1 << 20)
	out.await(t, "[====================] uploads: 1.0 MiB")
	fmt.Fprintln(p, "a line of the log")
	time.Sleep(50 * time.Millisecond)
	s := &screen{lines: []string{""}}
	p.out.locked(func() { s.show(out.String()) })
	want := []string{"a line of the log", "[==========          ] mysql: 512.0 KiB of 1.0 MiB, 50 %", "[====================] uploads: 1.0 MiB of 1.0 MiB, 100 %"}
	for i, line := range want {
		if i >= len(s.lines) || strings.TrimSpace(s.lines[i]) != line {
			t.Errorf("line %d of the screen is not %q:\n%s", i, line, strings.Join(s.lines, "\n"))
		}
	}
	endOne()
	endTwo()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	s = &screen{lines: []string{""}}
	s.show(out.String())
	if left := strings.TrimSpace(strings.Join(s.lines, "\n")); left != "a line of the log" {
		t.Errorf("left on the screen: %q", left)
	}
}
