package hotbackup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseSurvey(t *testing.T) {
	for _, tt := range []struct {
		said string
		want answer
		ok   bool
	}{
		{"down\n", answer{down: true}, true},
		{"missing\n", answer{missing: true}, true},
		{"\nrefused it has tables elsewhere\n", answer{refused: "it has tables elsewhere"}, true},
		{"dir data /var/lib/db\ndir wal /srv/my wal\n", answer{dirs: []Dir{{"/var/lib/db", "data"}, {"/srv/my wal", "wal"}}}, true},
		{"dir data /var/lib/db\ndir wal /var/lib/db/wal\n", answer{}, false},
		{"dir data /var/lib/db\ndir data /srv/wal\n", answer{}, false},
		{"dir ../data /var/lib/db\n", answer{}, false},
		{"dir data var/lib\n", answer{}, false},
		{"dir data /var/../etc\n", answer{}, false},
		{"dir data /\n", answer{}, false},
		{"dir data\n", answer{}, false},
		{"Last login: yesterday\n", answer{}, false},
	} {
		got, err := parseSurvey([]byte(tt.said))
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.said, err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q: %s", tt.said, diff)
		}
	}
}

func TestRoom(t *testing.T) {
	for said, want := range map[string][2]int64{"hello\n12 34\n": {12 << 10, 34 << 10}, "0 0": {0, 0}, "": {-1, -1}, "1": {-1, -1}, "-1 2": {-1, -1}, "1 2 3": {-1, -1}, "9223372036854775807 1": {-1, -1}} {
		need, free, err := room([]byte(said))
		if err != nil {
			need, free = -1, -1
		}
		if got := [2]int64{need, free}; got != want {
			t.Errorf("%q: %v, want %v (%v)", said, got, want, err)
		}
	}
}

// FuzzSurvey takes any answer: what it accepts are directories below one another's
// side, with names that stay within the copy.
func FuzzSurvey(f *testing.F) {
	f.Add([]byte("dir data /var/lib/db\ndir wal /srv/wal\n"))
	f.Add([]byte("refused \xff\n"))
	f.Add([]byte("down\nmissing\n1 2"))
	f.Fuzz(func(t *testing.T, said []byte) {
		_, _, _ = room(said)
		a, err := parseSurvey(said)
		if err != nil {
			return
		}
		for i, d := range a.dirs {
			if strings.ContainsAny(string(d.Copy), "/.") || d.Copy == "" || !strings.HasPrefix(string(d.Live), "/") || d.Live == "/" {
				t.Errorf("accepted %q", d)
			}
			for _, o := range a.dirs[:i] {
				if o.Copy == d.Copy || o.Live.Within(d.Live) || d.Live.Within(o.Live) {
					t.Errorf("accepted %q beside %q", d, o)
				}
			}
		}
	})
}
