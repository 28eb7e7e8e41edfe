// Package shellwords splits text into words as systemd and as the shell do,
// without running anything.
package shellwords

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrQuote is wrapped for text that ends inside quotes or after a backslash.
var ErrQuote = errors.New("ends inside quotes or after a backslash")

// Systemd splits a value of a unit file at blanks: quotes may stand anywhere in
// a word and are removed, C escapes are replaced; an escape that is none stays
// as it is, as systemd warns and does (systemd.syntax(7), "Quoting";
// extract_first_word in its source).
func Systemd(s string) ([]string, error) {
	var words []string
	for {
		word, rest, ok, err := NextSystemd(s)
		if err != nil || !ok {
			return words, err
		}
		words, s = append(words, word), rest
	}
}

// NextSystemd takes the first word of s; ok is false when there is none. rest
// begins at the next word.
func NextSystemd(s string) (word, rest string, ok bool, err error) {
	s = strings.TrimLeft(s, blanks)
	if s == "" {
		return "", "", false, nil
	}
	var b strings.Builder
	quote := byte(0)
	i := 0
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			text, n, ok := unescape(s[i:])
			switch {
			case ok:
				b.WriteString(text)
				i += n - 1
			case i+1 == len(s):
				return "", "", false, fmt.Errorf("%q: %w", s, ErrQuote)
			default: // unknown: both characters stay
				b.WriteByte('\\')
				b.WriteByte(s[i+1])
				i++
			}
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				b.WriteByte(c)
			}
		case c == '"' || c == '\'':
			quote = c
		case strings.IndexByte(blanks, c) >= 0:
			return b.String(), strings.TrimLeft(s[i:], blanks), true, nil
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", "", false, fmt.Errorf("%q: %w", s, ErrQuote)
	}
	return b.String(), "", true, nil
}

const blanks = " \t\n\r"

// unescape reads the C escape that s begins with; n is its length.
func unescape(s string) (text string, n int, ok bool) {
	if len(s) < 2 {
		return "", 0, false
	}
	switch s[1] {
	case 'a':
		return "\a", 2, true
	case 'b':
		return "\b", 2, true
	case 'f':
		return "\f", 2, true
	case 'n':
		return "\n", 2, true
	case 'r':
		return "\r", 2, true
	case 't':
		return "\t", 2, true
	case 'v':
		return "\v", 2, true
	case 's':
		return " ", 2, true
	case '\\', '"', '\'':
		return s[1:2], 2, true
	case 'x':
		return number(s, 2, 2, 16)
	case 'u':
		return number(s, 2, 4, 16)
	case 'U':
		return number(s, 2, 8, 16)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		return number(s, 1, 3, 8)
	}
	return "", 0, false
}

// number reads an escape of exactly digits digits from s[from:]: a byte, or for
// \u and \U a character. NUL is refused.
func number(s string, from, digits, base int) (text string, n int, ok bool) {
	if len(s) < from+digits {
		return "", 0, false
	}
	v, err := strconv.ParseUint(s[from:from+digits], base, 32)
	switch {
	case err != nil || v == 0 || strings.ContainsAny(s[from:from+1], "+-"):
		return "", 0, false
	case digits >= 4:
		if v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
			return "", 0, false
		}
		return string(rune(v)), from + digits, true
	case v > 255:
		return "", 0, false
	}
	return string([]byte{byte(v)}), from + digits, true
}

// Unescape replaces the C escapes of a whole value, which is no list of words
// (systemd.syntax(7)). One that is none is an error.
func Unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		text, n, ok := unescape(s[i:])
		if !ok {
			return "", fmt.Errorf("byte %d begins no escape", i)
		}
		b.WriteString(text)
		i += n - 1
	}
	return b.String(), nil
}
