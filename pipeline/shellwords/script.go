package shellwords

import "strings"

// Limits of a Script against a hostile one.
const (
	maxDepth  = 4       // files sourced in files sourced …
	maxSource = 50      // files sourced in all
	maxJoined = 100     // lines of one command
	maxJoins  = 2000    // attempts to find the end of a command, in all
	maxValue  = 8 << 10 // bytes of a variable's value
)

// Script follows a shell script from top to bottom as far as that goes without
// running anything: assignments of literal values and known variables, and
// files that are sourced. What stands inside of a condition, a function or an
// indented block only sets a variable that has no value yet.
type Script struct {
	// Vars are the variables with a known value; what is there before Run counts.
	Vars map[string]string
	// Assigned is told each assignment that counts; line is that of its command,
	// from 1, and file what the outermost Source gave, "" for the script itself.
	Assigned func(name, value, file string, line int)
	// Source gives the text of a file that is sourced.
	Source func(file string) (text string, ok bool)
	// Command is told every other command, with its words as they stand.
	Command func(words []Word)

	file   string
	depth  int
	source int
	joins  int
}

// Run takes the lines of one file.
func (s *Script) Run(text string) {
	if s.Vars == nil {
		s.Vars = map[string]string{}
	}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line, number := lines[i], i+1
		indented := line != "" && (line[0] == ' ' || line[0] == '\t')
		words, err := Shell(line)
		for n := 1; err != nil && n < maxJoined && i+n < len(lines) && s.joins < maxJoins; n++ {
			s.joins++
			line += "\n" + lines[i+n]
			if words, err = Shell(line); err == nil {
				i += n
			}
		}
		if err == nil {
			s.commands(words, indented, number)
		}
	}
}

// commands divides words at operators.
func (s *Script) commands(words []Word, conditional bool, line int) {
	start := 0
	for i := 0; i <= len(words); i++ {
		if i < len(words) && !(words[i].Operator && strings.IndexByte(";&|()", words[i].Text[0]) >= 0 && words[i].Text != "&>") {
			continue
		}
		s.command(words[start:i], conditional, line)
		if i < len(words) && (words[i].Text == "&&" || words[i].Text == "||") {
			conditional = true
		}
		start = i + 1
	}
}

func (s *Script) command(words []Word, conditional bool, line int) {
	for len(words) > 0 && isPrelude(words[0]) {
		conditional = conditional || words[0].Text != "export" && words[0].Text != "readonly"
		words = words[1:]
	}
	for len(words) > 0 {
		name, value, ok := strings.Cut(words[0].Text, "=")
		if !ok || !isName(name) {
			break
		}
		s.assign(name, s.Expand(Word{Text: value, Raw: words[0].Raw}), conditional, line)
		words = words[1:]
	}
	if len(words) == 0 || words[0].Operator {
		return
	}
	switch words[0].Text {
	case ".", "source":
		if len(words) > 1 {
			s.read(s.Expand(words[1]))
		}
	case ":": // : ${NAME:=default}
		for _, w := range words[1:] {
			s.assignDefault(w.Text, line)
		}
	default:
		if s.Command != nil {
			s.Command(words)
		}
	}
}

func (s *Script) assign(name, value string, conditional bool, line int) {
	if _, set := s.Vars[name]; set && conditional || len(value) > maxValue {
		return
	}
	s.Vars[name] = value
	if s.Assigned != nil {
		s.Assigned(name, value, s.file, line)
	}
}

func (s *Script) assignDefault(text string, line int) {
	inner, ok := strings.CutPrefix(text, "${")
	if !ok || !strings.HasSuffix(inner, "}") {
		return
	}
	name, value, ok := strings.Cut(strings.TrimSuffix(inner, "}"), "=")
	name = strings.TrimSuffix(name, ":")
	if ok && isName(name) && s.Vars[name] == "" {
		s.assign(name, s.Expand(Word{Text: strings.Trim(value, `"`)}), false, line)
	}
}

// read follows a file that is sourced.
func (s *Script) read(file string) {
	if s.Source == nil || strings.Contains(file, "$") || s.depth >= maxDepth || s.source >= maxSource {
		return
	}
	s.source++
	text, ok := s.Source(file)
	if !ok {
		return
	}
	outer := s.file
	s.file, s.depth = file, s.depth+1
	s.Run(text)
	s.file, s.depth = outer, s.depth-1
}

// isPrelude is true for words before the command itself.
func isPrelude(w Word) bool {
	if w.Quoted || w.Operator {
		return false
	}
	switch w.Text {
	case "if", "then", "else", "elif", "do", "while", "until", "!", "{", "export", "readonly", "local", "exec", "nice", "time", "env", "command":
		return true
	}
	return false
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}

// Expand replaces the variables of a word that have a known value; others stay
// as they are.
func (s *Script) Expand(w Word) string {
	if w.Raw || !strings.Contains(w.Text, "$") {
		return w.Text
	}
	if text := s.expand(w.Text, 0); len(text) <= maxValue {
		return text
	}
	return w.Text
}

func (s *Script) expand(text string, depth int) string {
	var b strings.Builder
	for i := 0; i < len(text) && b.Len() <= maxValue; i++ {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		if text[i+1] == '{' {
			end := closing(text[i:])
			if end < 0 {
				return b.String() + text[i:]
			}
			if value, ok := s.parameter(text[i+2:i+end], depth); ok {
				b.WriteString(value)
			} else {
				b.WriteString(text[i : i+end+1])
			}
			i += end
			continue
		}
		end := i + 1
		for end < len(text) && isName(text[i+1:end+1]) {
			end++
		}
		if value, ok := s.Vars[text[i+1:end]]; ok && end > i+1 {
			b.WriteString(value)
		} else {
			b.WriteString(text[i:end])
		}
		i = end - 1
	}
	return b.String()
}

// closing is the place of the brace that closes the ${ that s begins with, -1
// for none.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// parameter is the value of NAME, NAME:-default, NAME-default, NAME:=default
// (POSIX.1-2017, 2.6.2 Parameter Expansion).
func (s *Script) parameter(text string, depth int) (string, bool) {
	n := 0
	for n < len(text) && isName(text[:n+1]) {
		n++
	}
	name, op := text[:n], text[n:]
	value, ok := s.Vars[name]
	switch {
	case op == "":
		return value, ok
	case depth > maxDepth:
		return "", false
	case strings.HasPrefix(op, ":-") || strings.HasPrefix(op, ":="):
		if value != "" {
			return value, true
		}
		return s.expand(strings.Trim(op[2:], `"'`), depth+1), true
	case strings.HasPrefix(op, "-") || strings.HasPrefix(op, "="):
		if ok {
			return value, true
		}
		return s.expand(strings.Trim(op[1:], `"'`), depth+1), true
	}
	return "", false
}
