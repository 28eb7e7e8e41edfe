package unitfile

import (
	"fmt"
	"strings"

	"github.com/statelift/statelift/pipeline/shellwords"
)

// Command is one command of an Exec*= setting (systemd.service(5), "Command
// lines"). Specifiers are expanded before, variables after parsing.
type Command struct {
	Path string   // absolute, or a name that is looked up in the manager's PATH
	Args []string // with Args[0]
	// The prefixes of the path: "-" ignores failure, ":" expands no variables,
	// "+" and "!" run with full or elevated privileges.
	IgnoreFailure bool
	NoVariables   bool
	Privileged    bool
}

// ParseExec reads the commands of one value; several are separated by a word
// that is a lone semicolon.
func ParseExec(value string) ([]Command, error) {
	var out []Command
	rest := value
	for {
		c, more, ok, err := parseCommand(rest)
		if err != nil {
			return nil, fmt.Errorf("command line %q: %w", value, err)
		}
		if !ok {
			return out, nil
		}
		out, rest = append(out, c), more
	}
}

func parseCommand(s string) (c Command, rest string, ok bool, err error) {
	word, rest, ok, err := shellwords.NextSystemd(s)
	if err != nil || !ok {
		return Command{}, "", false, err
	}
	if word == ";" {
		return parseCommand(rest)
	}
	path, ownName := word, false
prefixes:
	for path != "" {
		switch path[0] {
		case '-':
			c.IgnoreFailure = true
		case '@':
			ownName = true
		case ':':
			c.NoVariables = true
		case '+', '!':
			c.Privileged = true
		case '|':
		default:
			break prefixes
		}
		path = path[1:]
	}
	if path == "" {
		return Command{}, "", false, fmt.Errorf("%q names no program", word)
	}
	c.Path = path
	if !ownName {
		c.Args = []string{path}
	}
	for {
		// A semicolon separates only where it stands bare; "\;" is an argument.
		bare := strings.HasPrefix(rest, ";") && (len(rest) == 1 || strings.IndexByte(" \t\n\r", rest[1]) >= 0)
		escaped := strings.HasPrefix(rest, `\;`) && (len(rest) == 2 || strings.IndexByte(" \t\n\r", rest[2]) >= 0)
		switch {
		case bare:
			return c.finish(rest[1:])
		case escaped:
			c.Args = append(c.Args, ";")
			rest = strings.TrimLeft(rest[2:], " \t\n\r")
			continue
		}
		word, more, ok, err := shellwords.NextSystemd(rest)
		if err != nil {
			return Command{}, "", false, err
		}
		if !ok {
			return c.finish("")
		}
		c.Args, rest = append(c.Args, word), more
	}
}

// finish gives a command that was promised a name of its own by "@" but has no
// argument for it its path as a name.
func (c Command) finish(rest string) (Command, string, bool, error) {
	if len(c.Args) == 0 {
		c.Args = []string{c.Path}
	}
	return c, rest, true, nil
}

// ExpandVariables replaces ${NAME} anywhere in a word, and a word that is just
// $NAME by the words of its value; $$ is a dollar sign. An unknown variable is
// empty (systemd.service(5), "Command lines"). Args[0] is left alone.
func ExpandVariables(args []string, lookup func(name string) (string, bool)) []string {
	var out []string
	for i, a := range args {
		switch name, ok := strings.CutPrefix(a, "$"); {
		case i == 0:
			out = append(out, a)
		case ok && isVariable(name):
			value, _ := lookup(name)
			words, err := shellwords.Systemd(value)
			if err != nil { // as it stands, rather than nothing
				words = strings.Fields(value)
			}
			out = append(out, words...)
		default:
			out = append(out, expandWord(a, lookup))
		}
	}
	return out
}

func isVariable(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(isAlnum(c) || c == '_') || i == 0 && c >= '0' && c <= '9' {
			return false
		}
	}
	return s != ""
}

func expandWord(word string, lookup func(string) (string, bool)) string {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		rest := word[i:]
		switch {
		case strings.HasPrefix(rest, "$$"):
			b.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "${"):
			end := strings.IndexByte(rest, '}')
			if end < 0 || !isVariable(rest[2:end]) {
				b.WriteByte('$')
				continue
			}
			value, _ := lookup(rest[2:end])
			b.WriteString(value)
			i += end
		default:
			b.WriteByte(word[i])
		}
	}
	return b.String()
}
