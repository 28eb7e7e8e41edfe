package settings

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// java reads properties as java.util.Properties.load has them: key = value,
// key: value or key value, comments with # or !, lines that go on after a
// backslash, and escapes.
type java struct{}

func (java) parse(rd *reader, f file) error {
	start, logical := 0, ""
	for n, line := range lines(f.text) {
		line = strings.TrimLeft(line, " \t\f")
		if start == 0 {
			if line == "" || line[0] == '#' || line[0] == '!' {
				continue
			}
			start = n
		}
		if trailing := len(line) - len(strings.TrimRight(line, `\`)); trailing%2 == 1 && len(logical) < maxValue {
			logical += line[:len(line)-1]
			continue
		}
		key, value := property(logical + line)
		if err := rd.set(f.at(start), key, key, value); err != nil {
			return err
		}
		start, logical = 0, ""
	}
	if start == 0 {
		return nil
	}
	key, value := property(logical)
	return rd.set(f.at(start), key, key, value)
}

func property(line string) (key, value string) {
	end := 0
	for end < len(line) && strings.IndexByte("=: \t\f", line[end]) < 0 {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	return unescapeProperty(line[:end]), unescapeProperty(rest)
}

func unescapeProperty(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if i+5 <= len(s) {
				if v, err := strconv.ParseUint(s[i+1:i+5], 16, 32); err == nil && utf8.ValidRune(rune(v)) {
					b.WriteRune(rune(v))
					i += 4
					continue
				}
			}
			b.WriteByte('u')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
