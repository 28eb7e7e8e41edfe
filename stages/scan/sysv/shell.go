package sysv

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/shellwords"
)

const (
	maxDepth  = 4
	maxJoined = 100     // lines of one command
	maxJoins  = 2000    // attempts to find the end of a command, in all
	maxValue  = 8 << 10 // bytes of a variable's value
	maxReads  = 50
	maxCalls  = 200
)

// shell follows a script from top to bottom as far as that goes without running
// it: assignments and files that are sourced.
type shell struct {
	root  *rootfs.Root
	vars  map[string]string
	order []string // names, in the order of their first assignment
	reads []hostpath.Path
	joins int
	calls [][]shellwords.Word // commands that start daemons, not yet expanded
}

// run takes the lines of one file.
func (sh *shell) run(text string, depth int) {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		indented := line != "" && (line[0] == ' ' || line[0] == '\t')
		words, err := shellwords.Shell(line)
		for n := 1; err != nil && n < maxJoined && i+n < len(lines) && sh.joins < maxJoins; n++ {
			sh.joins++
			line += "\n" + lines[i+n]
			if words, err = shellwords.Shell(line); err == nil {
				i += n
			}
		}
		if err != nil {
			continue
		}
		sh.commands(words, indented, depth)
	}
}

// commands divides words at operators.
func (sh *shell) commands(words []shellwords.Word, conditional bool, depth int) {
	start := 0
	for i := 0; i <= len(words); i++ {
		if i < len(words) && !(words[i].Operator && strings.IndexByte(";&|()", words[i].Text[0]) >= 0 && words[i].Text != ">&") {
			continue
		}
		sh.command(words[start:i], conditional, depth)
		if i < len(words) && (words[i].Text == "&&" || words[i].Text == "||") {
			conditional = true
		}
		start = i + 1
	}
}

func (sh *shell) command(words []shellwords.Word, conditional bool, depth int) {
	for len(words) > 0 && isPrelude(words[0]) {
		conditional = conditional || words[0].Text != "export" && words[0].Text != "readonly"
		words = words[1:]
	}
	for len(words) > 0 {
		name, value, ok := strings.Cut(words[0].Text, "=")
		if !ok || !isName(name) {
			break
		}
		value = sh.expand(shellwords.Word{Text: value, Raw: words[0].Raw})
		if _, set := sh.vars[name]; !set || !conditional {
			sh.set(name, value)
		}
		words = words[1:]
	}
	if len(words) == 0 || words[0].Operator {
		return
	}
	switch words[0].Text {
	case ".", "source":
		if len(words) > 1 {
			sh.source(sh.expand(words[1]), depth)
		}
	case ":": // : ${NAME:=default}
		for _, w := range words[1:] {
			sh.assignDefault(w.Text)
		}
	default:
		if isStarter(words[0].Text) && len(sh.calls) < maxCalls {
			sh.calls = append(sh.calls, words)
		}
	}
}

func (sh *shell) set(name, value string) {
	if len(value) > maxValue {
		return
	}
	if _, ok := sh.vars[name]; !ok {
		sh.order = append(sh.order, name)
	}
	sh.vars[name] = value
}

func (sh *shell) assignDefault(text string) {
	inner, ok := strings.CutPrefix(text, "${")
	if !ok || !strings.HasSuffix(inner, "}") {
		return
	}
	name, value, ok := strings.Cut(strings.TrimSuffix(inner, "}"), "=")
	name = strings.TrimSuffix(name, ":")
	if ok && isName(name) && sh.vars[name] == "" {
		sh.set(name, sh.expand(shellwords.Word{Text: strings.Trim(value, `"`)}))
	}
}

// isPrelude is true for words before the command itself.
func isPrelude(w shellwords.Word) bool {
	if w.Quoted || w.Operator {
		return false
	}
	switch w.Text {
	case "if", "then", "else", "elif", "do", "while", "until", "!", "{", "export", "readonly", "local", "exec", "nice", "time", "env", "command":
		return true
	}
	return strings.HasSuffix(w.Text, ")") && !strings.Contains(w.Text, "$") // start)
}

func isStarter(name string) bool {
	switch name[strings.LastIndexByte(name, '/')+1:] {
	case "start-stop-daemon", "daemon", "start_daemon", "su", "runuser", "sudo", "daemonize":
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

// source reads a file that the script sources. The libraries of functions say
// nothing about the service.
func (sh *shell) source(file string, depth int) {
	if !strings.HasPrefix(file, "/") || strings.Contains(file, "$") || depth >= maxDepth || len(sh.reads) >= maxReads {
		return
	}
	p := hostpath.Clean(file)
	if p.Within("/lib") || p.Within("/usr/lib") || p.Base() == "functions" {
		return
	}
	data, err := sh.root.ReadFile(p, maxFile)
	if err != nil {
		return
	}
	sh.reads = append(sh.reads, p)
	sh.run(string(data), depth+1)
}

// expand replaces the variables of a word that have a known value; others stay.
func (sh *shell) expand(w shellwords.Word) string {
	if w.Raw || !strings.Contains(w.Text, "$") {
		return w.Text
	}
	text := sh.expandText(w.Text)
	if len(text) > maxValue {
		return w.Text
	}
	return text
}

func (sh *shell) expandText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if s[i+1] == '{' {
			end := closing(s[i:])
			if end < 0 {
				return b.String() + s[i:]
			}
			if value, ok := sh.parameter(s[i+2 : i+end]); ok {
				b.WriteString(value)
			} else {
				b.WriteString(s[i : i+end+1])
			}
			i += end
			continue
		}
		end := i + 1
		for end < len(s) && isName(s[i+1:end+1]) {
			end++
		}
		if value, ok := sh.vars[s[i+1:end]]; ok && end > i+1 {
			b.WriteString(value)
		} else {
			b.WriteString(s[i:end])
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

// parameter is the value of NAME, NAME:-default, NAME-default, NAME:=default.
func (sh *shell) parameter(s string) (string, bool) {
	n := 0
	for n < len(s) && isName(s[:n+1]) {
		n++
	}
	name, op := s[:n], s[n:]
	value, ok := sh.vars[name]
	switch {
	case op == "":
		return value, ok
	case strings.HasPrefix(op, ":-") || strings.HasPrefix(op, ":="):
		if value != "" {
			return value, true
		}
		return sh.expandText(strings.Trim(op[2:], `"'`)), true
	case strings.HasPrefix(op, "-") || strings.HasPrefix(op, "="):
		if ok {
			return value, true
		}
		return sh.expandText(strings.Trim(op[1:], `"'`)), true
	}
	return "", false
}
