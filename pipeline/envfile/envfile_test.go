package envfile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []Variable
	}{
		{"plain", "A=1\nB=two words  \n", []Variable{{"A", "1", 1}, {"B", "two words", 2}}},
		{"comments", "# x\n; y\n A = 1\n#A=2\\\nB=3", []Variable{{"A", "1", 3}, {"B", "3", 5}}},
		{"quotes", "A=\"a 'b' \\\"c\\\" \\n\"\nB='x\\y \"z\"'\n", []Variable{{"A", `a 'b' "c" \n`, 1}, {"B", `x\y "z"`, 2}}},
		{"pieces", "A='a'\"b\"c\n", []Variable{{"A", "abc", 1}}},
		{"continued", "A=one\\\ntwo\nB=\"x\\\ny\"\nC=3", []Variable{{"A", "onetwo", 1}, {"B", "xy", 3}, {"C", "3", 5}}},
		{"lines in quotes", "A=\"x\ny\"\nB=1\n", []Variable{{"A", "x\ny", 1}, {"B", "1", 3}}},
		{"escapes", `A=a\ b\\c\$d`, []Variable{{"A", `a b\c$d`, 1}}},
		{"empty", "A=\nB=''\n", []Variable{{"A", "", 1}, {"B", "", 2}}},
		{"no assignment", "export A=1\nfoo\n1B=2\nC=3\n", []Variable{{"C", "3", 4}}},
		{"hash is no comment inside", "A=x#y\n", []Variable{{"A", "x#y", 1}}},
		{"twice", "A=1\nA=2\n", []Variable{{"A", "1", 1}, {"A", "2", 2}}},
		{"dos", "A=1\r\nB=2\r\n", []Variable{{"A", "1", 1}, {"B", "2", 2}}},
		{"unclosed", "A=\"x y", []Variable{{"A", "x y", 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Parse(tt.in)); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"A=1\n", "A='x\nB=2", "A=\"\\", "#\\\nA=1", "A=x\\\n\\", "=\n\x00=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		last := 0
		for _, v := range Parse(s) {
			if !ValidName(v.Name) || v.Line < last || v.Line < 1 {
				t.Errorf("Parse(%q): %+v", s, v)
			}
			last = v.Line
			if len(v.Value) > len(s) {
				t.Errorf("Parse(%q): value longer than the file", s)
			}
		}
	})
}

func TestFromUnit(t *testing.T) {
	const unit = `[Service]
# Environment=NO=1
Environment=A=1 "B=two words" 'C=x'
Environment=D=4 \
# a comment in between
  E=5
ExecStart=/bin/x -e Environment=F=6
`
	want := []Variable{{"A", "1", 3}, {"B", "two words", 3}, {"C", "x", 3}, {"D", "4", 4}, {"E", "5", 4}}
	if diff := cmp.Diff(want, FromUnit(unit)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := FromUnit(unit + "Environment=\nEnvironment=Z=1\n"); len(got) != 1 || got[0].Name != "Z" {
		t.Errorf("an empty value resets the list, got %v", got)
	}
}
