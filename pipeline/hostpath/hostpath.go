// Package hostpath names places on a legacy host.
//
// A path on Linux is a string of bytes other than NUL (path_resolution(7));
// it need not be UTF-8 and may hold newlines. Path keeps those bytes as they
// are. Text (JSON, YAML, reports, the command line, listings) shows them in one
// reversible escape, see [Path.String].
package hostpath

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Path is an absolute, clean path below the root of a host or of a volume:
// "/" is that root itself, and no path ends in a slash otherwise.
type Path string

// Root is the top of a tree.
const Root Path = "/"

// Clean makes a Path of p, which may be relative to the root, and resolves "."
// and ".." lexically, never above the root.
func Clean(p string) Path { return Path(path.Clean("/" + p)) }

// Join appends a relative path.
func (p Path) Join(elem ...string) Path {
	return Path(path.Join(append([]string{string(p)}, elem...)...))
}

// Base is the last element of p; "/" for the root.
func (p Path) Base() string {
	if i, ok := p.lastSlash(); ok {
		return string(p[i+1:])
	}
	return path.Base(string(p))
}

// Dir is the parent of p; the root is its own parent.
func (p Path) Dir() Path {
	if i, ok := p.lastSlash(); ok {
		return p[:max(i, 1)]
	}
	return Path(path.Dir(string(p)))
}

// lastSlash is the place of the last slash of a path that is surely clean, and
// is not the root: it spares cleaning it, millions of times.
func (p Path) lastSlash() (int, bool) {
	s := string(p)
	i := strings.LastIndexByte(s, '/')
	return i, len(s) > 1 && s[0] == '/' && i < len(s)-1 && !strings.Contains(s, "//") && !strings.Contains(s, "/.")
}

// Rel is p without the leading slash: what *at system calls and tar want.
// It is "." for the root.
func (p Path) Rel() string {
	if p == Root {
		return "."
	}
	return strings.TrimPrefix(string(p), "/")
}

// Within reports whether p is dir or lies below it.
func (p Path) Within(dir Path) bool {
	if dir == Root || p == dir {
		return true
	}
	return strings.HasPrefix(string(p), string(dir)) && p[len(dir)] == '/'
}

// Below is p as seen from dir, itself a Path: Below("/var/lib/x", "/var") is
// "/lib/x". It is p itself when p is not within dir.
func (p Path) Below(dir Path) Path {
	switch {
	case dir == Root || !p.Within(dir):
		return p
	case p == dir:
		return Root
	}
	return p[len(dir):]
}

// Compare orders paths depth first with siblings in the order of their bytes,
// so that a directory comes right before everything below it.
func Compare(a, b Path) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	switch {
	case len(a) < len(b):
		return -1
	case len(a) > len(b):
		return 1
	}
	return 0
}

// String is the path in its escape: a backslash becomes \\, a newline \n, a
// tab \t, a carriage return \r, and every byte that is not part of a printable
// UTF-8 character \xHH with two lower-case hexadecimal digits. All other
// characters, spaces included, stand for themselves. Parse reverses it.
func (p Path) String() string { return Quote(string(p)) }

// Quote escapes any bytes as [Path.String] does.
func Quote(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == utf8.RuneError && n == 1, !printable(r):
			for _, c := range []byte(s[:n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// printable excludes what a reader could mistake: controls, and the
// directional marks that make a name read as another one.
func printable(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r)
}

// Unquote reverses [Quote].
func Unquote(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("escape %q: ends in a backslash", s)
		}
		switch s[i] {
		case '\\':
			b.WriteByte('\\')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case 'x':
			if i+2 >= len(s) {
				return "", fmt.Errorf("escape %q: \\x wants two hexadecimal digits", s)
			}
			hi, ok1 := hexDigit(s[i+1])
			lo, ok2 := hexDigit(s[i+2])
			if !ok1 || !ok2 {
				return "", fmt.Errorf("escape %q: \\x wants two hexadecimal digits", s)
			}
			b.WriteByte(hi<<4 | lo)
			i += 2
		default:
			return "", fmt.Errorf("escape %q: unknown escape \\%c", s, s[i])
		}
	}
	return b.String(), nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Parse reads a path in its escape, and cleans it.
func Parse(s string) (Path, error) {
	raw, err := Unquote(s)
	if err != nil {
		return "", err
	}
	if strings.ContainsRune(raw, 0) {
		return "", fmt.Errorf("path %q holds a NUL byte", s)
	}
	return Clean(raw), nil
}

// MarshalText writes the escape.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the escape. An empty text is an empty Path: absent.
func (p *Path) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = ""
		return nil
	}
	q, err := Parse(string(text))
	if err != nil {
		return err
	}
	*p = q
	return nil
}
