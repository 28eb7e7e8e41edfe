package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
)

// ini reads php.ini, pools of php-fpm, supervisor and their like: sections in
// brackets, key = value, comments with ; or #. Keys are SECTION.KEY; a key that
// has a dot itself (session.save_path) stands alone, since the sections of
// php.ini mean nothing, and php_admin_value[KEY] of a pool is KEY.
type ini struct{}

func (ini) parse(rd *reader, f file) error {
	section := ""
	for n, line := range lines(f.text) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "\xef\xbb\xbf"))
		switch {
		case line == "" || line[0] == ';' || line[0] == '#':
			continue
		case line[0] == '[':
			end := strings.IndexByte(line, ']')
			if end < 0 {
				if err := rd.problem(f.at(n), "section header has no end"); err != nil {
					return err
				}
				continue
			}
			section = strings.TrimSpace(line[1:end])
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), iniValue(value)
		if key == "" {
			if err := rd.problem(f.at(n), "line is no assignment"); err != nil {
				return err
			}
			continue
		}
		if err := iniAssign(rd, f, f.at(n), section, key, value); err != nil {
			return err
		}
	}
	return nil
}

func iniAssign(rd *reader, f file, src facts.Source, section, key, value string) error {
	switch {
	case key == "include" && strings.HasPrefix(value, "/"): // php-fpm
		_, err := rd.include(f, value, f.path.Dir())
		return err
	case section == "include" && key == "files": // supervisor
		for pattern := range strings.FieldsSeq(value) {
			if _, err := rd.include(f, pattern, f.path.Dir()); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range []string{"php_admin_value[", "php_value[", "php_admin_flag[", "php_flag["} {
		if inner, ok := strings.CutPrefix(key, p); ok && strings.HasSuffix(inner, "]") {
			key = strings.TrimSuffix(inner, "]")
		}
	}
	full := key
	if section != "" && !strings.Contains(key, ".") {
		full = section + "." + key
	}
	return rd.set(src, full, key, value)
}

// iniValue takes the quotes from a value, or what follows a ; behind a blank.
func iniValue(value string) string {
	value = strings.TrimSpace(value)
	if value == "" {
		return ""
	}
	if q := value[0]; q == '"' || q == '\'' {
		for i := 1; i < len(value); i++ {
			switch value[i] {
			case '\\':
				i++
			case q:
				rest := strings.TrimSpace(value[i+1:])
				if rest == "" || rest[0] == ';' || rest[0] == '#' {
					return value[1:i]
				}
			}
		}
		return value
	}
	if value[0] == ';' {
		return ""
	}
	for i := 1; i < len(value); i++ {
		if value[i] == ';' && (value[i-1] == ' ' || value[i-1] == '\t') {
			return strings.TrimSpace(value[:i])
		}
	}
	return value
}
