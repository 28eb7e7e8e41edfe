package settings

import "strings"

type phpKind int

const (
	phpEnd phpKind = iota
	phpWord
	phpVariable // text without the $
	phpString
	phpNumber
	phpSign
)

type phpToken struct {
	kind  phpKind
	text  string
	line  int
	mixed bool // a string with variables in it
}

// phpTokens splits the PHP between <?php and ?> into tokens, without comments.
func phpTokens(text string) []phpToken {
	s := phpScanner{text: text, line: 1}
	for s.at < len(text) {
		if !s.html() {
			break
		}
		s.code()
	}
	return s.out
}

type phpScanner struct {
	text string
	at   int
	line int
	out  []phpToken
}

// skip goes n bytes on and counts lines.
func (s *phpScanner) skip(n int) {
	n = min(n, len(s.text)-s.at)
	s.line += strings.Count(s.text[s.at:s.at+n], "\n")
	s.at += n
}

// html passes over everything up to <?php or <?=.
func (s *phpScanner) html() bool {
	n := strings.Index(s.text[s.at:], "<?")
	if n < 0 {
		return false
	}
	s.skip(n + 2)
	if len(s.text)-s.at >= 3 && strings.EqualFold(s.text[s.at:s.at+3], "php") {
		s.skip(3)
	}
	return true
}

func (s *phpScanner) code() {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		c := rest[0]
		switch {
		case strings.HasPrefix(rest, "?>"):
			s.skip(2)
			s.add(phpSign, ";")
			return
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			s.skip(1)
		case c == '#' && !strings.HasPrefix(rest, "#["), strings.HasPrefix(rest, "//"):
			s.comment()
		case strings.HasPrefix(rest, "/*"):
			if n := strings.Index(rest[2:], "*/"); n >= 0 {
				s.skip(n + 4)
			} else {
				s.skip(len(rest))
			}
		case c == '\'' || c == '"' || c == '`':
			s.quoted(c)
		case strings.HasPrefix(rest, "<<<"):
			s.heredoc()
		case c == '$' && len(rest) > 1 && isWord(rest[1]):
			s.word(phpVariable, 1)
		case c >= '0' && c <= '9':
			s.word(phpNumber, 0)
		case isWord(c) || c >= 0x80 || c == '\\' && len(rest) > 1 && isWord(rest[1]):
			s.word(phpWord, 0)
		default:
			s.sign(rest)
		}
	}
}

func (s *phpScanner) add(kind phpKind, text string) {
	s.out = append(s.out, phpToken{kind: kind, text: text, line: s.line})
}

// comment ends with the line or with ?>.
func (s *phpScanner) comment() {
	line, _, _ := strings.Cut(s.text[s.at:], "\n")
	if n := strings.Index(line, "?>"); n >= 0 {
		s.skip(n)
		return
	}
	s.skip(len(line))
}

func (s *phpScanner) word(kind phpKind, from int) {
	n := from
	for s.at+n < len(s.text) {
		c := s.text[s.at+n]
		if !isWord(c) && c < 0x80 && !(c == '\\' && kind == phpWord) && !(c == '.' && kind == phpNumber) {
			break
		}
		n++
	}
	text := s.text[s.at+from : s.at+n]
	if kind == phpWord {
		text = strings.TrimPrefix(text, `\`)
	}
	s.add(kind, text)
	s.skip(n)
}

func (s *phpScanner) sign(rest string) {
	n := 1
	for _, op := range []string{"===", "!==", "??=", "=>", "==", "->", "::", "!=", "<=", ">=", ".=", "+=", "??", "?->"} {
		if strings.HasPrefix(rest, op) {
			n = len(op)
			break
		}
	}
	s.add(phpSign, rest[:n])
	s.skip(n)
}

// quoted reads a string. In single quotes only \' and \\ are escapes.
func (s *phpScanner) quoted(q byte) {
	t := phpToken{kind: phpString, line: s.line, mixed: q == '`'}
	var b strings.Builder
	i := s.at + 1
	for ; i < len(s.text) && s.text[i] != q; i++ {
		c := s.text[i]
		switch {
		case c == '\\' && i+1 < len(s.text):
			i++
			b.WriteString(phpEscape(s.text[i], q))
			continue
		case c == '$' && q == '"' && i+1 < len(s.text) && (isWord(s.text[i+1]) || s.text[i+1] == '{'),
			c == '{' && q == '"' && i+1 < len(s.text) && s.text[i+1] == '$':
			t.mixed = true
		}
		b.WriteByte(c)
	}
	t.text = b.String()
	s.out = append(s.out, t)
	s.skip(i + 1 - s.at)
}

func phpEscape(c, q byte) string {
	switch {
	case c == q || c == '\\':
		return string(c)
	case q == '\'':
		return `\` + string(c)
	}
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case '$':
		return "$"
	}
	return `\` + string(c)
}

// heredoc reads <<<NAME up to a line that begins with NAME, as a string that is
// not taken for a literal.
func (s *phpScanner) heredoc() {
	line, body, _ := strings.Cut(s.text[s.at:], "\n")
	name := strings.Trim(strings.TrimSpace(line[3:]), `"'`)
	s.out = append(s.out, phpToken{kind: phpString, line: s.line, mixed: true})
	n := len(line) + 1
	if name == "" || !isName(name) {
		s.skip(3)
		return
	}
	for l := range strings.Lines(body) {
		if t := strings.TrimLeft(l, " \t"); strings.HasPrefix(t, name) {
			s.skip(n + len(l) - len(t) + len(name))
			return
		}
		n += len(l)
	}
	s.skip(len(s.text) - s.at)
}

func isName(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) {
			return false
		}
	}
	return s != ""
}
