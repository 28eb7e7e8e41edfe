package credential

import (
	"strings"
	"unicode"
)

// strength is how much a key alone says.
type strength int

const (
	none   strength = iota
	weak            // token, auth, salt, api key: the value must look like one, too
	strong          // password and the like: any value is one
)

// LooksSecret reports whether a setting, variable or option of this name
// usually holds a credential: DB_PASSWORD, requirepass, clientSecret,
// AuthLDAPBindPassword. It is false for settings about credentials
// (PasswordAuthentication, PASS_MAX_DAYS, ssl_password_file, proxy_pass).
func LooksSecret(key string) bool { return keyStrength(key) != none }

func keyStrength(key string) strength {
	if !mayHoldKey(key) {
		return none
	}
	w := words(key)
	best := none
	for i := range w {
		s := wordStrength(w, i)
		if s == none {
			continue
		}
		if i+1 < len(w) && about(w[len(w)-1]) {
			return none
		}
		best = max(best, s)
	}
	return best
}

// mayHoldKey is a cheap test that lets nearly every line go by: whether the
// stem of a word that wordStrength knows is somewhere in s.
func mayHoldKey(s string) bool {
	for i := 0; i+1 < len(s); i++ {
		stem := ""
		switch s[i] | 0x20 {
		case 'p':
			switch s[i+1] | 0x20 {
			case 'a':
				stem = "pass"
			case 'w':
				return true
			case 's':
				stem = "psk"
			}
		case 's':
			switch s[i+1] | 0x20 {
			case 'e':
				stem = "secret"
			case 'a':
				stem = "salt"
			}
		case 't':
			stem = "token"
		case 'k':
			stem = "key"
			if s[i+1]|0x20 == 'e' && i+2 < len(s) && s[i+2]|0x20 == 'n' {
				stem = "kennwort"
			}
		case 'c':
			stem = "cred"
			if s[i+1]|0x20 == 'o' {
				stem = "community"
			}
		case 'a':
			stem = "auth"
		case 'b':
			stem = "bearer"
		}
		if stem != "" && len(s)-i >= len(stem) && strings.EqualFold(s[i:i+len(stem)], stem) {
			return true
		}
	}
	return false
}

// words splits DB_PASSWORD, dbPassword, DBPassword1 and db.password into lower
// case words without digits at the end.
func words(key string) []string {
	var out []string
	runes := []rune(key)
	start := 0
	cut := func(end int) {
		if w := strings.TrimRight(strings.ToLower(string(runes[start:end])), "0123456789"); w != "" {
			out = append(out, w)
		}
		start = end
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			cut(i)
			start = i + 1
		case i > start && unicode.IsUpper(r) &&
			(unicode.IsLower(runes[i-1]) || unicode.IsDigit(runes[i-1]) ||
				i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			cut(i)
		}
	}
	cut(len(runes))
	return out
}

func wordStrength(w []string, i int) strength {
	before := ""
	if i > 0 {
		before = w[i-1]
	}
	switch word := w[i]; word {
	case "pass":
		if passesOn(before) {
			return none
		}
		return strong
	case "pw", "pwd", "psk", "secret", "masterauth", "rocommunity", "rwcommunity", "rootpw", "bindpw", "upw", "dbpw":
		return strong
	case "token", "auth", "salt", "credential", "credentials", "bearer":
		return weak
	case "key":
		if qualifiesKey(before) {
			return weak
		}
		return none
	case "nopasswd", "nopassword":
		return none
	default:
		switch {
		case hasSuffix(word, "password", "passwords", "passwd", "passwort", "passphrase", "kennwort", "pwd", "secret", "secrets"):
			return strong
		case strings.HasSuffix(word, "pass") && ownsPass(strings.TrimSuffix(word, "pass")):
			return strong
		case hasSuffix(word, "token", "apikey", "authkey", "secretkey", "accesskey", "privatekey"):
			return weak
		}
		return none
	}
}

func hasSuffix(s string, suffixes ...string) bool {
	for _, x := range suffixes {
		if strings.HasSuffix(s, x) {
			return true
		}
	}
	return false
}

// passesOn is true for words before "pass" that make it a verb: proxy_pass.
func passesOn(before string) bool {
	switch before {
	case "proxy", "fastcgi", "uwsgi", "scgi", "grpc", "memcached", "by", "multi", "first", "second", "one", "two", "single", "no":
		return true
	}
	return false
}

// ownsPass is true for what stands before "pass" in one word when that means a
// password: dbpass, requirepass; not compass, minipass.
func ownsPass(before string) bool {
	switch before {
	case "db", "user", "my", "root", "admin", "smtp", "ftp", "mail", "ldap", "bind", "require", "http", "mysql", "pg", "sql", "redis", "mongo",
		"store", "key", "keystore", "truststore", "web", "login", "imap", "pop", "sasl", "auth", "enc", "wp", "new", "old", "host", "api", "app",
		"ssh", "sudo", "master", "guest", "tomcat", "database", "dba", "postgres", "rabbitmq", "mq", "rpc", "wifi", "vpn", "u", "d":
		return true
	}
	return false
}

// qualifiesKey is true for words before "key" that make it a secret one.
func qualifiesKey(before string) bool {
	switch before {
	case "api", "access", "private", "secret", "auth", "encryption", "encrypt", "crypt", "crypto", "signing", "sign",
		"master", "app", "application", "session", "cookie", "jwt", "hmac", "shared", "account", "storage", "in",
		"nonce", "license", "licence", "service", "client", "consumer", "write", "stripe", "mail", "deploy", "admin":
		return true
	}
	return false
}

// about is true for last words that make a key one about credentials, not one
// that holds a credential.
func about(last string) bool {
	switch last {
	case "file", "files", "path", "paths", "dir", "directory", "location", "min", "max", "length", "len", "age", "days",
		"warn", "expire", "expires", "expired", "expiry", "expiration", "timeout", "ttl", "lifetime", "policy", "type",
		"algorithm", "algo", "method", "encryption", "authentication", "validation", "validate", "plugin", "check",
		"prompt", "required", "require", "requirements", "enabled", "enable", "disabled", "allow", "allowed", "hint",
		"label", "reset", "change", "changed", "name", "names", "id", "ids", "field", "fields", "url", "uri", "endpoint",
		"header", "headers", "count", "size", "limit", "attempts", "tries", "retry", "retries", "regex", "regexp",
		"pattern", "provider", "providers", "store", "manager", "command", "cmd", "callback", "column", "query",
		"attribute", "attr", "format", "scheme", "schemes", "placeholder", "text", "title", "description", "message",
		"strength", "options", "option", "users", "user", "login", "reverse", "match", "through", "per", "days_max",
		"iterations", "rounds", "cost", "history", "lock", "lockout", "level", "mode", "class", "error", "errors",
		"failed", "verify", "verified", "verification", "agent", "group", "realm", "scope", "audience", "issuer",
		"handler", "helper", "function", "form", "input", "page", "link", "button", "mechanism", "mechanisms",
		"certificate", "cert", "ca", "host", "port", "server", "protocol", "version", "prefix", "suffix", "env",
		"exchange", "exchanges", "cache", "cached", "nag", "strategy", "generation", "generate", "generator", "source",
		"management", "basic", "script", "support", "log", "tag", "time", "cookie", "environment":
		return true
	}
	return false
}
