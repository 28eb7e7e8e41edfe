package transfer

import (
	"strings"
	"testing"
)

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", `a\tb`: "a\tb", `a\nb`: "a\nb", `a\\tb`: `a\tb`, `\0`: "\x00", `end\`: `end\`, `\q`: `\q`, "": "",
	} {
		if got := unescape(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// FuzzUnescape: what a server says is never longer undone than it was said, and
// text without a backslash stays.
func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{"", `\`, `\\`, `\t\n\0`, "tab\t", `x\y`, "\xff\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := unescape(text)
		if len(got) > len(text) || !strings.Contains(text, `\`) && got != text {
			t.Errorf("%q is %q", text, got)
		}
	})
}

// TestDeferred: grants on what a dump makes wait for it.
func TestDeferred(t *testing.T) {
	for statement, want := range map[string]bool{
		"GRANT USAGE ON *.* TO `a`@`%`":                  false,
		"GRANT ALL PRIVILEGES ON `db`.* TO `a`@`%`":      false,
		"GRANT SELECT ON `db`.`t` TO `a`@`%`":            true,
		"GRANT SELECT (`c`) ON `db`.`t` TO `a`@`%`":      true,
		"GRANT EXECUTE ON PROCEDURE `db`.`p` TO `a`@`%`": true,
		"GRANT `role` TO `a`@`%`":                        false,
	} {
		if got := deferred(statement); got != want {
			t.Errorf("%s: %v, want %v", statement, got, want)
		}
	}
}

// TestAs renames an account in its own statements, and nobody else's.
func TestAs(t *testing.T) {
	got := as("GRANT `keepers` TO `a`@`localhost`, 'b'@'localhost'", account{"a", "localhost"}, account{"a", "%"})
	if want := "GRANT `keepers` TO 'a'@'%', 'b'@'localhost'"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
