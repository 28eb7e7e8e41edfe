package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// postgresql reads postgresql.conf: name = value or name value, strings in
// single quotes, include, include_if_exists and include_dir
// (postgresql.org/docs/current/config-setting.html). Behind the main file comes
// postgresql.auto.conf of the data directory, which ALTER SYSTEM writes.
// Values that are relative to the data directory are made absolute.
type postgresql struct {
	data string // data_directory
}

func (c *postgresql) parse(rd *reader, f file) error {
	for n, line := range lines(f.text) {
		key, value, ok, broken := pgLine(line)
		if broken {
			if err := rd.problem(f.at(n), "line is no setting"); err != nil {
				return err
			}
		}
		if !ok {
			continue
		}
		if err := c.assign(rd, f, n, key, value); err != nil {
			return err
		}
	}
	if f.depth > 0 || c.data == "" {
		return nil
	}
	_, err := rd.include(f, c.data+"/postgresql.auto.conf", f.path.Dir())
	return err
}

func (c *postgresql) assign(rd *reader, f file, n int, key, value string) error {
	switch key {
	case "include", "include_if_exists":
		found, err := rd.include(f, value, f.path.Dir())
		if err == nil && found == 0 && key == "include" {
			err = rd.problem(f.at(n), "included file "+hostpath.Quote(value)+" is missing")
		}
		return err
	case "include_dir":
		_, err := rd.include(f, strings.TrimRight(value, "/")+"/*.conf", f.path.Dir())
		return err
	case "data_directory":
		c.data = value
	case "log_directory", "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file", "ssl_dh_params_file", "hba_file", "ident_file":
		if value != "" && value[0] != '/' && c.data != "" {
			value = string(hostpath.Clean(c.data).Join(value))
		}
	}
	return rd.set(f.at(n), key, key, value)
}

// pgLine splits one line, as guc-file.l does.
func pgLine(line string) (key, value string, ok, broken bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", false, false
	}
	end := 0
	for end < len(line) && (isWord(line[end]) || line[end] == '.') {
		end++
	}
	key = strings.ToLower(line[:end])
	rest := strings.TrimLeft(line[end:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	switch {
	case key == "":
		return "", "", false, true
	case strings.HasPrefix(rest, "'"):
		value, ok = pgString(rest)
		return key, value, ok, !ok
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest = strings.TrimSpace(rest)
	if rest == "" || strings.ContainsAny(rest, " \t") {
		return "", "", false, true
	}
	return key, rest, true, false
}

// pgString reads a quoted value with its escapes: ” is a quote, and a
// backslash protects.
func pgString(s string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(s[i])
			}
		case s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case s[i] == '\'':
			rest := strings.TrimSpace(s[i+1:])
			return b.String(), rest == "" || rest[0] == '#'
		default:
			b.WriteByte(s[i])
		}
	}
	return "", false
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
