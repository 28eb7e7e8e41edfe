package credential

import "strings"

// isCredential judges a value under a key of the given strength.
func isCredential(s strength, value string) bool {
	v := unquote(strings.TrimSpace(value))
	if v == "" || isSwitch(v) {
		return false
	}
	if hashAt(v) > 0 {
		return true
	}
	if isReference(v) || isPath(v) || isMask(v) || isRemark(v) {
		return false
	}
	if s == strong {
		return !isPlainURL(v)
	}
	return looksRandom(v)
}

func unquote(v string) string {
	if n := len(v); n >= 2 && (v[0] == '"' || v[0] == '\'' || v[0] == '`') && v[n-1] == v[0] {
		return v[1 : n-1]
	}
	return v
}

// isSwitch is true for the words that turn something on and off or say that
// there is nothing.
func isSwitch(v string) bool {
	switch strings.ToLower(v) {
	case "yes", "no", "on", "off", "true", "false", "none", "null", "nil", "~", "0", "1", "-", "*", "!", "!!", "x",
		"all", "optional", "required", "default", "prompt", "ask", "undef", "undefined", "enabled", "disabled",
		"{}", "[]", "|", ">", "|-", ">-", "array()", "files", "compat", "sss":
		return true
	}
	return false
}

// isReference is true for a value that only says where the credential comes
// from: a variable, a command, a template's field.
func isReference(v string) bool {
	switch {
	case strings.HasPrefix(v, "${") && strings.HasSuffix(v, "}"),
		strings.HasPrefix(v, "$(") && strings.HasSuffix(v, ")"),
		strings.HasPrefix(v, "`") && strings.HasSuffix(v, "`"),
		strings.HasPrefix(v, "{{"), strings.HasPrefix(v, "{%"),
		strings.HasPrefix(v, "<") && strings.HasSuffix(v, ">"),
		strings.HasPrefix(v, "%(") || strings.HasPrefix(v, "%{") || strings.HasPrefix(v, "%s"),
		len(v) > 2 && v[0] == '%' && v[len(v)-1] == '%',
		len(v) > 4 && strings.HasPrefix(v, "__") && strings.HasSuffix(v, "__"),
		len(v) > 2 && v[0] == '@' && v[len(v)-1] == '@',
		strings.HasPrefix(v, "ENC[") || strings.HasPrefix(v, "ENC(") || strings.HasPrefix(v, "!vault"),
		strings.HasPrefix(v, "!ENV") || strings.HasPrefix(v, "!Ref") || strings.HasPrefix(v, "!GetAtt"),
		strings.HasPrefix(v, "$_ENV[") || strings.HasPrefix(v, "$_SERVER["),
		strings.HasPrefix(v, "getenv(") || strings.HasPrefix(v, "env(") || strings.HasPrefix(v, "os.environ"),
		strings.HasPrefix(v, "process.env"):
		return true
	}
	if strings.Contains(v, "$(") || strings.Contains(v, "${") { // put together at run time
		return true
	}
	if v[0] == '$' && len(v) > 1 {
		rest := strings.Trim(v[1:], "\"';,")
		return rest != "" && (isIdentifier(rest) || strings.ContainsAny(rest, "[") && isIdentifier(rest[:strings.IndexByte(rest, '[')]) ||
			strings.Contains(rest, "->") || strings.Contains(rest, "::") || strings.Contains(rest, "$"))
	}
	return false
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isWordByte(c) {
			return false
		}
	}
	return s != ""
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isPath is true for what names a file. A first element that every host has is
// asked for, since base64 may begin with a slash.
func isPath(v string) bool {
	if strings.ContainsAny(v, "\n\t") {
		return false
	}
	v = strings.TrimPrefix(v, "file:")
	v = strings.TrimPrefix(v, "exec:")
	if strings.HasPrefix(v, "./") || strings.HasPrefix(v, "../") || strings.HasPrefix(v, "~/") {
		return true
	}
	if !strings.HasPrefix(v, "/") {
		return hasSuffix(v, ".pem", ".key", ".crt", ".p12", ".jks", ".keystore", ".conf", ".txt", ".so")
	}
	first, _, _ := strings.Cut(strings.TrimLeft(v, "/"), "/")
	switch first {
	case "", "etc", "var", "usr", "run", "opt", "srv", "home", "root", "tmp", "proc", "dev", "mnt", "media", "data",
		"bin", "sbin", "lib", "lib64", "boot", "sys", "app", "secrets", "config", "keybase":
		return true
	}
	return false
}

// isRange is true for a version or a range of versions: ^7.0.3, ~1.2, >=1.0.
func isRange(v string) bool {
	n := strings.TrimLeft(v, "^~<>=v ")
	return n != v && n != "" && strings.Trim(n, "0123456789.x*") == "" && strings.Contains(n, ".")
}

// isRemark is true for a version, for a comment behind an empty value, for a port of
// services(5), and for a sentence about a password.
func isRemark(v string) bool {
	return isRange(v) || strings.HasPrefix(v, "# ") || strings.HasPrefix(v, "; ") ||
		strings.HasSuffix(v, "/tcp") || strings.HasSuffix(v, "/udp") ||
		strings.Contains(v, " ") && strings.Contains(strings.ToLower(v), "password")
}

// isMask is true for what stands where a value was blotted out.
func isMask(v string) bool {
	return strings.Trim(v, "*") == "" || len(v) > 2 && strings.Trim(v, "xX.") == "" || v == "[redacted]"
}

// isPlainURL is true for a URL without a password: where a token is fetched,
// not the token.
func isPlainURL(v string) bool {
	_, _, found := urlPassword(v)
	scheme, rest, ok := strings.Cut(v, "://")
	return ok && !found && isIdentifier(strings.NewReplacer("+", "", "-", "", ".", "").Replace(scheme)) && rest != ""
}

// looksRandom is true for what no person writes as a word: at least eight
// characters of several kinds, or long and of many different characters.
func looksRandom(v string) bool {
	if len(v) < 8 || strings.HasPrefix(v, "http://") || strings.HasPrefix(v, "https://") {
		return false
	}
	var lower, upper, digit, other, space int
	var seen [256]bool
	distinct := 0
	for i := range len(v) {
		c := v[i]
		if !seen[c] {
			seen[c] = true
			distinct++
		}
		switch {
		case c >= 'a' && c <= 'z':
			lower++
		case c >= 'A' && c <= 'Z':
			upper++
		case c >= '0' && c <= '9':
			digit++
		case c == ' ':
			space++
		case c == '-' || c == '_' || c == '.' || c == '/' || c == ':':
		default:
			other++
		}
	}
	if distinct < 5 || space > len(v)/6 {
		return false
	}
	letters := lower + upper
	switch {
	case digit >= 2 && letters >= 2 && !isVersion(v):
		return true
	case other >= 1 && digit >= 1 && letters >= 4 && space == 0:
		return true
	case len(v) >= 20 && lower > 0 && upper > 2 && distinct >= 12 && space == 0 && digit+other > 0:
		return true
	}
	return false
}

// isVersion is true for words with a number at the end: sha256, scram-sha-256,
// tls1.2, utf8mb4.
func isVersion(v string) bool {
	for _, p := range []string{"sha", "md5", "scram", "tls", "utf", "aes", "rsa", "ecdsa", "ed25519", "argon", "bcrypt", "pbkdf", "ssl", "hs", "rs"} {
		if len(v) <= 24 && strings.HasPrefix(strings.ToLower(v), p) {
			return true
		}
	}
	return false
}
