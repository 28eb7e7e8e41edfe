package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The expectations are the examples and rules of systemd.service(5), COMMAND
// LINES, and systemd.unit(5), SPECIFIERS.
func TestParseCommands(t *testing.T) {
	spec := unitSpecifiers("tally@a-b\\x2dc.service", "tally", "/home/t", "999", "atlas")
	for _, tt := range []struct {
		in   string
		want []command
	}{
		{"/bin/echo one ; /bin/echo \"two two\"", []command{{Words: []string{"/bin/echo", "one"}}, {Words: []string{"/bin/echo", "two two"}}}},
		{"/bin/echo / >/dev/null & \\; /bin/ls", []command{{Words: []string{"/bin/echo", "/", ">/dev/null", "&", ";", "/bin/ls"}}}},
		{"-/bin/false", []command{{Words: []string{"/bin/false"}, MayFail: true}}},
		{"@/usr/bin/php php-fpm -F", []command{{Words: []string{"/usr/bin/php", "-F"}}}},
		{"+:/bin/a $X", []command{{Words: []string{"/bin/a", "$X"}, Privileged: true, NoVariables: true}}},
		{"!!/bin/a", []command{{Words: []string{"/bin/a"}, Privileged: true}}},
		{`/bin/a 'x y'z "\x41\n" \101 a\ b`, []command{{Words: []string{"/bin/a", "x yz", "A\n", "A", `a\ b`}}}},
		{"/bin/a %i %I %n %p %S/x %u %h 100%% %z", []command{{Words: []string{"/bin/a", `a-b\x2dc`, "a/b-c", `tally@a-b\x2dc.service`, "tally", "/var/lib/x", "tally", "/home/t", "100%", "%z"}}}},
	} {
		got, err := parseCommands(tt.in, spec)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.in, diff)
		}
	}
	for _, bad := range []string{`/bin/a "x`, "-", "; /bin/a"} {
		if got, err := parseCommands(bad, spec); err == nil {
			t.Errorf("%q: no error, got %v", bad, got)
		}
	}
}

func TestWithVariables(t *testing.T) {
	vars := variables{
		"ADDRESS": {Value: "127.0.0.1"}, "OPTIONS": {Value: `-v -x "a b"`}, "EMPTY": {},
		"TOKEN": {Value: "s3cret", Secret: true}, "TWO": {Value: "s3 cret", Secret: true},
	}
	in := []string{"/bin/d", "-l", "${ADDRESS}:${EMPTY}${NONE}80", "$OPTIONS", "$EMPTY", "$NONE", "$ADDRESS", "$TOKEN", "$TWO", "a$ADDRESS", "$$x", "$(y)", "$$(y)", "${open"}
	want := []string{"/bin/d", "-l", "$(ADDRESS):80", "-v", "-x", "a b", "$(ADDRESS)", "$(TOKEN)", "$(TWO)", "a$ADDRESS", "$x", "$$(y)", "$$(y)", "${open"}
	got, unsplit := withVariables(in, vars)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"TWO"}, unsplit); diff != "" {
		t.Errorf("unsplit: -want +got:\n%s", diff)
	}
}

func FuzzParseCommands(f *testing.F) {
	for _, s := range []string{"/bin/a", "@-+!:/a b", `"\x41" ; '`, "%%%n", "\\u00e9"} {
		f.Add(s)
	}
	spec := unitSpecifiers("a@b.service", "u", "/h", "1", "x")
	f.Fuzz(func(t *testing.T, s string) {
		commands, err := parseCommands(s, spec)
		if err != nil {
			return
		}
		for _, c := range commands {
			if len(c.Words) == 0 {
				t.Errorf("%q: a command without words", s)
			}
			withVariables(c.Words, variables{"A": {Value: "x y"}})
		}
	})
}
