package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

func TestReplaceValue(t *testing.T) {
	for name, c := range map[string]struct {
		text       string
		line       int
		key        string
		old, value string
		want       string // "" when it must not be guessed
	}{
		"define":            {"<?php\ndefine('DB_HOST', 'localhost');\n", 2, "DB_HOST", "localhost", "db", "<?php\ndefine('DB_HOST', 'db');\n"},
		"define in lines":   {"<?php\ndefine(\n  \"DB_HOST\",\n  \"localhost\"\n);\n", 3, "DB_HOST", "localhost", "db", "<?php\ndefine(\n  \"DB_HOST\",\n  \"db\"\n);\n"},
		"variable":          {"$cfg['db']['host'] = 'localhost';", 1, "cfg.db.host", "localhost", "db", "$cfg['db']['host'] = 'db';"},
		"array":             {"return ['host' => 'localhost', 'user' => 'x'];", 1, "host", "localhost", "db", "return ['host' => 'db', 'user' => 'x'];"},
		"joined":            {"define('DB_HOST', 'local' . 'host');", 1, "DB_HOST", "localhost", "db", ""},
		"joined behind":     {"define('DB_HOST', 'localhost' . ':3306');", 1, "DB_HOST", "localhost", "db", ""},
		"comment beside it": {"# bind-address = 10.0.0.1\nbind-address\t= 127.0.0.1 # old\n", 2, "mysqld.bind_address", "127.0.0.1", "*", "# bind-address = 10.0.0.1\nbind-address\t= '*' # old\n"},
		"quotes stay":       {"listen_addresses = 'localhost'\t# what\n", 1, "listen_addresses", "localhost", "*", "listen_addresses = '*'\t# what\n"},
		"empty":             {"mysqli.default_host =\n", 1, "mysqli.default_host", "", "db", "mysqli.default_host =db\n"},
		"flag":              {"[mysqld]\nskip-networking\n", 2, "mysqld.skip_networking", "", "OFF", "[mysqld]\nskip-networking = OFF\n"},
		"flag with value":   {"skip-networking=1\n", 1, "mysqld.skip_networking", "1", "OFF", "skip-networking=OFF\n"},
		"a longer name":     {"my_host = localhost\n", 1, "host", "localhost", "db", ""},
		"a longer value":    {"host = localhost.example.org\n", 1, "host", "localhost", "db", ""},
		"no such line":      {"host = localhost\n", 9, "host", "localhost", "db", ""},
		"CRLF":              {"host = localhost\r\n", 1, "host", "localhost", "db", "host = db\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			e, ok := replaceValue(c.text, c.line, c.key, c.old, c.value)
			if !ok {
				e = handoff.Edit{}
			}
			if got := editedText(c.text, e); ok != (c.want != "") || ok && got != c.want {
				t.Errorf("%v %q, want %q", ok, got, c.want)
			}
		})
	}
}

func editedText(text string, e handoff.Edit) string {
	return text[:e.At] + e.New + text[int(e.At)+len(e.Old):]
}

func TestAddLine(t *testing.T) {
	for name, c := range map[string]struct {
		text, after, want string
		line              int
	}{
		"at the end":         {"a\nb\n", "", "a\nb\nX\n", 3},
		"no newline":         {"a", "", "a\nX\n", 2},
		"empty":              {"", "", "X\n", 1},
		"behind":             {"\n<?php // here\nb\n", "<?php", "\n<?php // here\nX\nb\n", 3},
		"behind the last":    {"<?php", "<?php", "<?php\nX\n", 2},
		"nothing to find":    {"a\n", "<?php", "", 0},
		"in the middle only": {"a <?php\n", "<?php", "", 0},
	} {
		e, line, ok := addLine(c.text, c.after, "X")
		if ok != (c.want != "") || ok && (editedText(c.text, e) != c.want || line != c.line) {
			t.Errorf("%s: %q line %d, want %q line %d", name, editedText(c.text, e), line, c.want, c.line)
		}
	}
}

func TestMatches(t *testing.T) {
	text := "# local\nhost all all 127.0.0.1/32 scram-sha-256\r\nhost all all ::1/128 trust\n"
	got := matches(text, `^host\s+\S+\s+\S+\s+(127\.0\.0\.1/32)\s+scram`)
	want := []match{{line: 2, start: strings.Index(text, "127"), end: strings.Index(text, " scram"), last: strings.Index(text, "\r")}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(match{})); diff != "" {
		t.Error(diff)
	}
}

// FuzzReplaceValue: what an edit replaces is always the old value, where it says.
func FuzzReplaceValue(f *testing.F) {
	f.Add("define('DB_HOST', 'localhost');\n", 1, "DB_HOST", "localhost")
	f.Add("[mysqld]\nskip-networking\n", 2, "mysqld.skip_networking", "")
	f.Add("a=\"b\n", 1, "a", "b\n")
	f.Fuzz(func(t *testing.T, text string, line int, key, old string) {
		if line > 1000 {
			return
		}
		if e, ok := replaceValue(text, line, key, old, "new"); ok {
			if end := int(e.At) + len(e.Old); e.At < 0 || end > len(text) || text[e.At:end] != e.Old || e.Old != old {
				t.Errorf("%+v in %q", e, text)
			}
		}
		if e, _, ok := addLine(text, key, old); ok && (e.At < 0 || int(e.At) > len(text)) {
			t.Errorf("%+v in %q", e, text)
		}
	})
}
