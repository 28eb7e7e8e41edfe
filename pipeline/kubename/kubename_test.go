package kubename

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLabel(t *testing.T) {
	long := strings.Repeat("very-long-", 10)
	for _, tt := range []struct {
		in   string
		max  int
		want string
	}{
		{"apache2", 63, "apache2"},
		{"/var/lib/mysql", 63, "var-lib-mysql"},
		{"getty@tty1.service", 63, "getty-tty1-service"},
		{"--A__b--", 63, "a-b"},
		{"caf\xe9", 63, "caf"},
		{"", 63, "xe3b0c4"},
		{"/", 63, "x8a5edab282632443"[:7]},
		{long, 20, "very-long-ver-" + digest(long)},
	} {
		if got := Label(tt.in, tt.max); got != tt.want {
			t.Errorf("Label(%q, %d) = %q, want %q", tt.in, tt.max, got, tt.want)
		}
	}
}

// TestScoped: pairs that read alike are still told apart.
func TestScoped(t *testing.T) {
	seen := map[string]string{}
	long := strings.Repeat("very-long-", 6)
	for _, pair := range [][2]string{{"a", "b-c"}, {"a-b", "c"}, {"shop", long}, {"shop2", long}, {long + "x", "media"}, {long + "y", "media"}} {
		got := Scoped(pair[0], pair[1], MaxLabel)
		if !labelPattern.MatchString(got) || len(got) > MaxLabel {
			t.Errorf("%q is no label", got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q is of %v and of %s", got, pair, other)
		}
		seen[got] = strings.Join(pair[:], "/")
		if again := Scoped(pair[0], pair[1], MaxLabel); again != got {
			t.Errorf("%v: %q, then %q", pair, got, again)
		}
	}
}

// The patterns are those of the Kubernetes API (k8s.io/apimachinery
// pkg/util/validation), written down again.
var (
	labelPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	keyPattern   = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
	portPattern  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

func TestNamesAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "s"))
		if got := Label(s, MaxLabel); !labelPattern.MatchString(got) || len(got) > MaxLabel {
			t.Errorf("Label(%q) = %q", s, got)
		}
		if got := Key(s); !keyPattern.MatchString(got) || len(got) > MaxKey || strings.HasPrefix(got, ".") || !ValidKey(got) {
			t.Errorf("Key(%q) = %q", s, got)
		}
		n := rapid.IntRange(1, 65535).Draw(t, "port")
		for _, proto := range []string{"TCP", "UDP", "SCTP"} {
			if got := Port(n, proto); !portPattern.MatchString(got) || len(got) > 15 || strings.Contains(got, "--") {
				t.Errorf("Port(%d, %s) = %q", n, proto, got)
			}
		}
	})
}

func TestUniqueNeverRepeats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names Names
		seen := map[string]string{}
		for _, what := range rapid.SliceOfN(rapid.StringMatching(`[ab_/.]{0,4}`), 0, 60).Draw(t, "whats") {
			name := names.Unique(Label(what, 12), what, 12)
			if owner, ok := seen[name]; ok && owner != what {
				t.Fatalf("%q for %q and %q", name, owner, what)
			}
			if len(name) > 12 || !labelPattern.MatchString(name) {
				t.Fatalf("bad name %q", name)
			}
			seen[name] = what
		}
	})
}

func TestKey(t *testing.T) {
	for in, want := range map[string]string{
		"/etc/apache2/ports.conf":   "etc_apache2_ports.conf",
		"/.htaccess":                "_.htaccess",
		"/etc/caf\xe9 \n/x":         "etc_caf____x",
		"/etc/php/8.2/x/99-loc.ini": "etc_php_8.2_x_99-loc.ini",
	} {
		if got := Key(in); got != want {
			t.Errorf("Key(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]bool{"a": true, "..a": false, ".": false, "": false, "a/b": false, ".a": true} {
		if got := ValidKey(in); got != want {
			t.Errorf("ValidKey(%q) = %v", in, got)
		}
	}
}
