package unitfile

import (
	"fmt"
	"strconv"
	"strings"
)

// Name is the name of a unit: apache2.service, getty@tty1.service, and of a
// template: getty@.service.
type Name string

// Valid reports whether systemd would take n for a unit's name (systemd.unit(5)).
func (n Name) Valid() bool {
	if n == "" || len(n) > 255 || !KnownType(n.Type()) {
		return false
	}
	body := n.Base()
	if body == "" || body[0] == '@' {
		return false
	}
	for i := range len(body) {
		if c := body[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(":-_.\\@", c) >= 0) {
			return false
		}
	}
	return true
}

// KnownType reports whether t is a type of unit.
func KnownType(t string) bool {
	switch t {
	case "service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope":
		return true
	}
	return false
}

// Type is the suffix without its dot.
func (n Name) Type() string {
	if i := strings.LastIndexByte(string(n), '.'); i >= 0 {
		return string(n[i+1:])
	}
	return ""
}

// Base is the name without the type: %N.
func (n Name) Base() string {
	if i := strings.LastIndexByte(string(n), '.'); i >= 0 {
		return string(n[:i])
	}
	return string(n)
}

// Prefix is the name before the @, or before the type: %p.
func (n Name) Prefix() string {
	prefix, _, _ := strings.Cut(n.Base(), "@")
	return prefix
}

// Instance is what stands between @ and the type: %i. "" for a template and for
// a unit that is no instance.
func (n Name) Instance() string {
	_, instance, _ := strings.Cut(n.Base(), "@")
	return instance
}

// IsTemplate reports whether n is NAME@.TYPE.
func (n Name) IsTemplate() bool {
	return strings.HasSuffix(n.Base(), "@") && !strings.HasPrefix(string(n), "@")
}

// IsInstance reports whether n is NAME@INSTANCE.TYPE.
func (n Name) IsInstance() bool { return n.Instance() != "" }

// Template is the template of an instance, and n itself otherwise.
func (n Name) Template() Name {
	if !n.IsInstance() {
		return n
	}
	return Name(n.Prefix() + "@." + n.Type())
}

// Of is the instance of a template, and n itself otherwise.
func (n Name) Of(instance string) Name {
	if !n.IsTemplate() {
		return n
	}
	return Name(n.Prefix() + "@" + instance + "." + n.Type())
}

// DropInDirs are the names of the directories for drop-ins, the most specific
// first: for foo-bar@x.service foo-bar@x.service.d, foo-bar@.service.d,
// foo-@x.service.d, foo-@.service.d. The one of the type, service.d, is not
// among them, since it ranks behind all of every search directory.
func (n Name) DropInDirs() []string {
	out := []string{string(n) + ".d"}
	if n.IsInstance() {
		out = append(out, string(n.Template())+".d")
	}
	dash := strings.LastIndexByte(strings.TrimSuffix(n.Prefix(), "-"), '-')
	if dash <= 0 {
		return out
	}
	shorter := n.Prefix()[:dash+1]
	if _, instance, ok := strings.Cut(n.Base(), "@"); ok {
		shorter += "@" + instance
	}
	return append(out, Name(shorter+"."+n.Type()).DropInDirs()...)
}

// Unescape reverses systemd-escape(1): a dash becomes a slash, \xHH a byte.
func Unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '-':
			b.WriteByte('/')
		case s[i] != '\\':
			b.WriteByte(s[i])
		default:
			if len(s) < i+4 || s[i+1] != 'x' {
				return "", fmt.Errorf("unit name %q: broken escape", s)
			}
			v, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				return "", fmt.Errorf("unit name %q: broken escape", s)
			}
			b.WriteByte(byte(v))
			i += 3
		}
	}
	return b.String(), nil
}

// UnescapePath is Unescape for a path: the result is absolute.
func UnescapePath(s string) (string, error) {
	if s == "-" {
		return "/", nil
	}
	p, err := Unescape(s)
	if err != nil {
		return "", err
	}
	return "/" + strings.TrimPrefix(p, "/"), nil
}

// Escape makes any text part of a unit's name, as systemd-escape(1) does.
func Escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '/':
			b.WriteByte('-')
		case c == '.' && i == 0, !(isAlnum(c) || c == ':' || c == '_' || c == '.'):
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// EscapePath makes a path part of a unit's name, as systemd-escape --path does:
// /var/lib is var-lib, the root is "-".
func EscapePath(path string) string {
	var parts []string
	for _, p := range strings.Split(path, "/") {
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return Escape(strings.Join(parts, "/"))
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
