package credential

import "strings"

// dialect says how strictly a text is read.
type dialect int

const (
	config dialect = iota // key = value, key: value, key value
	code                  // only string literals are values
)

// pair is a secret-looking key of a line with the value it is given.
type pair struct {
	key    string
	value  string
	quoted bool
}

// pairs finds the assignments to secret-looking keys in one line of env, ini,
// YAML, JSON, XML, PHP, properties, shell, Apache, nginx, redis or SQL-like text.
func pairs(line string, d dialect) []pair {
	if !mayHoldKey(line) {
		return nil
	}
	var out []pair
	for i := 0; i < len(line); {
		if !isKeyByte(line[i]) {
			i++
			continue
		}
		from := i
		for i < len(line) && isKeyByte(line[i]) {
			i++
		}
		key := strings.Trim(line[from:i], "-.")
		if len(key) > 80 || !LooksSecret(key) {
			continue
		}
		value, quoted, next, ok := assignedValue(line, from, i, d)
		if !ok {
			continue
		}
		out = append(out, pair{key: key, value: value, quoted: quoted})
		i = max(i, next)
	}
	return out
}

func isKeyByte(c byte) bool { return isWordByte(c) || c == '-' || c == '.' }

// assignedValue reads what stands behind the key line[from:to].
func assignedValue(line string, from, to int, d dialect) (value string, quoted bool, next int, ok bool) {
	i := to
	quotedKey := i < len(line) && (line[i] == '\'' || line[i] == '"')
	if quotedKey {
		i++
	}
	for i < len(line) && line[i] == ']' {
		i++
	}
	if from > 0 && !quotedKey && (line[from-1] == '"' || line[from-1] == '\'') { // Environment="KEY=value"
		if n := strings.IndexByte(line[to:], line[from-1]); n >= 0 {
			line = line[:to+n]
		}
	}
	gap := skipBlanks(line, i)
	rest := line[gap:]
	switch {
	case strings.HasPrefix(rest, "=>"):
		return literalOr(line, gap+2, d, false)
	case strings.HasPrefix(rest, "=="), strings.HasPrefix(rest, "!="), strings.HasPrefix(rest, "=~"):
		return "", false, 0, false
	case strings.HasPrefix(rest, ":="), strings.HasPrefix(rest, "?="), strings.HasPrefix(rest, "||="):
		return literalOr(line, gap+strings.IndexByte(rest, '=')+1, d, leads(line, from))
	case strings.HasPrefix(rest, "::"), strings.HasPrefix(rest, "://"):
		return "", false, 0, false
	case strings.HasPrefix(rest, "="):
		return literalOr(line, gap+1, d, leads(line, from))
	case strings.HasPrefix(rest, ":"):
		v, q, n, ok := literalOr(line, gap+1, d, leads(line, from))
		// Prose: "password: see the manual".
		if !q && (strings.ContainsAny(v, " \t") || !quotedKey && !leads(line, from) && !listItem(line, from)) {
			return "", false, 0, false
		}
		return v, q, n, ok
	case strings.HasPrefix(rest, ",") && quotedKey: // define('KEY', 'value')
		if v, n, ok := literal(line, skipBlanks(line, gap+1)); ok && calls(line, from, "define", "putenv", "setenv", "SetEnv", "set", "config") {
			return v, true, n, true
		}
		return "", false, 0, false
	case strings.HasPrefix(rest, ">") && (quotedKey || strings.LastIndexByte(line[:from], '<') >= 0): // <password>x</password>, <entry key="password">x
		end := strings.IndexByte(rest, '<')
		if end < 1 || d == code {
			return "", false, 0, false
		}
		return strings.TrimSpace(rest[1:end]), false, gap + end, true
	case quotedKey && strings.HasPrefix(rest, "value="): // <add key="password" value="x"/>
		v, n, ok := literal(line, gap+len("value="))
		return v, true, n, ok
	case d == config && gap > i && !quotedKey && (leads(line, from) || setsVariable(line[:from])):
		return keywordValue(line, gap)
	}
	return "", false, 0, false
}

func skipBlanks(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	return i
}

// literalOr is a string literal, or in configuration the words up to the end
// of the line (of a key that leads it) or up to a delimiter.
func literalOr(line string, i int, d dialect, whole bool) (value string, quoted bool, next int, ok bool) {
	i = skipBlanks(line, i)
	if d == config && strings.HasPrefix(line[i:], "`") { // a command of the shell
		return "", false, 0, false
	}
	if v, n, ok := literal(line, i); ok {
		after := strings.TrimLeft(line[n:], " \t")
		if d == code && after != "" && strings.IndexByte(";,)]}?:#", after[0]) < 0 && !strings.HasPrefix(after, "//") && !strings.HasPrefix(after, "/*") {
			return "", false, 0, false
		}
		return v, true, n, true
	}
	if d == code || i >= len(line) {
		return "", false, 0, false
	}
	end := len(line)
	if !whole {
		if n := strings.IndexAny(line[i:], " \t;&,\"'<>(){}"); n >= 0 {
			end = i + n
		}
	}
	v := strings.TrimRight(line[i:end], " \t")
	if j := strings.Index(v, " #"); j >= 0 {
		v = strings.TrimRight(v[:j], " \t")
	}
	return v, false, end, v != "" && !isCall(v)
}

// isCall is true for name(…), which no one chooses for a password.
func isCall(v string) bool {
	open := strings.IndexByte(v, '(')
	v = strings.TrimRight(v, ";,")
	return open > 0 && strings.HasSuffix(v, ")") && isIdentifier(strings.NewReplacer(".", "", "->", "", "::", "", "$", "").Replace(v[:open]))
}

// literal is the string in quotes at i.
func literal(line string, i int) (value string, next int, ok bool) {
	for _, p := range []string{"@\"", "b\"", "r\"", "f\"", "u\"", "b'", "r'", "u'"} {
		if strings.HasPrefix(line[min(i, len(line)):], p) {
			i++
			break
		}
	}
	if i >= len(line) || line[i] != '"' && line[i] != '\'' && line[i] != '`' {
		return "", 0, false
	}
	for j := i + 1; j < len(line); j++ {
		switch line[j] {
		case '\\':
			j++
		case line[i]:
			return line[i+1 : j], j + 1, true
		}
	}
	return "", 0, false
}

// leads is true when only blanks, quotes, sigils and setting words stand before
// the key.
func leads(line string, from int) bool {
	before := strings.TrimLeft(line[:from], " \t\"'$-*@{[<.%!")
	switch strings.TrimSpace(strings.ToLower(before)) {
	case "", "export", "set", "var", "let", "const", "declare", "declare -x", "readonly", "local", "define", "setenv", "env", "environment=", "environment=\"":
		return true
	}
	// a.b.password, section[password]
	return before != "" && !strings.ContainsAny(before, " \t=:,;") && strings.HasSuffix(before, "[")
}

func listItem(line string, from int) bool {
	i := from
	for i > 0 && (line[i-1] == ' ' || line[i-1] == '"' || line[i-1] == '\'') {
		i--
	}
	return i > 0 && strings.IndexByte("{,[(", line[i-1]) >= 0
}

// setsVariable is true for directives whose first argument is a variable.
func setsVariable(before string) bool {
	switch strings.ToLower(strings.TrimSpace(before)) {
	case "setenv", "passenv", "fastcgi_param", "uwsgi_param", "env", "set", "setx", "arg", "php_value", "php_admin_value", "export", "default":
		return true
	}
	// netrc(5): machine x login y password z
	b := strings.Fields(before)
	return len(b) >= 2 && (b[0] == "machine" || b[0] == "login" || b[0] == "default")
}

// calls is true when one of the functions is called right before the key.
func calls(line string, from int, functions ...string) bool {
	before := strings.TrimRight(line[:from], " \t\"'")
	if !strings.HasSuffix(before, "(") {
		return false
	}
	before = strings.TrimRight(before[:len(before)-1], " \t")
	return hasSuffix(strings.ToLower(before), lowered(functions)...)
}

func lowered(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.ToLower(s)
	}
	return out
}

// keywordValue is the one argument of "keyword value"; with more words it is
// prose or a directive of another meaning.
func keywordValue(line string, i int) (value string, quoted bool, next int, ok bool) {
	if v, n, ok := literal(line, i); ok {
		return v, true, n, true
	}
	v := strings.TrimRight(line[i:], " \t")
	v = strings.TrimSuffix(v, ";")
	if v == "" || strings.ContainsAny(v, " \t") || strings.IndexByte("=:(|&<>.,", v[0]) >= 0 || strings.HasSuffix(v, ".") || strings.HasSuffix(v, ",") || strings.HasSuffix(v, ":") {
		return "", false, 0, false
	}
	return v, false, len(line), true
}
