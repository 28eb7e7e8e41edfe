package plan

import (
	"bytes"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Scripts are read this far: enough for what administrators write, and bounded
// for what is no script.
const (
	maxScript  = 256 << 10
	maxScripts = 16
)

// readScripts looks into the scripts that a service or job runs, two deep: the
// paths that they name are part of what it needs.
func (p *planner) readScripts(s *service) {
	seen := map[hostpath.Path]bool{}
	queue := make([]hostpath.Path, 0, len(s.mentions))
	for _, m := range s.mentions {
		queue = append(queue, m.path)
	}
	for depth := 0; depth < 2; depth++ {
		var next []hostpath.Path
		for _, path := range queue {
			if seen[path] || len(seen) >= maxScripts*8 || !mayBeScript(path) {
				continue
			}
			seen[path] = true
			found := p.readScript(s, path)
			s.mentions = append(s.mentions, found...)
			for _, m := range found {
				next = append(next, m.path)
			}
		}
		queue = next
	}
}

// mayBeScript spares reading what is data or a packaged program's manual.
func mayBeScript(p hostpath.Path) bool {
	for _, dir := range []hostpath.Path{"/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/etc/ssl", "/usr/share/doc", "/usr/share/man"} {
		if p.Within(dir) {
			return false
		}
	}
	return true
}

// readScript finds the absolute paths in a script, comments left out.
func (p *planner) readScript(s *service, path hostpath.Path) []mention {
	data, err := p.host.root.ReadFile(path, maxScript)
	if err != nil || !bytes.HasPrefix(data, []byte("#!")) || bytes.IndexByte(data, 0) >= 0 {
		return nil // no script, or none that can be read
	}
	home := string(p.host.userByID(s.box.UID).Home)
	var out []mention
	for i, line := range strings.Split(string(data), "\n") {
		text := strings.TrimSpace(line)
		if i == 0 || text == "" || text[0] == '#' {
			continue
		}
		if home != "" {
			text = strings.ReplaceAll(strings.ReplaceAll(text, "${HOME}", home), "$HOME", home)
		}
		for _, name := range programsIn(text) {
			s.addProgram(name, text, facts.Source{Path: path, Line: i + 1})
		}
		for _, found := range pathsInText(text) {
			if !slices.ContainsFunc(out, func(m mention) bool { return m.path == found }) {
				out = append(out, mention{
					path: found, writes: redirected(text, string(found)), how: "script " + path.Base(),
					Source: facts.Source{Path: path, Line: i + 1},
				})
			}
		}
	}
	return out
}

// maxPrograms bounds what is looked up for one service.
const maxPrograms = 200

func (s *service) addProgram(name, line string, at facts.Source) {
	known := slices.ContainsFunc(s.programs, func(p program) bool { return p.name == name })
	if !known && len(s.programs) < maxPrograms {
		s.programs = append(s.programs, program{name, line, at})
	}
}

// programsIn are the words of a shell command at which a program stands: the
// first, and those behind an operator or a word that runs another program.
func programsIn(text string) []string {
	var out []string
	start := true
	for _, w := range strings.FieldsFunc(strings.NewReplacer(">&", ">", "|", " | ", ";", " ; ", "&", " & ", "(", " ( ", "`", " ( ").Replace(text), func(r rune) bool { return r == ' ' || r == '\t' }) {
		switch w {
		case "|", ";", "&", "(", "{", "if", "then", "else", "do", "while", "until", "!", "exec", "sudo", "nice", "ionice", "time", "xargs", "command", "nohup", "env":
			start = true
			continue
		}
		name := strings.Trim(w, `"'$)`)
		if !start || name == "" {
			continue
		}
		if n, _, ok := strings.Cut(name, "="); ok && !strings.ContainsAny(n, "/-") {
			continue // an assignment before the command
		}
		start = false
		if !strings.Contains(name, "/") && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-") == "" {
			out = append(out, name)
		}
	}
	return out
}

// pathsInText finds what looks like an absolute path: it starts at a slash
// behind something that is no part of a path, and ends before the first byte
// that paths in scripts rarely have.
func pathsInText(text string) []hostpath.Path {
	var out []hostpath.Path
	for i := 0; i < len(text); i++ {
		if text[i] != '/' || i > 0 && (pathByte(text[i-1]) || strings.IndexByte("/$}*?)~", text[i-1]) >= 0) || strings.HasPrefix(text[i:], "//") {
			continue
		}
		end := i
		for end < len(text) && (text[end] == '/' || pathByte(text[end])) {
			end++
		}
		candidate := text[i:end]
		if end < len(text) && strings.IndexByte("$*?[{", text[end]) >= 0 {
			// The rest is made at run time: the directory is what is known.
			candidate = candidate[:strings.LastIndexByte(candidate, '/')+1]
		}
		if path, ok := pathOf(strings.TrimRight(candidate, ".")); ok && path != "/" {
			out = append(out, path)
		}
		i = end
	}
	return out
}

func pathByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-+@%", c) >= 0 || c >= 0x80
}

// redirected reports whether the line writes the path by > or by a command that
// makes its last argument.
func redirected(line, path string) bool {
	for rest := line; ; {
		i := strings.Index(rest, path)
		if i < 0 {
			break
		}
		if before := strings.TrimRight(rest[:i], " \t\"'"); strings.HasSuffix(before, ">") {
			return true
		}
		rest = rest[i+len(path):]
	}
	first, _, _ := strings.Cut(line, " ")
	switch first {
	case "mv", "cp", "rsync", "install", "mkdir", "touch", "tee", "rm", "tar", "find", "cd":
		return true
	}
	return strings.Contains(line, "tee "+path)
}
