package plan

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/envfile"
	"github.com/statelift/statelift/pipeline/shellwords"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// command is one command of ExecStart= and its kin (systemd.service(5),
// COMMAND LINES), before variables are put in.
type command struct {
	Words       []string
	MayFail     bool // prefix -
	NoVariables bool // prefix :
	Privileged  bool // prefixes + and !: User= does not apply
}

// specifiers are the values of %-specifiers (systemd.unit(5), SPECIFIERS).
type specifiers map[byte]string

// unitSpecifiers are those that a unit's name and the host determine.
func unitSpecifiers(unit, user, home, uid, hostname string) specifiers {
	name := strings.TrimSuffix(unit, "."+suffix(unit))
	prefix, instance, _ := strings.Cut(name, "@")
	last := prefix[strings.LastIndexByte(prefix, '-')+1:]
	short, _, _ := strings.Cut(hostname, ".")
	return specifiers{
		'%': "%", 'n': unit, 'N': name, 'p': unescapeUnit(prefix, false), 'P': unescapeUnit(prefix, true),
		'i': instance, 'I': unescapeUnit(instance, true), 'j': last, 'J': unescapeUnit(last, true),
		'f': "/" + strings.TrimPrefix(unescapeUnit(firstOf(instance, prefix), true), "/"),
		't': "/run", 'S': "/var/lib", 'C': "/var/cache", 'L': "/var/log", 'E': "/etc", 'T': "/tmp", 'V': "/var/tmp",
		'd': unitfile.Credentials + "/" + unit, 'u': user, 'U': uid, 'h': home, 'H': hostname, 'l': short, 's': "/bin/sh",
	}
}

func suffix(unit string) string { return unit[strings.LastIndexByte(unit, '.')+1:] }

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// unescapeUnit reverses systemd-escape(1). %p and %i are not unescaped, %P, %I
// and %f are.
func unescapeUnit(s string, full bool) string {
	if !full {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '-':
			b.WriteByte('/')
		case s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x':
			n, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				b.WriteByte(s[i])
				continue
			}
			b.WriteByte(byte(n))
			i += 3
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// expand replaces specifiers. One that only the running manager knows stays.
func (s specifiers) expand(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+1 < len(text) {
			if v, ok := s[text[i+1]]; ok {
				b.WriteString(v)
				i++
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

var errNoCommand = errors.New("no command")

// parseCommands reads the value of one ExecStart= line, which holds several
// commands when a word of it is a lone semicolon.
func parseCommands(value string, spec specifiers) ([]command, error) {
	var out []command
	rest := strings.TrimSpace(value)
	for rest != "" {
		var c command
		argv0 := false
		for rest != "" && strings.IndexByte("-@:+!|", rest[0]) >= 0 {
			switch rest[0] {
			case '-':
				c.MayFail = true
			case '@':
				argv0 = true
			case ':':
				c.NoVariables = true
			case '+', '!':
				c.Privileged = true
			}
			rest = rest[1:]
		}
		var err error
		if c.Words, rest, err = nextCommand(rest); err != nil {
			return nil, fmt.Errorf("command %q: %w", value, err)
		}
		for i, w := range c.Words {
			c.Words[i] = spec.expand(w)
		}
		if argv0 && len(c.Words) > 1 { // the second word is what argv[0] shall be
			c.Words = append(c.Words[:1], c.Words[2:]...)
		}
		if len(c.Words) == 0 {
			return nil, fmt.Errorf("command %q: %w", value, errNoCommand)
		}
		out = append(out, c)
	}
	return out, nil
}

// nextCommand takes the words up to a lone semicolon.
func nextCommand(s string) (words []string, rest string, err error) {
	for {
		s = strings.TrimLeft(s, " \t\n\r")
		if s == ";" || strings.HasPrefix(s, "; ") || strings.HasPrefix(s, ";\t") {
			return words, strings.TrimSpace(s[1:]), nil
		}
		word, next, ok, err := shellwords.NextSystemd(s)
		if err != nil || !ok {
			return words, "", err
		}
		if word == `\;` {
			word = ";"
		}
		words, s = append(words, word), next
	}
}

// variables are a container's environment as far as command lines need it.
type variables map[string]variable

type variable struct {
	Value  string
	Secret bool
}

// withVariables puts variables in as systemd does: ${NAME} anywhere in a word,
// $NAME only as a word of its own, which is then split. What stands for one
// word refers to the container's variable as Kubernetes does, $(NAME), so that
// the ConfigMap or Secret stays the one place of the value. unsplit names the
// secret variables that would be split but cannot be, since no credential may
// be in a command.
func withVariables(words []string, vars variables) (out, unsplit []string) {
	for _, w := range words {
		name, whole := strings.CutPrefix(w, "$")
		if whole && envfile.ValidName(name) {
			v, ok := vars[name]
			switch parts, err := shellwords.Systemd(v.Value); {
			case !ok || v.Value == "":
			case err == nil && len(parts) == 1 && parts[0] == v.Value:
				out = append(out, "$("+name+")")
			case v.Secret:
				out = append(out, "$("+name+")")
				unsplit = append(unsplit, name)
			case err != nil:
				out = append(out, escapeArgument(v.Value))
			default:
				for _, p := range parts {
					out = append(out, escapeArgument(p))
				}
			}
			continue
		}
		out = append(out, inWord(w, vars))
	}
	return out, unsplit
}

func inWord(w string, vars variables) string {
	var b strings.Builder
	for i := 0; i < len(w); i++ {
		if w[i] != '$' || i+1 == len(w) {
			b.WriteByte(w[i])
			continue
		}
		switch w[i+1] {
		case '$':
			if strings.HasPrefix(w[i+2:], "(") {
				b.WriteByte('$') // $( would be a reference of Kubernetes
			}
			b.WriteByte('$')
			i++
		case '(':
			b.WriteString("$$")
		case '{':
			end := strings.IndexByte(w[i:], '}')
			if end < 0 {
				b.WriteByte('$')
				continue
			}
			if name := w[i+2 : i+end]; vars[name].Value != "" {
				b.WriteString("$(" + name + ")")
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

// escapeArgument keeps Kubernetes from seeing a reference where there is none.
func escapeArgument(s string) string { return strings.ReplaceAll(s, "$(", "$$(") }
