package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// nginx reads the configuration of nginx: directives that end in a semicolon,
// blocks in braces, include (nginx.org/en/docs/beginners_guide.html). Blocks
// become part of the key, without http: server.listen, server.location.root; a
// block itself is a setting with its arguments as value: server.location is
// "~ \.php$". A directive that has a path first has only that as value
// (access_log, proxy_cache_path); fastcgi_param NAME is part of the key.
type nginx struct {
	stack []string
}

// nginxToken is a word, "{", "}" or ";".
type nginxToken struct {
	text    string
	line    int
	special bool
}

func (c *nginx) parse(rd *reader, f file) error {
	depth := len(c.stack)
	sc := nginxScanner{text: f.text, line: 1}
	var words []string
	start := 0
	for {
		t, ok := sc.next()
		if !ok {
			break
		}
		if start == 0 {
			start = t.line
		}
		if !t.special {
			words = append(words, t.text)
			continue
		}
		var err error
		switch {
		case t.text == "}" && len(c.stack) > depth:
			c.stack = c.stack[:len(c.stack)-1]
		case t.text == "}":
			err = rd.problem(f.at(t.line), "a brace closes nothing")
		case len(words) == 0:
		case t.text == ";":
			err = c.directive(rd, f, start, words)
		case t.text == "{" && isTable(words[0]):
			sc.skipBlock()
		case t.text == "{" && len(c.stack) >= maxDepth:
			sc.skipBlock()
			err = rd.problem(f.at(t.line), "blocks are nested too deep")
		case t.text == "{":
			err = c.open(rd, f, start, words)
		}
		if err != nil {
			return err
		}
		words, start = nil, 0
	}
	if len(c.stack) > depth || sc.broken {
		c.stack = c.stack[:depth]
		return rd.problem(f.at(0), "a block or a quoted string is not closed")
	}
	return nil
}

func (c *nginx) prefix() string {
	if len(c.stack) == 0 {
		return ""
	}
	return strings.Join(c.stack, ".") + "."
}

func (c *nginx) open(rd *reader, f file, line int, words []string) error {
	if words[0] == "http" && len(c.stack) == 0 {
		c.stack = append(c.stack, "http")
		return nil
	}
	err := rd.set(f.at(line), strings.TrimPrefix(c.prefix()+words[0], "http."), "", strings.Join(words[1:], " "))
	c.stack = append(c.stack, words[0])
	return err
}

func (c *nginx) directive(rd *reader, f file, line int, words []string) error {
	name, args := words[0], words[1:]
	prefix := strings.TrimPrefix(c.prefix(), "http.")
	switch {
	case name == "include" && len(args) > 0:
		rd.scope = append([]string(nil), c.stack...)
		found, err := rd.include(f, args[0], rd.main.Dir())
		if err == nil && found == 0 && !strings.ContainsAny(args[0], "*?[") {
			err = rd.problem(f.at(line), "included file "+hostpath.Quote(args[0])+" is missing")
		}
		return err
	case strings.HasSuffix(name, "_param") && len(args) > 1, name == "env" && len(args) == 1 && strings.Contains(args[0], "="),
		name == "set" && len(args) > 1:
		key, value := strings.TrimPrefix(args[0], "$"), strings.Join(args[1:], " ")
		if name == "env" {
			key, value, _ = strings.Cut(args[0], "=")
		}
		return rd.set(f.at(line), prefix+name+"."+key, key, value)
	case takesPath(name) && len(args) > 0:
		args = args[:1]
	}
	return rd.set(f.at(line), prefix+name, name, strings.Join(args, " "))
}

// takesPath is true for directives whose first argument is a path.
func takesPath(name string) bool {
	switch name {
	case "access_log", "error_log", "root", "alias", "pid", "proxy_cache_path", "fastcgi_cache_path", "uwsgi_cache_path", "scgi_cache_path",
		"proxy_temp_path", "fastcgi_temp_path", "client_body_temp_path", "uwsgi_temp_path", "scgi_temp_path":
		return true
	}
	return false
}

// isTable is true for blocks whose lines are no directives.
func isTable(name string) bool {
	switch name {
	case "types", "map", "geo", "split_clients", "charset_map":
		return true
	}
	return strings.HasSuffix(name, "_by_lua_block")
}

type nginxScanner struct {
	text   string
	at     int
	line   int
	broken bool
}

func (s *nginxScanner) next() (nginxToken, bool) {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '\n':
			s.line++
			s.at++
		case c == ' ' || c == '\t' || c == '\r':
			s.at++
		case c == '#':
			if n := strings.IndexByte(s.text[s.at:], '\n'); n >= 0 {
				s.at += n
			} else {
				s.at = len(s.text)
			}
		case c == '{' || c == '}' || c == ';':
			s.at++
			return nginxToken{text: string(c), line: s.line, special: true}, true
		case c == '"' || c == '\'':
			return s.quoted(c), true
		default:
			return s.word(), true
		}
	}
	return nginxToken{}, false
}

func (s *nginxScanner) quoted(q byte) nginxToken {
	t := nginxToken{line: s.line}
	var b strings.Builder
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '\\' && s.at+1 < len(s.text) && (s.text[s.at+1] == q || s.text[s.at+1] == '\\'):
			s.at++
			b.WriteByte(s.text[s.at])
		case c == q:
			s.at++
			t.text = b.String()
			return t
		default:
			if c == '\n' {
				s.line++
			}
			b.WriteByte(c)
		}
	}
	s.broken = true
	t.text = b.String()
	return t
}

// word ends at a blank, a semicolon or an opening brace, as nginx has it;
// ${name} is part of it.
func (s *nginxScanner) word() nginxToken {
	t := nginxToken{line: s.line}
	from := s.at
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '\\' && s.at+1 < len(s.text) && s.text[s.at+1] != '\n':
			s.at++
		case c == '$' && strings.HasPrefix(s.text[s.at:], "${"):
			if n := strings.IndexAny(s.text[s.at:], "}\n"); n > 0 && s.text[s.at+n] == '}' {
				s.at += n
			}
		case strings.IndexByte(" \t\r\n;{", c) >= 0:
			t.text = s.text[from:s.at]
			return t
		}
	}
	t.text = s.text[from:]
	return t
}

// skipBlock passes over a block whose brace is open.
func (s *nginxScanner) skipBlock() {
	for depth := 1; depth > 0; {
		t, ok := s.next()
		switch {
		case !ok:
			s.broken = true
			return
		case t.special && t.text == "{":
			depth++
		case t.special && t.text == "}":
			depth--
		}
	}
}
