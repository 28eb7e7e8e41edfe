package credential

import (
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
)

// RedactCommand replaces the credentials of a command line by
// [facts.Redacted] and leaves everything else, blanks and quotes included, as
// it is: --password=x, --token x, mysql -px, curl -u user:x, DB_PASSWORD=x,
// IDENTIFIED BY 'x', passwords in URLs, tokens and hashes of known shape.
func RedactCommand(command string) string {
	spans := commandSpans(command)
	if len(spans) == 0 {
		return command
	}
	var b strings.Builder
	at := 0
	for _, s := range spans {
		b.WriteString(command[at:s.from])
		b.WriteString(facts.Redacted)
		at = s.to
	}
	b.WriteString(command[at:])
	return b.String()
}

// commandSpans are the credentials in a command line, in order, without
// overlaps.
func commandSpans(s string) []span {
	out := argumentSpans(s)
	out = append(out, urlSpans(s)...)
	out = append(out, tokenSpans(s)...)
	out = append(out, hashSpans(s)...)
	out = append(out, sqlSpans(s)...)
	slices.SortFunc(out, func(a, b span) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	kept := out[:0]
	for _, x := range out {
		switch n := len(kept); {
		case n > 0 && x.from < kept[n-1].to:
			kept[n-1].to = max(kept[n-1].to, x.to)
		default:
			kept = append(kept, x)
		}
	}
	return kept
}

// argumentSpans looks at a command line word by word.
func argumentSpans(s string) []span {
	var out []span
	program, takes := "", none
	for _, w := range shellWords(s) {
		raw := s[w.from:w.to]
		text := strings.Trim(raw, `"'`)
		switch {
		case takes != none && !strings.HasPrefix(raw, "-"):
			v := inner(s, w)
			if strings.HasPrefix(s[v.from:v.to], "pass:") { // openssl-passphrase-options(1)
				v.from += len("pass:")
			}
			if isCredential(takes, s[v.from:v.to]) && !strings.HasPrefix(s[v.from:v.to], "env:") {
				out = append(out, v)
			}
			takes = none
			continue
		case raw == "|" || raw == ";" || raw == "&&" || raw == "||" || raw == "&" || raw == ";;":
			program, takes = "", none
			continue
		}
		takes = none
		if v, ok := assigned(s, w); ok {
			out = append(out, v...)
			continue
		}
		if v, ok := headerValue(s, w); ok {
			out = append(out, v)
			continue
		}
		if !strings.HasPrefix(raw, "-") {
			if base := text[strings.LastIndexByte(text, '/')+1:]; program == "" || wraps(program) && passwordOption(base) != "" {
				program = base
			}
			continue
		}
		if strings.Contains(raw, "=") {
			continue
		}
		v, next := shortOption(s, w, program)
		takes = next
		// A password behind -p may itself look like the name of an option that
		// takes one: then both it and the next word go.
		if name := strings.TrimLeft(text, "-"); len(name) > 2 && isOptionName(name) && LooksSecret(name) {
			takes = strong
		}
		if v.to > v.from {
			out = append(out, v)
		}
	}
	return out
}

func isOptionName(s string) bool {
	for i := range len(s) {
		if !isKeyByte(s[i]) {
			return false
		}
	}
	return true
}

// wraps is true for programs whose arguments hold the program that counts.
func wraps(program string) bool {
	switch program {
	case "sudo", "env", "nice", "ionice", "nohup", "timeout", "chronic", "exec", "flock", "setsid", "command", "time",
		"sh", "bash", "dash", "su", "runuser", "systemd-cat", "if", "then", "else", "do", "while", "!", "&&":
		return true
	}
	// The time and user fields of a crontab.
	return program == "*" || program[0] >= '0' && program[0] <= '9' || program[0] == '@' || strings.HasPrefix(program, "*/")
}

// passwordOption is the short option of a program that takes a password, ""
// for other programs.
func passwordOption(program string) string {
	switch program {
	case "sshpass", "mongodump", "mongo", "mongosh", "mongorestore", "7z", "mycli", "xtrabackup":
		return "-p"
	case "redis-cli":
		return "-a"
	case "curl":
		return "-u"
	case "zip", "unzip", "sqlcmd":
		return "-P"
	case "smbclient":
		return "-U"
	case "openssl":
		return "-k"
	}
	switch {
	case strings.HasPrefix(program, "mysql"), strings.HasPrefix(program, "mariadb"):
		return "-p"
	case strings.HasPrefix(program, "ldap"):
		return "-w"
	}
	return ""
}

// shortOption looks at a short option: the span of the password when it is in
// the same word or part of the next, or that the next word is one.
func shortOption(s string, w span, program string) (span, strength) {
	raw, option := s[w.from:w.to], passwordOption(program)
	if option == "" || !strings.HasPrefix(raw, option) {
		return span{}, none
	}
	userAndPassword := option == "-u" || option == "-U"
	switch attached := len(raw) > len(option); {
	case attached && program == "openssl": // -keyout, -key
	case attached && userAndPassword:
		return afterColon(s, trimQuotes(s, span{w.from + 2, w.to})), none
	case attached:
		if v := trimQuotes(s, span{w.from + 2, w.to}); isCredential(strong, s[v.from:v.to]) {
			return v, none
		}
	case userAndPassword:
		return userPassword(s, w)
	case strings.HasPrefix(program, "mysql"), strings.HasPrefix(program, "mariadb"): // mysql -p asks for it
	default:
		return span{}, strong
	}
	return span{}, none
}

// userPassword is the password of the word after w: user:password,
// user%password.
func userPassword(s string, w span) (span, strength) {
	for _, n := range shellWords(s) {
		if n.from > w.to {
			return afterColon(s, inner(s, n)), none
		}
	}
	return span{}, none
}

func afterColon(s string, v span) span {
	i := strings.IndexAny(s[v.from:v.to], ":%")
	if i < 0 {
		return span{}
	}
	p := span{v.from + i + 1, v.to}
	if !isCredential(strong, s[p.from:p.to]) {
		return span{}
	}
	return p
}

// assigned finds NAME=VALUE and --name=value, also with more of them in one
// word (Server=x;Password=y, a query's ?token=y&z=1). ok tells that the word
// was an assignment, whether secret or not.
func assigned(s string, w span) (out []span, ok bool) {
	for at := w.from; at < w.to; {
		i := strings.IndexByte(s[at:w.to], '=')
		if i < 0 {
			break
		}
		eq := at + i
		from := eq
		for from > at && (isWordByte(s[from-1]) || s[from-1] == '-' || s[from-1] == '.') {
			from--
		}
		ok = true
		to := w.to
		if j := strings.IndexAny(s[eq+1:w.to], ";&,"); j >= 0 && strings.Contains(s[eq+1+j:w.to], "=") && !startsQuoted(s[eq+1:w.to]) {
			to = eq + 1 + j
		}
		key, v := strings.TrimLeft(s[from:eq], "-"), trimQuotes(s, span{eq + 1, to})
		if st := keyStrength(key); st != none && isCredential(st, s[v.from:v.to]) {
			out = append(out, v)
		}
		at = to + 1
	}
	return out, ok && !strings.HasPrefix(s[w.from:w.to], "--") || len(out) > 0
}

func startsQuoted(s string) bool { return s != "" && (s[0] == '"' || s[0] == '\'') }

// headerValue finds an Authorization header: what follows its scheme.
func headerValue(s string, w span) (span, bool) {
	v := inner(s, w)
	lower := strings.ToLower(s[v.from:v.to])
	for _, h := range []string{"authorization: bearer ", "authorization: basic ", "authorization: token ", "x-api-key: ", "private-token: ", "x-auth-token: ", "proxy-authorization: basic "} {
		if i := strings.Index(lower, h); i >= 0 {
			p := span{v.from + i + len(h), v.to}
			return p, p.to > p.from && !isReferenceOrEmpty(s[p.from:p.to])
		}
	}
	return span{}, false
}

// sqlSpans finds IDENTIFIED BY 'x' and PASSWORD 'x' of SQL.
func sqlSpans(s string) []span {
	var out []span
	lower := strings.ToLower(s)
	if len(lower) != len(s) { // a character whose lower case has another length
		return nil
	}
	for _, intro := range []string{"identified by ", "identified by password ", "password ", "password("} {
		for at := 0; ; {
			i := strings.Index(lower[at:], intro)
			if i < 0 {
				break
			}
			from := at + i + len(intro)
			at = from
			for from < len(s) && (s[from] == ' ' || s[from] == '\\') {
				from++
			}
			if from >= len(s) || s[from] != '\'' && s[from] != '"' {
				continue
			}
			n := strings.IndexByte(s[from+1:], s[from])
			if n > 0 && isCredential(strong, s[from+1:from+1+n]) {
				out = append(out, span{from + 1, from + 1 + n})
			}
		}
	}
	return out
}

// shellWords splits at blanks outside quotes and before and after ; | &. It
// only finds the words; it does not unquote.
func shellWords(s string) []span {
	var out []span
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == ';' || c == '|' || c == '&':
			j := i + 1
			if j < len(s) && s[j] == c {
				j++
			}
			out = append(out, span{i, j})
			i = j
		default:
			j := wordEnd(s, i)
			out = append(out, span{i, j})
			i = j
		}
	}
	return out
}

func wordEnd(s string, i int) int {
	quote := byte(0)
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '|':
			return i
		case (c == ';' || c == '&') && (i+1 == len(s) || s[i+1] == ' ' || s[i+1] == c):
			return i
		}
	}
	return len(s)
}

// inner is a word without the quotes around it.
func inner(s string, w span) span { return trimQuotes(s, w) }

func trimQuotes(s string, w span) span {
	if w.to-w.from >= 2 && (s[w.from] == '"' || s[w.from] == '\'') && s[w.to-1] == s[w.from] {
		return span{w.from + 1, w.to - 1}
	}
	// A quote around a whole --option=value leaves one at the end.
	if w.to > w.from && (s[w.to-1] == '"' || s[w.to-1] == '\'') && strings.Count(s[w.from:w.to], s[w.to-1:w.to])%2 == 1 {
		return span{w.from, w.to - 1}
	}
	return w
}
