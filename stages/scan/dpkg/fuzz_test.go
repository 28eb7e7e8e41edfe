package dpkg

import (
	"strings"
	"testing"
	"unicode"

	"github.com/statelift/statelift/pipeline/hostpath"
)

func FuzzStanzas(f *testing.F) {
	f.Add(database()["var/lib/dpkg/status"])
	f.Add("Package: a\n b\n\n\n c\n")
	f.Add("package:a\r\nSTATUS: x y z\r\n# comment\n: no name")
	f.Add("a: b\na: c\n\nd")
	f.Fuzz(func(t *testing.T, s string) {
		last := 0
		keep := func(string) bool { return true }
		see := func(line int) {
			if line <= last || line > strings.Count(s, "\n")+1 {
				t.Errorf("line %d after %d", line, last)
			}
			last = line
		}
		_, err := readStanzas(strings.NewReader(s), keep, func(st stanza) error {
			see(st.line)
			if len(st.fields) == 0 {
				t.Error("an empty stanza")
			}
			for name := range st.fields {
				if strings.ContainsAny(name, " \t\n:") {
					t.Errorf("field %q", name)
				}
			}
			_, _ = parsePackage(st)
			return nil
		}, func(line int, what string) error { see(line); return nil })
		if err != nil {
			t.Error(err)
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add("/usr/share/a b")
	f.Add(`\` + sumA + `  a\nb`)
	f.Add(sumB + " *etc/x")
	f.Add("/etc/x y " + sumC + " obsolete")
	f.Add("remove-on-upgrade /etc/x")
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (string, *[md5Size]byte, string){parsePath, parseSumLine, parseConffile, parseConffileSum} {
			p, _, fault := parse(s)
			if fault != "" && p != "" {
				t.Errorf("%q: both %q and a fault", s, p)
			}
			if p != "" && string(hostpath.Clean(p)) != p {
				t.Errorf("%q: %q is not clean", s, p)
			}
			if strings.ContainsFunc(fault, unicode.IsControl) {
				t.Errorf("%q: the fault %q is not escaped", s, fault)
			}
		}
	})
}

func FuzzAlternative(f *testing.F) {
	f.Add(database()["var/lib/dpkg/alternatives/editor"])
	f.Add("manual\n/x\na\n")
	f.Fuzz(func(t *testing.T, s string) {
		group, line, fault := parseAlternative("x", s)
		if (fault == "") != (line == 0) || (fault == "") != (len(group) > 0) {
			t.Errorf("%q: %v, %d, %q", s, group, line, fault)
		}
	})
}
