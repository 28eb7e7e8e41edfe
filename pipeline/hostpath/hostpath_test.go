package hostpath_test

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/hostpath"
)

func TestEscape(t *testing.T) {
	for raw, want := range map[hostpath.Path]string{
		"/etc/passwd":        "/etc/passwd",
		"/srv/a b":           "/srv/a b",
		"/srv/Grüße":         "/srv/Grüße",
		"/srv/caf\xe9":       `/srv/caf\xe9`,
		"/srv/two\nlines":    `/srv/two\nlines`,
		`/srv/back\slash`:    `/srv/back\\slash`,
		"/srv/\x1b[31mred":   `/srv/\x1b[31mred`,
		"/srv/\u202egpj.exe": `/srv/\xe2\x80\xaegpj.exe`, // right-to-left override
		"/srv/\u00a0":        `/srv/\xc2\xa0`,
	} {
		if got := raw.String(); got != want {
			t.Errorf("%q shows as %s, want %s", string(raw), got, want)
		}
		got, err := hostpath.Parse(want)
		if err != nil || got != raw {
			t.Errorf("%s reads as %q (%v), want %q", want, string(got), err, string(raw))
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{`/a\`, `/a\q`, `/a\x0`, `/a\xg0`, `/a\x00b`} {
		if p, err := hostpath.Parse(s); err == nil {
			t.Errorf("%s reads as %q", s, string(p))
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"/etc", "/a\nb", "/\xff\xfe", `/\x41`, "/\u202e", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q := hostpath.Quote(s)
		if !utf8.ValidString(q) || strings.ContainsAny(q, "\n\r\t\x00\x1b") {
			t.Errorf("escape of %q is %q", s, q)
		}
		back, err := hostpath.Unquote(q)
		if err != nil || back != s {
			t.Errorf("%q went to %q and came back as %q (%v)", s, q, back, err)
		}
		if strings.ContainsRune(s, 0) {
			return
		}
		p := hostpath.Clean(s)
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var q2 hostpath.Path
		if err := json.Unmarshal(data, &q2); err != nil || q2 != p {
			t.Errorf("%q went through JSON as %s and came back as %q (%v)", string(p), data, string(q2), err)
		}
	})
}

func TestOrderIsDepthFirst(t *testing.T) {
	want := []hostpath.Path{"/", "/a", "/a/b", "/a/b/c", "/a/z", "/a-b", "/a.d", "/a.d/x", "/ab"}
	got := slices.Clone(want)
	slices.Sort(got)
	slices.SortFunc(got, hostpath.Compare)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWithinAndBelow(t *testing.T) {
	for _, tt := range []struct {
		p, dir hostpath.Path
		within bool
		below  hostpath.Path
	}{
		{"/var/lib/x", "/var", true, "/lib/x"},
		{"/var", "/var", true, "/"},
		{"/variable", "/var", false, "/variable"},
		{"/var", "/", true, "/var"},
		{"/", "/var", false, "/"},
	} {
		if got := tt.p.Within(tt.dir); got != tt.within {
			t.Errorf("%s within %s: %v", tt.p, tt.dir, got)
		}
		if got := tt.p.Below(tt.dir); got != tt.below {
			t.Errorf("%s below %s: %s, want %s", tt.p, tt.dir, got, tt.below)
		}
	}
}

func TestCleanNeverLeavesTheRoot(t *testing.T) {
	for in, want := range map[string]hostpath.Path{
		"../../etc": "/etc", "a/../../b": "/b", "": "/", "//x//": "/x", "/a/./b": "/a/b",
	} {
		if got := hostpath.Clean(in); got != want {
			t.Errorf("%q cleans to %s, want %s", in, got, want)
		}
	}
}

// Dir and Base take a short cut for clean paths, and say what package path says.
func TestDirAndBaseAgainstPath(t *testing.T) {
	for _, p := range []string{"/", "/a", "/a/b", "/a/.b", "/a/b.", "/.a/b", "/a//b", "/a/b/", "/a/../b", "a/b", "a", "", ".", "/a/.", "//", "/a b/c", "/\xff/x"} {
		if got := string(hostpath.Path(p).Dir()); got != path.Dir(p) {
			t.Errorf("directory of %q is %q, want %q", p, got, path.Dir(p))
		}
		if got := hostpath.Path(p).Base(); got != path.Base(p) {
			t.Errorf("base of %q is %q, want %q", p, got, path.Base(p))
		}
	}
}
