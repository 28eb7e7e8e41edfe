// Package envfile reads files of variables as systemd reads an
// EnvironmentFile= (systemd.exec(5)).
package envfile

import "strings"

// Variable is one assignment. Value may be a credential.
type Variable struct {
	Name  string
	Value string
	Line  int // where it starts, from 1
}

// state is where the reader is in a file; the names are those of systemd's own
// reader (src/basic/env-file.c), which this one follows.
type state int

const (
	preKey state = iota
	key
	preValue
	value
	valueEscape
	single
	double
	doubleEscape
	comment
	commentEscape
)

type reader struct {
	out        []Variable
	name, text strings.Builder
	solid      int // length of text up to the last byte that is no trailing space
	line       int
	start      int
}

// Parse reads assignments in order. A name that comes twice is there twice: the
// last counts. What is no assignment, or has a name that no variable can have,
// is passed over, as systemd does.
func Parse(data string) []Variable {
	r := &reader{line: 1}
	s := preKey
	for _, c := range []byte(data) {
		s = r.step(s, c)
		if c == '\n' {
			r.line++
		}
	}
	switch s {
	case preValue, value, valueEscape, single, double, doubleEscape:
		r.end(s == value)
	}
	return r.out
}

func (r *reader) step(s state, c byte) state {
	switch s {
	case preKey:
		switch {
		case c == '#' || c == ';':
			return comment
		case !space(c):
			r.name.Reset()
			r.text.Reset()
			r.solid, r.start = 0, r.line
			r.name.WriteByte(c)
			return key
		}
	case key:
		switch c {
		case '\n', '\r':
			return preKey
		case '=':
			return preValue
		}
		r.name.WriteByte(c)
	case preValue:
		switch {
		case c == '\n' || c == '\r':
			r.end(false)
			return preKey
		case c == '\'':
			return single
		case c == '"':
			return double
		case c == '\\':
			return valueEscape
		case !space(c):
			r.put(c)
			return value
		}
	case value:
		switch c {
		case '\n', '\r':
			r.end(true)
			return preKey
		case '\\':
			r.solid = r.text.Len()
			return valueEscape
		}
		r.text.WriteByte(c)
		if !space(c) {
			r.solid = r.text.Len()
		}
	case valueEscape:
		if c != '\n' && c != '\r' {
			r.put(c)
		}
		return value
	case single:
		if c == '\'' {
			return preValue
		}
		r.put(c)
	case double:
		switch c {
		case '"':
			return preValue
		case '\\':
			return doubleEscape
		}
		r.put(c)
	case doubleEscape:
		switch {
		case strings.IndexByte("\"\\`$", c) >= 0:
			r.put(c)
		case c != '\n' && c != '\r':
			r.put('\\')
			r.put(c)
		}
		return double
	case comment:
		switch c {
		case '\\':
			return commentEscape
		case '\n', '\r':
			return preKey
		}
	case commentEscape:
		if c == '\n' || c == '\r' {
			return preKey
		}
		return comment
	}
	return s
}

func (r *reader) put(c byte) {
	r.text.WriteByte(c)
	r.solid = r.text.Len()
}

// end closes an assignment; trim drops unquoted space at its end.
func (r *reader) end(trim bool) {
	name := strings.TrimRight(r.name.String(), " \t")
	text := r.text.String()
	if trim {
		text = text[:r.solid]
	}
	if ValidName(name) {
		r.out = append(r.out, Variable{Name: name, Value: text, Line: r.start})
	}
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// ValidName reports whether systemd takes s as the name of a variable: letters,
// digits and underscores, no digit first (environ(7)).
func ValidName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
