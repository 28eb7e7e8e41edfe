package credential

import (
	"encoding/base64"
	"strings"
)

// span is a part of a text, as offsets.
type span struct{ from, to int }

// IsPrivateKey reports whether a line begins a private key: PEM (RFC 7468),
// OpenSSH, PGP, PuTTY, age.
func IsPrivateKey(line string) bool {
	if _, rest, ok := strings.Cut(line, "-----BEGIN "); ok {
		label, _, ok := strings.Cut(rest, "-----")
		return ok && (strings.HasSuffix(label, "PRIVATE KEY") || label == "PGP PRIVATE KEY BLOCK")
	}
	return strings.HasPrefix(line, "PuTTY-User-Key-File-") || strings.HasPrefix(line, "AGE-SECRET-KEY-1")
}

// token describes one provider's tokens: a fixed beginning and what follows.
type token struct {
	prefix   string
	min, max int // number of characters that follow
	set      func(byte) bool
}

// tokensFrom lists the kinds of tokens that begin with c.
func tokensFrom(c byte) []token {
	switch c {
	case 'A':
		return []token{{"AKIA", 16, 16, isUpperDigit}, {"ASIA", 16, 16, isUpperDigit}, {"AIza", 35, 35, isTokenByte}}
	case 'g':
		return []token{
			{"ghp_", 36, 36, isWordByte}, {"gho_", 36, 36, isWordByte}, {"ghu_", 36, 36, isWordByte}, {"ghs_", 36, 255, isWordByte},
			{"ghr_", 36, 255, isWordByte}, {"github_pat_", 60, 255, isWordByte}, {"glpat-", 20, 64, isTokenByte},
		}
	case 'x':
		return []token{{"xoxb-", 20, 255, isTokenByte}, {"xoxp-", 20, 255, isTokenByte}, {"xoxa-", 20, 255, isTokenByte}, {"xoxs-", 20, 255, isTokenByte}}
	case 's':
		return []token{
			{"sk_live_", 16, 255, isWordByte}, {"sk_test_", 16, 255, isWordByte}, {"sk-ant-", 24, 255, isTokenByte},
			{"sk-proj-", 24, 255, isTokenByte},
		}
	case 'r':
		return []token{{"rk_live_", 16, 255, isWordByte}}
	case 'n':
		return []token{{"npm_", 36, 36, isWordByte}}
	case 'h':
		return []token{{"hvs.", 24, 255, isTokenByte}}
	case 'd':
		return []token{{"dop_v1_", 64, 64, isWordByte}}
	case 'S':
		return []token{{"SG.", 60, 80, isTokenByte}}
	case 'p':
		return []token{{"pypi-AgE", 50, 255, isTokenByte}}
	}
	return nil
}

func isUpperDigit(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
func isTokenByte(c byte) bool  { return isWordByte(c) || c == '-' || c == '.' }

// beginsToken is a cheap test on the first bytes of a word.
func beginsToken(s string) bool {
	if len(s) < 12 {
		return false
	}
	switch s[:2] {
	case "AK", "AS", "AI", "gh", "gi", "gl", "xo", "sk", "rk", "np", "hv", "do", "SG", "py":
		return true
	}
	return false
}

// tokenSpans finds tokens of known shape in s.
func tokenSpans(s string) []span {
	var out []span
	if len(s) < 16 {
		return nil
	}
	for i := 0; i < len(s); i++ {
		if i > 0 && isWordByte(s[i-1]) || !beginsToken(s[i:]) {
			continue
		}
		for _, t := range tokensFrom(s[i]) {
			if !strings.HasPrefix(s[i:], t.prefix) {
				continue
			}
			to := i + len(t.prefix)
			for to < len(s) && t.set(s[to]) {
				to++
			}
			n := to - i - len(t.prefix)
			if n >= t.min && n <= t.max && (to == len(s) || !isWordByte(s[to])) {
				out = append(out, span{i, to})
				i = to - 1
				break
			}
		}
	}
	return append(out, jwtSpans(s)...)
}

// jwtSpans finds JSON Web Tokens (RFC 7519): three parts, of which the first is
// a JSON object.
func jwtSpans(s string) []span {
	var out []span
	for at := 0; ; {
		i := strings.Index(s[at:], "eyJ")
		if i < 0 {
			return out
		}
		from := at + i
		to := from
		for to < len(s) && isTokenByte(s[to]) {
			to++
		}
		at = to
		parts := strings.Split(s[from:to], ".")
		if len(parts) != 3 || len(parts[1]) < 8 || len(parts[2]) < 16 || from > 0 && isWordByte(s[from-1]) {
			continue
		}
		if head, err := base64.RawURLEncoding.DecodeString(parts[0]); err == nil && len(head) > 0 && head[0] == '{' {
			out = append(out, span{from, to})
		}
	}
}

// hashAt is the length of the password hash that s begins with, 0 for none:
// the schemes of crypt(5), Apache's apr1 and {SHA}, and LDAP's.
func hashAt(s string) int {
	var n, min int
	switch {
	case strings.HasPrefix(s, "$2") && len(s) > 7 && s[6] == '$' && strings.IndexByte("abxy", s[2]) >= 0 && s[3] == '$':
		n, min = 7, 53
	case strings.HasPrefix(s, "$1$"), strings.HasPrefix(s, "$5$"), strings.HasPrefix(s, "$6$"), strings.HasPrefix(s, "$7$"):
		n, min = 3, 24
	case strings.HasPrefix(s, "$y$"), strings.HasPrefix(s, "$P$"), strings.HasPrefix(s, "$H$"):
		n, min = 3, 28
	case strings.HasPrefix(s, "$gy$"):
		n, min = 4, 28
	case strings.HasPrefix(s, "$apr1$"):
		n, min = 6, 24
	case strings.HasPrefix(s, "$argon2"):
		n, min = 7, 40
	case strings.HasPrefix(s, "{SSHA}"), strings.HasPrefix(s, "{SSHA512}"), strings.HasPrefix(s, "{SSHA256}"), strings.HasPrefix(s, "{CRYPT}"), strings.HasPrefix(s, "{SHA}"), strings.HasPrefix(s, "{MD5}"):
		n, min = strings.IndexByte(s, '}')+1, 13
	default:
		return 0
	}
	from := n
	for n < len(s) && (isWordByte(s[n]) || strings.IndexByte("./+=$,-", s[n]) >= 0) {
		n++
	}
	if n-from < min {
		return 0
	}
	return n
}

// hashSpans finds password hashes in s.
func hashSpans(s string) []span {
	var out []span
	for i := 0; i < len(s); i++ {
		if s[i] != '$' && s[i] != '{' {
			continue
		}
		if n := hashAt(s[i:]); n > 0 && (i == 0 || !isWordByte(s[i-1])) {
			out = append(out, span{i, i + n})
			i += n - 1
		}
	}
	return out
}

// urlPassword finds the first password in a URL of s (RFC 3986, 3.2.1).
func urlPassword(s string) (from, to int, ok bool) {
	for at := 0; ; {
		i := strings.Index(s[at:], "://")
		if i < 0 {
			return 0, 0, false
		}
		start := at + i + 3
		at = start
		if i == 0 || !isWordByte(s[start-4]) {
			continue
		}
		end := start
		for end < len(s) && strings.IndexByte(" \t\"'<>/?#\\`,", s[end]) < 0 {
			end++
		}
		// A password may hold a raw slash; then the @ comes later, before any blank.
		userinfo := strings.LastIndexByte(s[start:end], '@')
		if userinfo < 0 {
			continue
		}
		colon := strings.IndexByte(s[start:start+userinfo], ':')
		if colon < 0 || isReferenceOrEmpty(s[start+colon+1:start+userinfo]) {
			continue
		}
		return start + colon + 1, start + userinfo, true
	}
}

func isReferenceOrEmpty(v string) bool {
	return v == "" || isReference(v) || isMask(v) || strings.HasPrefix(v, "$") || v == "password" || v == "pass" || v == "PASSWORD"
}

// urlSpans finds all passwords in URLs.
func urlSpans(s string) []span {
	var out []span
	for at := 0; ; {
		from, to, ok := urlPassword(s[at:])
		if !ok {
			return out
		}
		out = append(out, span{at + from, at + to})
		at += to
	}
}
