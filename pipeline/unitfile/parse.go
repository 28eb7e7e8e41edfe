// Package unitfile reads what systemd configures units with: the syntax of
// systemd.syntax(7), names of units, specifiers and command lines.
package unitfile

import (
	"bytes"
	"fmt"
	"strings"
)

// Assignment is one key = value of a section. Value has its continuation lines
// joined and its outer blanks removed; quotes, escapes and specifiers stay.
type Assignment struct {
	Section string
	Key     string
	Value   string
	Line    int // where it begins, from 1
}

// Fault is a line that systemd would warn about and ignore.
type Fault struct {
	Line int
	What string
}

// MaxLine is the longest line, with its continuations, that systemd accepts.
const MaxLine = 1 << 20

// Parse reads a unit file. Like systemd, it goes on after what it cannot
// understand, and says so in faults.
func Parse(data []byte) (list []Assignment, faults []Fault) {
	p := parser{}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for number := 1; len(data) > 0; number++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		p.line(string(line), number)
	}
	p.end()
	return p.list, p.faults
}

type parser struct {
	list    []Assignment
	faults  []Fault
	section string
	known   bool // a section header came
	pending []byte
	start   int // line of the pending text, 0 for none
}

// line takes one line of the file. Comments are left out even between
// continuation lines; a line continues when an odd number of backslashes ends
// it, of which the last becomes a blank.
func (p *parser) line(line string, number int) {
	line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t\n\r")
	if line != "" && (line[0] == '#' || line[0] == ';') {
		return
	}
	if p.start == 0 {
		p.start = number
	}
	if len(p.pending)+len(line) > MaxLine {
		p.fault("line is longer than systemd accepts")
		p.pending, p.start = p.pending[:0], 0
		return
	}
	p.pending = append(p.pending, line...)
	if n := len(line) - len(strings.TrimRight(line, `\`)); n%2 == 1 {
		p.pending[len(p.pending)-1] = ' '
		return
	}
	p.end()
}

// end takes the pending text as a whole.
func (p *parser) end() {
	if p.start == 0 {
		return
	}
	p.statement(strings.TrimSpace(string(p.pending)))
	p.pending, p.start = p.pending[:0], 0
}

func (p *parser) statement(text string) {
	switch {
	case text == "":
	case text[0] == '[':
		if !strings.HasSuffix(text, "]") {
			p.fault("section header has no end")
			return
		}
		p.section, p.known = text[1:len(text)-1], true
	case !p.known:
		p.fault("assignment outside of a section")
	default:
		key, value, ok := strings.Cut(text, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			p.fault("line is no assignment")
			return
		}
		p.list = append(p.list, Assignment{Section: p.section, Key: key, Value: strings.TrimSpace(value), Line: p.start})
	}
}

func (p *parser) fault(what string) {
	p.faults = append(p.faults, Fault{Line: p.start, What: what})
}

// String is the fault with its line.
func (f Fault) String() string { return fmt.Sprintf("line %d: %s", f.Line, f.What) }
