package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// mysql reads option files of MySQL and MariaDB: groups in brackets, option or
// option = value, !include and !includedir
// (mariadb.com/kb/en/configuring-mariadb-with-option-files). Keys are
// GROUP.OPTION with underscores, without the prefix loose_.
type mysql struct{}

func (mysql) parse(rd *reader, f file) error {
	group := ""
	for n, line := range lines(f.text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '!':
			if err := mysqlInclude(rd, f, n, line); err != nil {
				return err
			}
			continue
		case line[0] == '[':
			end := strings.IndexByte(line, ']')
			if end < 0 {
				if err := rd.problem(f.at(n), "group has no closing bracket"); err != nil {
					return err
				}
				continue
			}
			group = strings.TrimSpace(line[1:end])
			continue
		case group == "":
			if err := rd.problem(f.at(n), "option before the first group"); err != nil {
				return err
			}
			continue
		}
		option, value := mysqlOption(line)
		if err := rd.set(f.at(n), group+"."+option, option, value); err != nil {
			return err
		}
	}
	return nil
}

// mysqlOption splits a line that may end in a comment.
func mysqlOption(line string) (option, value string) {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#':
			line = line[:i]
		}
	}
	option, value, _ = strings.Cut(line, "=")
	option = strings.ReplaceAll(strings.TrimSpace(option), "-", "_")
	return strings.TrimPrefix(option, "loose_"), mysqlValue(strings.TrimSpace(value))
}

// mysqlValue takes away quotes, and replaces the escapes of option files.
func mysqlValue(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	if !strings.Contains(value, `\`) {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' || i+1 == len(value) {
			b.WriteByte(value[i])
			continue
		}
		i++
		switch value[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case 'b':
			b.WriteByte('\b')
		case 's':
			b.WriteByte(' ')
		case '"', '\'', '\\':
			b.WriteByte(value[i])
		default:
			b.WriteByte('\\')
			b.WriteByte(value[i])
		}
	}
	return b.String()
}

// mysqlInclude follows !include FILE and !includedir DIR, of which files that
// end in .cnf count, in the order of their names.
func mysqlInclude(rd *reader, f file, n int, line string) error {
	word, arg, _ := strings.Cut(strings.TrimSpace(line[1:]), " ")
	arg = strings.TrimSpace(arg)
	switch {
	case arg == "":
	case word == "include":
		return rd.file(hostpath.Clean(arg), f.depth+1)
	case word == "includedir":
		_, err := rd.include(f, strings.TrimRight(arg, "/")+"/*.cnf", f.path.Dir())
		return err
	}
	return rd.problem(f.at(n), "directive is not understood")
}
