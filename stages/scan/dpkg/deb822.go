package dpkg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// stanza is one paragraph of a control file (deb822(5)).
type stanza struct {
	line   int // of its first field
	fields map[string]field
}

type field struct {
	value string // continuation lines are joined by newlines, without their first blank
	line  int
}

func (s stanza) get(name string) string { return s.fields[name].value }

// The limits of a control file: the longest line and the longest stanza that
// are believed. Descriptions of real packages stay below 100 KiB.
const (
	maxLine   = 1 << 20
	maxStanza = 4 << 20
)

// readStanzas calls use for every whole stanza, and broken for every one that
// does not follow the syntax, of which nothing is used. Only fields of keep are
// stored. It returns an error of reading apart from one that use or broken gave.
func readStanzas(r io.Reader, keep func(name string) bool, use func(stanza) error, broken func(line int, what string) error) (unreadable, err error) {
	p := parser{lines: bufio.NewReaderSize(r, 64<<10), keep: keep}
	for {
		s, err := p.next()
		var syntax *syntaxError
		switch {
		case err == io.EOF:
			return nil, nil
		case errors.As(err, &syntax):
			err = broken(syntax.line, syntax.what)
		case err != nil:
			return err, nil
		default:
			err = use(s)
		}
		if err != nil {
			return nil, err
		}
	}
}

type syntaxError struct {
	line int
	what string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.what) }

type parser struct {
	lines *bufio.Reader
	keep  func(string) bool
	line  int
	buf   []byte
}

// next reads one stanza. After a syntaxError it has skipped to the end of the
// stanza.
func (p *parser) next() (stanza, error) {
	s := stanza{fields: map[string]field{}}
	var (
		fault   *syntaxError
		current string // the field that a continuation line belongs to
		wanted  bool
		size    int
	)
	fail := func(what string) {
		if fault == nil {
			fault = &syntaxError{p.line, what}
		}
	}
	for {
		text, err := p.read()
		if err != nil && err != io.EOF {
			var tooLong *syntaxError
			if !errors.As(err, &tooLong) {
				return s, err
			}
			s.line = max(s.line, p.line)
			fail(tooLong.what)
			continue
		}
		if err == io.EOF || len(bytes.TrimSpace(text)) == 0 {
			switch {
			case fault != nil:
				return s, fault
			case s.line > 0:
				return s, nil
			case err == io.EOF:
				return s, io.EOF
			}
			continue
		}
		if text[0] == '#' {
			continue
		}
		if s.line == 0 {
			s.line = p.line
		}
		if size += len(text); size > maxStanza {
			fail(fmt.Sprintf("a stanza of more than %d bytes", maxStanza))
			continue
		}
		if text[0] == ' ' || text[0] == '\t' {
			switch {
			case current == "":
				fail("a continuation line without a field")
			case wanted:
				f := s.fields[current]
				f.value += "\n" + string(bytes.TrimRight(text[1:], " \t\r"))
				s.fields[current] = f
			}
			continue
		}
		name, value, ok := bytes.Cut(text, []byte(":"))
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
			fail("neither a field nor a continuation line")
			continue
		}
		current = canonical(string(name))
		if wanted = p.keep(current); !wanted {
			continue
		}
		if _, twice := s.fields[current]; twice {
			fail("field " + current + " twice in one stanza")
			continue
		}
		s.fields[current] = field{string(bytes.TrimSpace(value)), p.line}
	}
}

// read returns the next line without its newline. One that is too long is
// skipped and gives a syntaxError.
func (p *parser) read() ([]byte, error) {
	p.buf = p.buf[:0]
	tooLong := false
	for {
		part, err := p.lines.ReadSlice('\n')
		if len(p.buf)+len(part) > maxLine {
			tooLong = true
		} else {
			p.buf = append(p.buf, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(p.buf) == 0 && !tooLong:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		}
		p.line++
		if tooLong {
			return nil, &syntaxError{p.line, fmt.Sprintf("a line of more than %d bytes", maxLine)}
		}
		return bytes.TrimSuffix(p.buf, []byte("\n")), nil
	}
}

// canonical gives field names, which differ in case at will, the case of the
// manual: Package, Multi-Arch.
func canonical(name string) string {
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			parts := strings.Split(strings.ToLower(name), "-")
			for j, s := range parts {
				if s != "" {
					parts[j] = strings.ToUpper(s[:1]) + s[1:]
				}
			}
			return strings.Join(parts, "-")
		}
		upper = c == '-'
	}
	return name
}
