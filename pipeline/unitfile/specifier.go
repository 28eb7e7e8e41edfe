package unitfile

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnknowable is wrapped for a specifier whose value only the running host
// knows (%b, %v), or that Host leaves empty.
var ErrUnknowable = errors.New("specifier has no known value")

// Host is what specifiers say about the machine. Empty fields are unknown.
type Host struct {
	Hostname       string // %H; %l is its part before the first dot, %q its pretty form
	MachineID      string // %m
	Architecture   string // %a: x86-64, arm64
	ID             string // %o, os-release ID=
	VersionID      string // %w
	VariantID      string // %W
	BuildID        string // %B
	ImageID        string // %M
	ImageVersion   string // %A
	RootShell      string // %s
	PrettyHostname string // %q
}

// Expand replaces the specifiers in a value of the unit's file at path, as the
// system manager does (systemd.unit(5), "Specifiers"). %u, %h and the like are
// those of the manager, root, not of User=. What is no specifier stays as it
// is.
func Expand(value string, unit Name, path string, host Host) (string, error) {
	if !strings.Contains(value, "%") {
		return value, nil
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '%' || i+1 == len(value) {
			b.WriteByte(value[i])
			continue
		}
		i++
		text, known, err := specifier(value[i], unit, path, host)
		if err != nil {
			return "", fmt.Errorf("%%%c in %q of %s: %w", value[i], value, unit, err)
		}
		if !known {
			b.WriteByte('%')
			b.WriteByte(value[i])
			continue
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func specifier(c byte, unit Name, path string, host Host) (text string, known bool, err error) {
	switch c {
	case '%':
		return "%", true, nil
	case 'n':
		return string(unit), true, nil
	case 'N':
		return unit.Base(), true, nil
	case 'p':
		return unit.Prefix(), true, nil
	case 'P':
		text, err = Unescape(unit.Prefix())
		return text, true, err
	case 'i':
		return unit.Instance(), true, nil
	case 'I':
		text, err = Unescape(unit.Instance())
		return text, true, err
	case 'j', 'J':
		text = unit.Prefix()
		text = text[strings.LastIndexByte(text, '-')+1:]
		if c == 'J' {
			text, err = Unescape(text)
		}
		return text, true, err
	case 'f':
		text = unit.Instance()
		if text == "" {
			text = unit.Prefix()
		}
		text, err = UnescapePath(text)
		return text, true, err
	case 'y':
		return path, true, nil
	case 'Y':
		return path[:max(strings.LastIndexByte(path, '/'), 0)], true, nil
	}
	if dir := managerDirectory(c); dir != "" {
		return dir, true, nil
	}
	if of, ok := ofHost(c, host); ok {
		if of == "" && !mayBeEmpty(c) {
			return "", true, ErrUnknowable
		}
		return of, true, nil
	}
	switch c {
	case 'd':
		return Credentials + "/" + string(unit), true, nil
	case 'b', 'v':
		return "", true, ErrUnknowable
	}
	return "", false, nil
}

// managerDirectory is what the system manager has for its own user and its
// directories.
func managerDirectory(c byte) string {
	switch c {
	case 'C':
		return "/var/cache"
	case 'D':
		return "/usr/share"
	case 'E':
		return "/etc"
	case 'L':
		return "/var/log"
	case 'S':
		return "/var/lib"
	case 't':
		return "/run"
	case 'T':
		return "/tmp"
	case 'V':
		return "/var/tmp"
	case 'h':
		return "/root"
	case 'u', 'g':
		return "root"
	case 'U', 'G':
		return "0"
	}
	return ""
}

func ofHost(c byte, h Host) (string, bool) {
	switch c {
	case 'H':
		return h.Hostname, true
	case 'l':
		short, _, _ := strings.Cut(h.Hostname, ".")
		return short, true
	case 'q':
		if h.PrettyHostname == "" {
			return h.Hostname, true
		}
		return h.PrettyHostname, true
	case 'm':
		return h.MachineID, true
	case 'a':
		return h.Architecture, true
	case 'o':
		return h.ID, true
	case 'w':
		return h.VersionID, true
	case 'W':
		return h.VariantID, true
	case 'B':
		return h.BuildID, true
	case 'M':
		return h.ImageID, true
	case 'A':
		return h.ImageVersion, true
	case 's':
		return h.RootShell, true
	}
	return "", false
}

// mayBeEmpty is true for fields of os-release(5) that need not be there.
func mayBeEmpty(c byte) bool { return strings.IndexByte("owWBMA", c) >= 0 }
