package plan

import (
	"regexp"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// maxLiteral is how far behind its name a value may begin.
const maxLiteral = 4 << 10

// lineStart is the offset of a line, counted from 1.
func lineStart(text string, line int) (int, bool) {
	at := 0
	for n := 1; n < line; n++ {
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			return 0, false
		}
		at += i + 1
	}
	return at, line > 0 && at <= len(text)
}

func lineEnd(text string, at int) int {
	if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i
	}
	return len(text)
}

// replaceValue is the edit that gives a setting another value. The setting was
// read at that line with that value, whatever the format of the file is: its
// name, then signs, then the value as it stands, plain or in quotes. It is false
// where the value is not written so (joined from parts, or with escapes), and
// nobody should guess.
func replaceValue(text string, line int, key, old, value string) (handoff.Edit, bool) {
	start, ok := lineStart(text, line)
	if !ok {
		return handoff.Edit{}, false
	}
	name := key[strings.LastIndexByte(key, '.')+1:]
	end := lineEnd(text, start)
	for at := start; ; {
		i := indexName(text[at:end], name)
		if i < 0 {
			return handoff.Edit{}, false
		}
		at += i + len(name)
		if old == "" {
			return fillIn(text, at, end, value)
		}
		if e, ok := literal(text, at, old, value); ok {
			return e, true
		}
	}
}

// indexName finds a name as a whole word; upper and lower case are equal, and so
// are - and _.
func indexName(text, name string) int {
	text, name = foldName(text), foldName(name)
	for at := 0; ; {
		i := strings.Index(text[at:], name)
		if i < 0 || name == "" {
			return -1
		}
		i += at
		if (i == 0 || !wordByte(text[i-1])) && (i+len(name) == len(text) || !wordByte(text[i+len(name)])) {
			return i
		}
		at = i + 1
	}
}

func foldName(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		case c == '-':
			b[i] = '_'
		}
	}
	return string(b)
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// literal is the edit of the value that begins behind at, past signs.
func literal(text string, at int, old, value string) (handoff.Edit, bool) {
	from := at
	for at < len(text) && at-from < maxLiteral && strings.IndexByte(" \t\r\n=:,'\"()>]", text[at]) >= 0 {
		at++
	}
	if at == from || !strings.HasPrefix(text[at:], old) {
		return handoff.Edit{}, false
	}
	end := at + len(old)
	if quote := text[at-1]; quote == '\'' || quote == '"' {
		ok := end < len(text) && text[end] == quote && !strings.ContainsAny(value, `\'"$`)
		rest := strings.TrimLeft(text[min(end+1, len(text)):], " \t")
		joined := rest != "" && strings.IndexByte(".+", rest[0]) >= 0
		return handoff.Edit{At: int64(at), Old: old, New: value}, ok && !joined
	}
	if end < len(text) && strings.IndexByte(" \t\r\n;,)#<", text[end]) < 0 {
		return handoff.Edit{}, false
	}
	return handoff.Edit{At: int64(at), Old: old, New: plainValue(value)}, true
}

// fillIn gives a value to a setting that has none: an option that its presence
// switches on, or an empty assignment.
func fillIn(text string, at, end int, value string) (handoff.Edit, bool) {
	rest := strings.TrimRight(text[at:end], "\r")
	trimmed := strings.TrimLeft(rest, " \t")
	switch {
	case strings.HasPrefix(trimmed, "="):
		blanks := len(trimmed) - 1 - len(strings.TrimLeft(trimmed[1:], " \t"))
		at += len(rest) - len(trimmed) + 1 + blanks
		return handoff.Edit{At: int64(at), New: plainValue(value)}, true
	case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		return handoff.Edit{At: int64(at), New: " = " + plainValue(value)}, true
	}
	return handoff.Edit{}, false
}

// plainValue puts a value between quotes when it is not a plain word.
func plainValue(value string) string {
	for i := range len(value) {
		if c := value[i]; !wordByte(c) && strings.IndexByte(".:-/", c) < 0 {
			return "'" + value + "'"
		}
	}
	return value
}

// replaceAddress is the edit of an address within a line.
func replaceAddress(text string, line int, old, value string) (handoff.Edit, bool) {
	start, ok := lineStart(text, line)
	if !ok {
		return handoff.Edit{}, false
	}
	i := indexAddress(text[start:lineEnd(text, start)], old)
	if i < 0 {
		return handoff.Edit{}, false
	}
	return handoff.Edit{At: int64(start + i), Old: old, New: value}, true
}

// addLine is the edit that adds a line behind the first one that begins with
// after, or at the end of the text; line is where it will stand.
func addLine(text, after, add string) (e handoff.Edit, line int, ok bool) {
	if after == "" {
		line = strings.Count(text, "\n") + 1
		if text != "" && !strings.HasSuffix(text, "\n") {
			return handoff.Edit{At: int64(len(text)), New: "\n" + add + "\n"}, line + 1, true
		}
		return handoff.Edit{At: int64(len(text)), New: add + "\n"}, line, true
	}
	at := 0
	for n := 1; at < len(text); n++ {
		end := lineEnd(text, at)
		if strings.HasPrefix(strings.TrimSpace(text[at:end]), after) {
			if end == len(text) {
				return handoff.Edit{At: int64(end), New: "\n" + add + "\n"}, n + 1, true
			}
			return handoff.Edit{At: int64(end + 1), New: add + "\n"}, n + 1, true
		}
		at = end + 1
	}
	return handoff.Edit{}, 0, false
}

// match is where a pattern's first group was found.
type match struct {
	line       int
	start, end int // of the group
	last       int // end of the line, without its newline
	// The second group, where the pattern has one and it was found; else both are 0.
	start2, end2 int
}

// matches looks for the pattern in each line.
func matches(text, pattern string) []match {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil // profiles are checked when they are read
	}
	var out []match
	at := 0
	for n := 1; at < len(text); n++ {
		end := lineEnd(text, at)
		line := strings.TrimRight(text[at:end], "\r")
		if m := re.FindStringSubmatchIndex(line); m != nil && m[2] >= 0 {
			found := match{line: n, start: at + m[2], end: at + m[3], last: at + len(line)}
			if len(m) > 4 && m[4] >= 0 {
				found.start2, found.end2 = at+m[4], at+m[5]
			}
			out = append(out, found)
		}
		at = end + 1
	}
	return out
}
