package shellwords_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/shellwords"
)

func TestSystemd(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{`one two`, []string{"one", "two"}},
		{"  one\t two\n", []string{"one", "two"}},
		{`"one two" 'three "four"'`, []string{"one two", `three "four"`}},
		{`VAR1="word1 word2" VAR2=word3`, []string{"VAR1=word1 word2", "VAR2=word3"}},
		{`"VAR1=word1 word2" VAR2=word3 "VAR3=$word 5 6"`, []string{"VAR1=word1 word2", "VAR2=word3", "VAR3=$word 5 6"}}, // systemd.exec(5)
		{`a\x20b a\sb \101 \u00e4 "\""`, []string{"a b", "a b", "A", "ä", `"`}},
		{`c:\windows \d+ \x4`, []string{`c:\windows`, `\d+`, `\x4`}},
		{`""`, []string{""}},
		{``, nil},
		{`a#b ; c`, []string{"a#b", ";", "c"}},
	}
	for _, tt := range tests {
		got, err := shellwords.Systemd(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: -want +got\n%s", tt.in, diff)
		}
	}
	for _, in := range []string{`"open`, `a 'b`, `end\`} {
		if _, err := shellwords.Systemd(in); !errors.Is(err, shellwords.ErrQuote) {
			t.Errorf("%q: error %v, want ErrQuote", in, err)
		}
	}
}

// TestShellAgainstDash compares with the shell itself, on text without
// expansions and operators.
func TestShellAgainstDash(t *testing.T) {
	for _, in := range []string{
		`one two`, `a'b c'd`, `"a b" c`, `a\ b`, `"a\"b" 'c"d'`, `'' ""`, `a#b #comment`, `"a\nb" a\nb`, `'a\b'`, `--x="y z" -q`,
		"a \\\n b", `"a\\b" \\`, `'$HOME' \$HOME "\$HOME"`, `start-stop-daemon --start --exec /usr/sbin/x -- -f "/etc/x y.conf"`,
	} {
		out, err := exec.Command("dash", "-c", `printf '%s\0' `+in).Output()
		if err != nil {
			t.Fatalf("dash: %v", err)
		}
		want := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		words, err := shellwords.Shell(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		var got []string
		for _, w := range words {
			got = append(got, w.Text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -dash +got\n%s", in, diff)
		}
	}
}

func TestShell(t *testing.T) {
	words, err := shellwords.Shell(`DAEMON="$BASE/sbin/x y" && exec $DAEMON '$HOME' >/dev/null 2>&1 $(date +"%d )") # end`)
	if err != nil {
		t.Fatal(err)
	}
	want := []shellwords.Word{
		{Text: "DAEMON=$BASE/sbin/x y", Quoted: true},
		{Text: "&&", Operator: true, At: 24},
		{Text: "exec", At: 27},
		{Text: "$DAEMON", At: 32},
		{Text: "$HOME", Quoted: true, Raw: true, At: 40},
		{Text: ">", Operator: true, At: 48},
		{Text: "/dev/null", At: 49},
		{Text: "2", At: 59},
		{Text: ">&", Operator: true, At: 60},
		{Text: "1", At: 62},
		{Text: `$(date +"%d )")`, At: 64},
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, in := range []string{`"open`, `a 'b`, `end\`, "`x", "$(x", "${x"} {
		if _, err := shellwords.Shell(in); !errors.Is(err, shellwords.ErrQuote) {
			t.Errorf("%q: error %v, want ErrQuote", in, err)
		}
	}
}

func FuzzSystemd(f *testing.F) {
	for _, s := range []string{`a "b c"`, `\x41\u00e4\`, `'`, `a;b`, "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := shellwords.Systemd(s)
		if err != nil {
			return
		}
		total := 0
		for _, w := range words {
			total += len(w)
		}
		if total > len(s) {
			t.Fatalf("%q grew to %q", s, words)
		}
	})
}

func FuzzShell(f *testing.F) {
	for _, s := range []string{`a "b c" $X ${Y:-"z"}`, "`x` $(y $(z))", `'`, `a;b&&c||d`, "a\\\nb # c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := shellwords.Shell(s)
		if err != nil {
			return
		}
		for i, w := range words {
			if w.At < 0 || w.At >= len(s) || i > 0 && w.At <= words[i-1].At {
				t.Fatalf("%q: offsets of %v", s, words)
			}
		}
	})
}
