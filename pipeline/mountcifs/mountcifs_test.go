package mountcifs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCredentials(t *testing.T) {
	for in, want := range map[string]map[string]string{
		"username=scan\npassword=a=b #c \ndomain=OFFICE\n": {Username: "scan", Password: "a=b #c ", Domain: "OFFICE"},
		"  user=x\r\n\tPASS=y\r\n":                         {Username: "x", Password: "y"},
		"# a comment\nnothing\npassword=\nuser = z":        {Username: " z", Password: ""},
		"": {},
	} {
		if diff := cmp.Diff(want, Credentials([]byte(in))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte("username=x\npassword=y\n"))
	f.Add([]byte("user"))
	f.Fuzz(func(_ *testing.T, data []byte) { Credentials(data) })
}
