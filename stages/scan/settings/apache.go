package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/shellwords"
)

// apache reads the configuration of Apache httpd
// (httpd.apache.org/docs/2.4/configuring.html): a directive per line, sections,
// Include and IncludeOptional, Define and the variables of Debian's envvars.
//
// Sections become part of the key: VirtualHost.DocumentRoot,
// VirtualHost.Directory.Require; a section itself is a setting with its
// argument as value: VirtualHost is *:443. Sections that only ask a condition
// (IfModule, IfDefine, IfFile, IfVersion, If) do not; what a false one holds is
// left out, as far as that can be known. php_admin_value KEY is KEY alone.
// A directive that has a path has only that as value (Alias, CustomLog), made
// absolute by ServerRoot.
type apache struct {
	vars    map[string]string
	modules map[string]bool
	root    hostpath.Path // ServerRoot
	ready   bool
	stack   []section
	skipped int // open sections whose content does not count
}

// section is an open one; part is what it adds to keys.
type section struct {
	name string
	part string
	off  bool
}

func newApache() *apache {
	a := &apache{vars: map[string]string{}, modules: map[string]bool{}}
	for _, m := range []string{"core", "so", "http_core", "http", "watchdog", "log_config", "logio", "version", "unixd"} { // built in
		a.modules[m] = true
	}
	return a
}

func (a *apache) parse(rd *reader, f file) error {
	if !a.ready {
		a.begin(rd, f)
	}
	depth, skipped := len(a.stack), a.skipped
	start, pending := 0, ""
	for n, line := range lines(f.text) {
		if start == 0 {
			start = n
		}
		if strings.HasSuffix(line, `\`) && len(pending) < maxValue {
			pending += strings.TrimSuffix(line, `\`)
			continue
		}
		line = strings.TrimSpace(pending + line)
		at := start
		start, pending = 0, ""
		if line == "" || line[0] == '#' {
			continue
		}
		if err := a.line(rd, f, at, line); err != nil {
			return err
		}
	}
	if len(a.stack) > depth {
		name := a.stack[len(a.stack)-1].name
		a.stack, a.skipped = a.stack[:depth], skipped
		return rd.problem(f.at(0), "<"+name+"> is not closed")
	}
	return nil
}

// begin finds the variables and the root that the server is started with.
func (a *apache) begin(rd *reader, f file) {
	a.ready = true
	a.root = f.path.Dir()
	if f.path == "/etc/httpd/conf/httpd.conf" {
		a.root = "/etc/httpd"
	}
	data, err := rd.root.ReadFile(f.path.Dir().Join("envvars"), maxFile)
	if err != nil {
		return
	}
	s := shellwords.Script{Vars: a.vars}
	s.Run(string(data))
}

func (a *apache) line(rd *reader, f file, n int, line string) error {
	if name, ok := strings.CutPrefix(line, "</"); ok {
		return a.close(rd, f, n, strings.TrimRight(name, "> \t"))
	}
	if inner, ok := strings.CutPrefix(line, "<"); ok {
		return a.open(rd, f, n, strings.TrimSuffix(strings.TrimSpace(inner), ">"))
	}
	if a.skipped > 0 {
		return nil
	}
	name, rest, _ := cutBlank(line)
	args := a.args(rest)
	switch strings.ToLower(name) {
	case "include", "includeoptional":
		return a.include(rd, f, n, name, args)
	case "define":
		if len(args) > 0 {
			a.vars[args[0]] = strings.Join(args[1:], " ")
		}
	case "undefine":
		if len(args) > 0 {
			delete(a.vars, args[0])
		}
	case "serverroot":
		if len(args) > 0 && strings.HasPrefix(args[0], "/") {
			a.root = hostpath.Clean(args[0])
		}
	case "loadmodule":
		if len(args) > 0 {
			a.modules[moduleName(args[0])] = true
		}
	}
	return a.directive(rd, f, n, name, args)
}

func (a *apache) directive(rd *reader, f file, n int, name string, args []string) error {
	prefix := a.prefix()
	lower := strings.ToLower(name)
	switch lower {
	case "php_value", "php_admin_value", "php_flag", "php_admin_flag":
		if len(args) > 0 {
			return rd.set(f.at(n), args[0], args[0], strings.Join(args[1:], " "))
		}
	case "setenv", "setenvif":
		if len(args) > 0 && lower == "setenv" {
			return rd.set(f.at(n), prefix+name+"."+args[0], args[0], strings.Join(args[1:], " "))
		}
	}
	value := strings.Join(args, " ")
	if i, ok := pathArgument(lower); ok && i < len(args) {
		value = a.path(args[i])
	}
	return rd.set(f.at(n), prefix+name, name, value)
}

// pathArgument is which argument of a directive is the path that counts.
func pathArgument(directive string) (int, bool) {
	switch directive {
	case "alias", "aliasmatch", "scriptalias", "scriptaliasmatch", "wsgiscriptalias", "wsgiscriptaliasmatch":
		return 1, true
	case "documentroot", "errorlog", "customlog", "transferlog", "globallog", "scriptlog", "forensiclog", "pidfile", "cacheroot", "davlockdb",
		"sslcertificatefile", "sslcertificatekeyfile", "sslcertificatechainfile", "sslcacertificatefile", "sslcacertificatepath",
		"sslcarevocationfile", "sslproxymachinecertificatefile", "authuserfile", "authgroupfile", "authdigestfile", "authdbmuserfile",
		"sslsessioncache", "coredumpdirectory", "scoreboardfile", "defaultruntimedir", "mutex", "securityauditlog", "securitydatadir":
		return 0, true
	}
	return 0, false
}

// path makes the file in an argument absolute: shmcb:/run/x(512000) is /run/x.
// What is no file (a pipe, syslog) stays as it is.
func (a *apache) path(arg string) string {
	for _, p := range []string{"shmcb:", "dbm:", "file:", "flock:", "fcntl:"} {
		if rest, ok := strings.CutPrefix(arg, p); ok {
			rest, _, _ = strings.Cut(rest, "(")
			arg = rest
		}
	}
	if arg == "" || arg[0] == '/' || arg[0] == '|' || strings.Contains(arg, "$") || strings.HasPrefix(arg, "syslog") ||
		!strings.ContainsAny(arg, "/.") {
		return arg
	}
	return string(a.root.Join(arg))
}

func (a *apache) include(rd *reader, f file, n int, name string, args []string) error {
	for _, pattern := range args {
		g := hostpath.Clean(pattern)
		if !strings.HasPrefix(pattern, "/") {
			g = a.root.Join(pattern)
		}
		rd.scope = a.scope()
		if fi, err := rd.root.Stat(g); err == nil && fi.IsDir() {
			pattern = string(g.Join("*"))
		}
		found, err := rd.include(f, pattern, a.root)
		if err != nil {
			return err
		}
		if found == 0 && strings.EqualFold(name, "include") && !strings.ContainsAny(pattern, "*?[") {
			if err := rd.problem(f.at(n), "included file "+g.String()+" is missing"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *apache) scope() []string {
	out := make([]string, len(a.stack))
	for i, s := range a.stack {
		out[i] = s.part
	}
	return out
}

// prefix is what open sections add to a key.
func (a *apache) prefix() string {
	var b strings.Builder
	for _, s := range a.stack {
		if s.part != "" {
			b.WriteString(s.part)
			b.WriteByte('.')
		}
	}
	return b.String()
}

func (a *apache) open(rd *reader, f file, n int, inner string) error {
	name, rest, _ := cutBlank(inner)
	s := section{name: name}
	known, holds := a.condition(name, rest)
	switch {
	case a.skipped > 0:
		s.off = true
	case known:
		s.off = !holds
	default:
		s.part = name
		if err := rd.set(f.at(n), a.prefix()+name, "", strings.Join(a.args(rest), " ")); err != nil {
			return err
		}
	}
	if len(a.stack) >= maxDepth {
		return rd.problem(f.at(n), "sections are nested too deep")
	}
	if s.off {
		a.skipped++
	}
	a.stack = append(a.stack, s)
	return nil
}

func (a *apache) close(rd *reader, f file, n int, name string) error {
	if len(a.stack) == 0 || !strings.EqualFold(a.stack[len(a.stack)-1].name, name) {
		return rd.problem(f.at(n), "</"+hostpath.Quote(name)+"> closes nothing")
	}
	if a.stack[len(a.stack)-1].off {
		a.skipped--
	}
	a.stack = a.stack[:len(a.stack)-1]
	return nil
}

// condition judges sections that are no scope. What only a request decides
// holds.
func (a *apache) condition(name, arg string) (known, holds bool) {
	arg = strings.Trim(strings.TrimSpace(arg), `"`)
	bare := strings.TrimPrefix(arg, "!")
	not := bare != arg
	switch strings.ToLower(name) {
	case "ifmodule":
		return true, a.modules[moduleName(bare)] != not
	case "ifdefine":
		_, ok := a.vars[bare]
		return true, ok != not
	case "ifversion", "iffile", "ifdirective", "ifsection", "if", "elseif", "else":
		return true, true
	}
	return false, false
}

// moduleName makes ssl_module, mod_ssl.c and ssl.c the same.
func moduleName(s string) string {
	s = strings.TrimSuffix(strings.TrimSuffix(s, ".c"), "_module")
	return strings.TrimPrefix(s, "mod_")
}

// args splits arguments at blanks, takes quotes away and puts in variables.
func (a *apache) args(s string) []string {
	var out []string
	for s = strings.TrimLeft(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		var word string
		if q := s[0]; q == '"' || q == '\'' {
			var b strings.Builder
			i := 1
			for ; i < len(s) && s[i] != q; i++ {
				if s[i] == '\\' && i+1 < len(s) && (s[i+1] == q || s[i+1] == '\\') {
					i++
				}
				b.WriteByte(s[i])
			}
			word, s = b.String(), s[min(i+1, len(s)):]
		} else {
			word, s, _ = cutBlank(s)
		}
		out = append(out, a.expand(word))
	}
	return out
}

// expand replaces ${NAME}; an unknown one stays.
func (a *apache) expand(s string) string {
	if !strings.Contains(s, "${") {
		return s
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed || b.Len() > maxValue {
			if ok {
				b.WriteString("${" + rest)
			}
			return b.String()
		}
		if v, known := a.vars[name]; known {
			b.WriteString(v)
		} else {
			b.WriteString("${" + name + "}")
		}
		s = after
	}
}

func cutBlank(s string) (before, after string, found bool) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t"), true
	}
	return s, "", false
}
