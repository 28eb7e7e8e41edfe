package unitfile

import (
	"slices"
	"testing"
)

func TestSetCredential(t *testing.T) {
	const unit = `[Unit]
SetCredential=a:of no service
[Service]
SetCredential=a:first
SetCredential=a:two\nlines:\x41
SetCredential=b:one \
# a comment
  more
SetCredential=c:bad \q
SetCredential=d:
SetCredential=e
SetCredential=x/y:z
LoadCredential=f:/etc/f
`
	for id, want := range map[string]string{"a": "two\nlines:A", "b": "one  more", "d": ""} {
		if got, ok := SetCredential([]byte(unit), id); !ok || got != want {
			t.Errorf("%s: %q %v, want %q", id, got, ok, want)
		}
	}
	for _, id := range []string{"c", "e", "f", "g", "x/y"} {
		if got, ok := SetCredential([]byte(unit), id); ok {
			t.Errorf("%s: %q", id, got)
		}
	}
	if _, ok := SetCredential([]byte(unit+"SetCredential=\n"), "a"); ok {
		t.Error("an empty value resets nothing")
	}
}

func TestLoadCredential(t *testing.T) {
	stores := []string{"/etc/credstore/a", "/run/credstore/a", "/usr/local/lib/credstore/a", "/usr/lib/credstore/a"}
	for value, want := range map[string][]string{"a": stores, "a:": stores, "b:a": stores, "a:/x/y": {"/x/y"}} {
		if id, got := LoadCredential(value, false); id != value[:1] || !slices.Equal(got, want) {
			t.Errorf("%s: %s %q, want %q", value, id, got, want)
		}
	}
	if _, got := LoadCredential("a", true); len(got) != 8 || got[0] != "/etc/credstore.encrypted/a" || got[1] != stores[0] {
		t.Errorf("encrypted: %q", got)
	}
}

func FuzzSetCredential(f *testing.F) {
	f.Add([]byte("[Service]\nSetCredential=a:b\\n\\\n c\n"), "a")
	f.Add([]byte("[Service]\nSetCredential=a:\\"), "a")
	f.Fuzz(func(_ *testing.T, data []byte, id string) {
		SetCredential(data, id)
	})
}
