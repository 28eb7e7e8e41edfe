package credential

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
)

// ErrLimit is wrapped when a text goes on after what was looked at.
var ErrLimit = errors.New("only the beginning was searched for credentials")

// window is how much of one line is looked at in one piece.
const window = 64 << 10

// Scan finds the credentials in a text of an unknown format: see [ScanFile].
func Scan(r io.Reader, limit int64) iter.Seq2[Found, error] { return ScanFile("", r, limit) }

// ScanFile finds the credentials in a text of at most limit bytes, line by
// line, in constant memory. The file's name tells code, where only string
// literals are values, from configuration. Binary content gives nothing. An
// error of r, and ErrLimit for a longer text, come last with an empty Found.
func ScanFile(name string, r io.Reader, limit int64) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		if limit < 0 {
			limit = 0
		}
		b := bufio.NewReaderSize(io.LimitReader(r, limit+1), window)
		head, _ := b.Peek(8000)
		if bytes.IndexByte(head, 0) >= 0 {
			return
		}
		s := scanner{name: path.Base(name), dialect: dialectOf(name, head)}
		var read int64
		for line := 1; ; {
			text, err := b.ReadSlice('\n')
			if read += int64(len(text)); read > limit {
				text = text[:int64(len(text))-(read-limit)]
			}
			for _, f := range s.line(strings.TrimRight(string(text), "\r\n")) {
				f.Line = line
				if !yield(f, nil) {
					return
				}
			}
			switch {
			case read > limit:
				yield(Found{}, fmt.Errorf("after %d bytes: %w", limit, ErrLimit))
				return
			case err == nil:
				line++
			case errors.Is(err, bufio.ErrBufferFull): // the same line goes on
			case errors.Is(err, io.EOF):
				return
			default:
				yield(Found{}, err)
				return
			}
		}
	}
}

// dialectOf takes programs for code by their extension or first line. PHP files
// that only define constants are read well enough as code.
func dialectOf(name string, head []byte) dialect {
	switch strings.ToLower(path.Ext(name)) {
	case ".php", ".inc", ".phtml", ".py", ".rb", ".js", ".mjs", ".cjs", ".ts", ".tsx", ".jsx", ".go", ".c", ".h", ".cc", ".cpp",
		".java", ".pl", ".pm", ".rs", ".lua", ".cs", ".css", ".scss", ".html", ".htm", ".md", ".rst", ".po", ".pot", ".svg", ".sql", ".less", ".vue", ".twig", ".tpl":
		return code
	}
	first, _, _ := bytes.Cut(head, []byte("\n"))
	if bytes.HasPrefix(first, []byte("<?php")) || bytes.HasPrefix(bytes.TrimLeft(head, " \r\n\t"), []byte("<?php")) {
		return code
	}
	if bytes.HasPrefix(first, []byte("#!")) {
		for _, p := range []string{"python", "perl", "ruby", "node", "php", "lua"} {
			if bytes.Contains(first, []byte(p)) {
				return code
			}
		}
	}
	return config
}

// scanner holds what one line says about the next.
type scanner struct {
	name    string
	dialect dialect
	named   string // a secret-looking name whose value comes on the next line
}

func (s *scanner) line(line string) []Found {
	if IsPrivateKey(line) {
		return []Found{{Kind: PrivateKey, Confidence: claim.High}}
	}
	var out []Found
	add := func(kind Kind, key, value string, c claim.Confidence) {
		for _, f := range out {
			if strings.Contains(string(f.Value), value) || f.Key != "" && f.Key == key {
				return
			}
		}
		out = append(out, Found{Kind: kind, Key: key, Value: Value(value), Confidence: c})
	}
	text, comment := s.uncomment(line)
	s.pairs(text, comment, add)
	sure := claim.High
	if comment {
		sure = claim.Low
	}
	for _, x := range urlSpans(line) {
		if v := line[x.from:x.to]; !comment || looksRandom(v) {
			add(URL, "", v, lower(sure, s.dialect))
		}
	}
	for _, x := range tokenSpans(line) {
		add(Token, "", line[x.from:x.to], sure)
	}
	for _, x := range hashSpans(line) {
		add(Hash, "", line[x.from:x.to], sure)
	}
	if s.dialect == config && !comment && mayBeArgument(line) {
		for _, x := range append(argumentSpans(line), sqlSpans(line)...) {
			if v := line[x.from:x.to]; !LooksSecret(v) || looksRandom(v) { // new-password
				add(Argument, "", v, claim.Medium)
			}
		}
	}
	if s.dialect == code && !comment {
		if v, ok := connectPassword(line); ok {
			add(Password, "", v, claim.Medium)
		}
	}
	return append(out, s.byName(line)...)
}

// mayBeArgument keeps the search for arguments to lines that look like command
// lines or SQL.
func mayBeArgument(line string) bool {
	return strings.Contains(line, " -") || strings.Contains(strings.ToUpper(line), "IDENTIFIED BY")
}

func lower(c claim.Confidence, d dialect) claim.Confidence {
	if c == claim.High && d == code {
		return claim.Medium
	}
	return c
}

// pairs judges the assignments of a line.
func (s *scanner) pairs(text string, comment bool, add func(Kind, string, string, claim.Confidence)) {
	if s.named != "" {
		if v, ok := namedValue(text); ok && isCredential(keyStrength(s.named), v) {
			add(Password, s.named, v, claim.High)
		}
		s.named = ""
	}
	s.named = secretName(text)
	for _, p := range pairs(text, s.dialect) {
		strength := keyStrength(p.key)
		switch {
		case !isCredential(strength, p.value):
		case comment:
			if s.dialect == config && looksRandom(p.value) {
				add(Commented, p.key, p.value, claim.Low)
			}
		case s.dialect == code:
			switch {
			case isConstant(text) && strength == strong:
				add(Password, p.key, p.value, claim.High)
			case isConstant(text) || literalCredential(p.key, p.value):
				add(Password, p.key, p.value, claim.Medium)
			}
		case strength == weak && s.dialect == config:
			add(Password, p.key, p.value, claim.Medium)
		default:
			add(Password, p.key, p.value, claim.High)
		}
	}
}

// isConstant is true for define('X', …), with which PHP applications are
// configured.
func isConstant(line string) bool {
	return strings.Contains(line, "define(") || strings.Contains(line, "define (")
}

// literalCredential excludes what code puts under such keys that is no
// credential: labels, names of fields, markup.
func literalCredential(key, value string) bool {
	k, v := flat(key), flat(value)
	switch {
	case v == "" || strings.Contains(k, v) || strings.Contains(v, k):
		return false
	case strings.ContainsAny(value, "<>|{}()[]\\") || strings.Count(value, " ") > 0 && !looksRandom(value):
		return false
	case LooksSecret(value) && !looksRandom(value): // user_pass, new-password
		return false
	case strings.ContainsAny(value, "$%") && !looksRandom(value):
		return false
	case keyStrength(key) == weak && strings.Contains(value, " "):
		return false
	case strings.Trim(value, "0123456789.:,- ") == "" || value == "N/A":
		return false
	}
	return strings.Trim(value, "#.-_/ ") != "" && !strings.HasPrefix(value, "#") && !strings.HasPrefix(value, ".")
}

func flat(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' || r == '.' || r == ':' || r == '$' {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

// uncomment is the line without its comment sign.
func (s *scanner) uncomment(line string) (text string, comment bool) {
	text = strings.TrimLeft(line, " \t")
	for _, sign := range []string{"#", "//", ";", "--", "<!--", "/*", "* "} {
		if strings.HasPrefix(text, sign) && !(sign == "--" && len(text) > 2 && text[2] != ' ') {
			return strings.TrimLeft(text[len(sign):], "#;/*! \t"), true
		}
	}
	return text, false
}

// secretName finds the name in "- name: DB_PASSWORD" and <name>db.password</name>
// when the value is not on the same line.
func secretName(text string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "- ")
	for _, p := range []string{"name:", "key:", `"name":`, `"key":`, "<name>", "<key>", "<param-name>"} {
		rest, ok := strings.CutPrefix(text, p)
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, "<")
		name := strings.Trim(rest, " \t\"',")
		if len(name) < 80 && LooksSecret(name) && !strings.Contains(name, " ") {
			return name
		}
	}
	return ""
}

func namedValue(text string) (string, bool) {
	text = strings.TrimSpace(text)
	for _, p := range []string{"value:", `"value":`, "<value>", "<param-value>", "<string>"} {
		if rest, ok := strings.CutPrefix(text, p); ok {
			rest, _, _ = strings.Cut(rest, "</")
			return strings.Trim(strings.TrimSpace(rest), "\"',"), true
		}
	}
	return "", false
}

// connectPassword is the third literal in a call that opens a database
// connection: mysqli_connect('host', 'user', 'password').
func connectPassword(line string) (string, bool) {
	for _, call := range []string{"mysqli_connect(", "mysql_connect(", "mysql_pconnect(", "new mysqli(", "new PDO("} {
		_, rest, ok := strings.Cut(line, call)
		if !ok {
			continue
		}
		last := ""
		for range 3 {
			v, n, ok := literal(rest, skipBlanks(rest, 0))
			if !ok {
				return "", false
			}
			last = v
			rest = strings.TrimLeft(rest[n:], " \t,")
		}
		return last, isCredential(strong, last)
	}
	return "", false
}
