package shellwords

import (
	"fmt"
	"strings"
)

// Word is a word of a shell command.
type Word struct {
	Text string
	// Quoted is true when a part of it was in quotes: "" is a word, too.
	Quoted bool
	// Raw is true when single quotes or backslashes protected a $ or `, which
	// then are no expansion.
	Raw bool
	// Operator is true for ; & && | || ( ) < > and their like.
	Operator bool
	// At is where the word begins in the text.
	At int
}

// Shell splits a line of shell into words and operators (POSIX.1-2017, 2.3
// Token Recognition, 2.2 Quoting). Quotes are removed; nothing is expanded:
// $NAME, ${NAME} and $(command) stay as they are, each within one word. A
// comment ends the line.
func Shell(s string) ([]Word, error) {
	l := lexer{text: s}
	for l.at < len(s) {
		if err := l.step(); err != nil {
			return l.words, err
		}
	}
	l.flush()
	return l.words, nil
}

type lexer struct {
	text   string
	at     int
	words  []Word
	word   strings.Builder
	inside bool // a word has begun
	start  int
	quoted bool
	raw    bool
}

func (l *lexer) flush() {
	if l.inside {
		l.words = append(l.words, Word{Text: l.word.String(), Quoted: l.quoted, Raw: l.raw, At: l.start})
	}
	l.word.Reset()
	l.inside, l.quoted, l.raw = false, false, false
}

func (l *lexer) begin() {
	if !l.inside {
		l.inside, l.start = true, l.at
	}
}

func (l *lexer) step() error {
	switch c := l.text[l.at]; {
	case c == ' ' || c == '\t' || c == '\r':
		l.flush()
		l.at++
	case c == '\n':
		l.flush()
		l.words = append(l.words, Word{Text: ";", Operator: true, At: l.at})
		l.at++
	case c == '#' && !l.inside:
		if n := strings.IndexByte(l.text[l.at:], '\n'); n >= 0 {
			l.at += n
		} else {
			l.at = len(l.text)
		}
	case strings.IndexByte(";&|()<>", c) >= 0:
		l.operator()
	case c == '\\':
		return l.backslash()
	case c == '\'':
		return l.single()
	case c == '"':
		return l.double()
	case c == '$' || c == '`':
		l.begin()
		n, err := expansion(l.text[l.at:])
		l.word.WriteString(l.text[l.at : l.at+n])
		l.at += n
		return err
	default:
		l.begin()
		l.word.WriteByte(c)
		l.at++
	}
	return nil
}

func (l *lexer) operator() {
	l.flush()
	n := 1
	if rest := l.text[l.at:]; len(rest) > 1 {
		switch rest[:2] {
		case "&&", "||", ";;", ">>", "<<", ">&", "<&", ">|", "<>", "&>":
			n = 2
		}
	}
	l.words = append(l.words, Word{Text: l.text[l.at : l.at+n], Operator: true, At: l.at})
	l.at += n
}

func (l *lexer) backslash() error {
	if l.at+1 == len(l.text) {
		return fmt.Errorf("%w", ErrQuote)
	}
	c := l.text[l.at+1]
	if c != '\n' { // a line goes on
		l.begin()
		l.raw = l.raw || c == '$' || c == '`'
		l.word.WriteByte(c)
	}
	l.at += 2
	return nil
}

func (l *lexer) single() error {
	n := strings.IndexByte(l.text[l.at+1:], '\'')
	if n < 0 {
		l.at = len(l.text)
		return fmt.Errorf("%w", ErrQuote)
	}
	l.begin()
	text := l.text[l.at+1 : l.at+1+n]
	l.quoted = true
	l.raw = l.raw || strings.ContainsAny(text, "$`")
	l.word.WriteString(text)
	l.at += n + 2
	return nil
}

func (l *lexer) double() error {
	l.begin()
	l.quoted = true
	for l.at++; l.at < len(l.text); l.at++ {
		switch c := l.text[l.at]; c {
		case '"':
			l.at++
			return nil
		case '\\':
			if l.at+1 < len(l.text) && strings.IndexByte("$`\"\\\n", l.text[l.at+1]) >= 0 {
				l.at++
				if c := l.text[l.at]; c != '\n' {
					l.raw = l.raw || c == '$' || c == '`'
					l.word.WriteByte(c)
				}
				continue
			}
			l.word.WriteByte(c)
		case '$', '`':
			n, err := expansion(l.text[l.at:])
			l.word.WriteString(l.text[l.at : l.at+n])
			l.at += n - 1
			if err != nil {
				return err
			}
		default:
			l.word.WriteByte(c)
		}
	}
	return fmt.Errorf("%w", ErrQuote)
}

// expansion is the length of the expansion that s begins with; 1 for a $ that
// begins none.
func expansion(s string) (int, error) {
	if s[0] == '`' {
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '`':
				return i + 1, nil
			}
		}
		return len(s), fmt.Errorf("%w", ErrQuote)
	}
	if len(s) < 2 || s[1] != '{' && s[1] != '(' {
		return 1, nil
	}
	depth := 0
	quote := byte(0)
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{' || c == '(':
			depth++
		case c == '}' || c == ')':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
	}
	return len(s), fmt.Errorf("%w", ErrQuote)
}
