package unitfile_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/unitfile"
)

func show(list []unitfile.Assignment) []string {
	var out []string
	for _, a := range list {
		out = append(out, fmt.Sprintf("%d %s.%s=%s", a.Line, a.Section, a.Key, a.Value))
	}
	return out
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 70000)
	tests := []struct {
		name, text string
		want       []string
		faults     []string
	}{
		{"plain", "[Unit]\nDescription = a b \n\n[Service]\nExecStart=/bin/x\n",
			[]string{"2 Unit.Description=a b", "5 Service.ExecStart=/bin/x"}, nil},
		// The example of systemd.syntax(7).
		{"continued", "[Section C]\nKeyThree=value 3\\\n# this line is ignored\n; this line is ignored too\n       value 3 continued\nA=b\n",
			[]string{"2 Section C.KeyThree=value 3 value 3 continued", "6 Section C.A=b"}, nil},
		{"even backslashes", "[S]\nA=x\\\\\nB=y\n", []string{`2 S.A=x\\`, "3 S.B=y"}, nil},
		{"continued at the end", "[S]\nA=x \\", []string{"2 S.A=x"}, nil},
		{"an empty line ends it", "[S]\nA=x \\\n\nB=y", []string{"2 S.A=x", "4 S.B=y"}, nil},
		{"long line", "[S]\nA=" + long + "\n", []string{"2 S.A=" + long}, nil},
		{"empty value", "[S]\nA=\nA=1\n", []string{"2 S.A=", "3 S.A=1"}, nil},
		{"indented, CRLF, BOM", "\xef\xbb\xbf[S]\r\n  A=1\r\n\t# c\r\n", []string{"2 S.A=1"}, nil},
		{"equals in the value", "[S]\nEnvironment=A=b=c\n", []string{"2 S.Environment=A=b=c"}, nil},
		{"broken", "A=1\n[S\nB=2\n[T]\nnonsense\n=x\nC=3\n", []string{"7 T.C=3"},
			[]string{"line 1: assignment outside of a section", "line 2: section header has no end", "line 3: assignment outside of a section", "line 5: line is no assignment", "line 6: line is no assignment"}},
		{"too long", "[S]\nA=" + strings.Repeat("y", unitfile.MaxLine) + "\nB=1\n", []string{"3 S.B=1"}, []string{"line 2: line is longer than systemd accepts"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, faults := unitfile.Parse([]byte(tt.text))
			var f []string
			for _, x := range faults {
				f = append(f, x.String())
			}
			if diff := cmp.Diff(tt.want, show(list)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.faults, f); diff != "" {
				t.Errorf("faults: -want +got\n%s", diff)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	fields := func(a unitfile.Assignment) (string, string, string) { return a.Section, a.Key, a.Value }
	merge := func(texts ...string) []string {
		var all []unitfile.Assignment
		for _, text := range texts {
			list, _ := unitfile.Parse([]byte(text))
			all = unitfile.Merge(all, list, fields)
		}
		var out []string
		for _, a := range all {
			out = append(out, a.Key+"="+a.Value)
		}
		return out
	}
	tests := []struct {
		name  string
		texts []string
		want  []string
	}{
		{"append", []string{"[Service]\nExecStartPre=a\n", "[Service]\nExecStartPre=b\n"}, []string{"ExecStartPre=a", "ExecStartPre=b"}},
		{"reset", []string{"[Service]\nExecStart=a\nUser=u\n", "[Service]\nExecStart=\nExecStart=b\n"}, []string{"User=u", "ExecStart=b"}},
		{"only its section", []string{"[A]\nX=1\n[B]\nX=2\n", "[B]\nX=\n"}, []string{"X=1"}},
		{"all sockets", []string{"[Socket]\nListenStream=1\nListenDatagram=2\nSocketMode=0600\n", "[Socket]\nListenStream=\nListenStream=3\n"}, []string{"SocketMode=0600", "ListenStream=3"}},
		{"all timers", []string{"[Timer]\nOnCalendar=daily\nOnBootSec=5\n", "[Timer]\nOnCalendar=\nOnCalendar=weekly\n"}, []string{"OnCalendar=weekly"}},
		{"all conditions", []string{"[Unit]\nConditionPathExists=/x\nConditionHost=y\nAssertHost=z\n", "[Unit]\nConditionHost=\n"}, []string{"AssertHost=z"}},
		{"all watches", []string{"[Path]\nPathExists=/x\nUnit=u.service\n", "[Path]\nPathChanged=\n"}, []string{"Unit=u.service"}},
		{"dependencies stay", []string{"[Unit]\nAfter=x\n", "[Unit]\nAfter=\n"}, []string{"After=x"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, merge(tt.texts...)); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
}

func TestName(t *testing.T) {
	tests := []struct {
		name                          unitfile.Name
		typ, base, prefix, inst, tmpl string
		dirs                          []string
	}{
		{"foo.service", "service", "foo", "foo", "", "foo.service", []string{"foo.service.d"}},
		{"getty@tty1.service", "service", "getty@tty1", "getty", "tty1", "getty@.service", []string{"getty@tty1.service.d", "getty@.service.d"}},
		{"getty@.service", "service", "getty@", "getty", "", "getty@.service", []string{"getty@.service.d"}},
		{"a-b-c.mount", "mount", "a-b-c", "a-b-c", "", "a-b-c.mount", []string{"a-b-c.mount.d", "a-b-.mount.d", "a-.mount.d"}},
		{"foo-bar@x.service", "service", "foo-bar@x", "foo-bar", "x", "foo-bar@.service", []string{"foo-bar@x.service.d", "foo-bar@.service.d", "foo-@x.service.d", "foo-@.service.d"}},
		{"php8.2-fpm.service", "service", "php8.2-fpm", "php8.2-fpm", "", "php8.2-fpm.service", []string{"php8.2-fpm.service.d", "php8.2-.service.d"}},
		{"x--.service", "service", "x--", "x--", "", "x--.service", []string{"x--.service.d", "x-.service.d"}},
		{"a-b--.service", "service", "a-b--", "a-b--", "", "a-b--.service", []string{"a-b--.service.d", "a-b-.service.d", "a-.service.d"}}, // as systemd 252 was seen to do
		{"-a.service", "service", "-a", "-a", "", "-a.service", []string{"-a.service.d"}},
	}
	for _, tt := range tests {
		got := []string{tt.name.Type(), tt.name.Base(), tt.name.Prefix(), tt.name.Instance(), string(tt.name.Template())}
		if diff := cmp.Diff([]string{tt.typ, tt.base, tt.prefix, tt.inst, tt.tmpl}, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.dirs, tt.name.DropInDirs()); diff != "" {
			t.Errorf("%s: drop-ins: -want +got\n%s", tt.name, diff)
		}
	}
	for name, want := range map[unitfile.Name]bool{
		"a.service": true, "a@b.socket": true, `x\x2dy.mount`: true, "-.mount": true, "a b.service": false, "a": false,
		"a.conf": false, ".service": false, "@x.service": false, "service": false, "a.service.d": false, "a@.service": true,
	} {
		if got := name.Valid(); got != want {
			t.Errorf("%q.Valid() = %v", name, got)
		}
	}
}

func TestEscapeAgainstSystemd(t *testing.T) {
	for _, s := range []string{"/var/lib/my data", "a-b/c", ".hidden", "ä", `back\slash`, "a:b_c.d", "/dev/disk/by-id/x=1"} {
		out, err := exec.Command("systemd-escape", "--", s).Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSuffix(string(out), "\n")
		if got := unitfile.Escape(s); got != want {
			t.Errorf("Escape(%q) = %q, systemd-escape %q", s, got, want)
		}
		if got, err := unitfile.Unescape(want); err != nil || got != s {
			t.Errorf("Unescape(%q) = %q, %v", want, got, err)
		}
	}
	for _, s := range []string{"/", "/var//lib/x/", "/.hidden", "/srv/a-b c"} {
		out, err := exec.Command("systemd-escape", "--path", "--", s).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := unitfile.EscapePath(s), strings.TrimSuffix(string(out), "\n"); got != want {
			t.Errorf("EscapePath(%q) = %q, systemd-escape %q", s, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	host := unitfile.Host{Hostname: "web1.example.org", MachineID: "0123", Architecture: "x86-64", ID: "debian", VersionID: "12"}
	tests := []struct{ in, want string }{
		{"%n %N %p %i %I", `foo-bar@a-b\x2dc.service foo-bar@a-b\x2dc foo-bar a-b\x2dc a/b-c`},
		{"%P %j %J %f", "foo/bar bar bar /a/b-c"},
		{"%d/x", `/run/credentials/foo-bar@a-b\x2dc.service/x`},
		{"%t/x %S %C %L %E %T %V", "/run/x /var/lib /var/cache /var/log /etc /tmp /var/tmp"},
		{"%u %U %g %G %h", "root 0 root 0 /root"},
		{"%H %l %m %a %o %w", "web1.example.org web1 0123 x86-64 debian 12"},
		{"100%% %x %", "100% %x %"},
		{"%y %Y", "/etc/systemd/system/foo-bar@.service /etc/systemd/system"},
	}
	for _, tt := range tests {
		got, err := unitfile.Expand(tt.in, `foo-bar@a-b\x2dc.service`, "/etc/systemd/system/foo-bar@.service", host)
		if err != nil || got != tt.want {
			t.Errorf("Expand(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"%b", "%v/x"} {
		if _, err := unitfile.Expand(in, "a.service", "", host); !errors.Is(err, unitfile.ErrUnknowable) {
			t.Errorf("Expand(%q): error %v, want ErrUnknowable", in, err)
		}
	}
	if _, err := unitfile.Expand("%H", "a.service", "", unitfile.Host{}); !errors.Is(err, unitfile.ErrUnknowable) {
		t.Errorf("unknown host name: error %v", err)
	}
}

func TestParseExec(t *testing.T) {
	tests := []struct {
		in   string
		want []unitfile.Command
	}{
		{`/usr/sbin/x -f "a b" ${Y}`, []unitfile.Command{{Path: "/usr/sbin/x", Args: []string{"/usr/sbin/x", "-f", "a b", "${Y}"}}}},
		{`-/bin/a ; /bin/b x;y \; z`, []unitfile.Command{
			{Path: "/bin/a", Args: []string{"/bin/a"}, IgnoreFailure: true},
			{Path: "/bin/b", Args: []string{"/bin/b", "x;y", ";", "z"}}}},
		{`@/bin/sh -sh -c 'echo "x"'`, []unitfile.Command{{Path: "/bin/sh", Args: []string{"-sh", "-c", `echo "x"`}}}},
		{`+:/bin/a $X`, []unitfile.Command{{Path: "/bin/a", Args: []string{"/bin/a", "$X"}, Privileged: true, NoVariables: true}}},
		{`-@/bin/a`, []unitfile.Command{{Path: "/bin/a", Args: []string{"/bin/a"}, IgnoreFailure: true}}},
		{``, nil},
	}
	for _, tt := range tests {
		got, err := unitfile.ParseExec(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: -want +got\n%s", tt.in, diff)
		}
	}
	for _, in := range []string{`/bin/x "open`, `-`} {
		if _, err := unitfile.ParseExec(in); err == nil {
			t.Errorf("%q: no error", in)
		}
	}
}

// TestExpandVariables has the examples of systemd.service(5).
func TestExpandVariables(t *testing.T) {
	env := map[string]string{"ONE": "one", "TWO": "two two", "Q": `"quoted words" x`}
	lookup := func(n string) (string, bool) { v, ok := env[n]; return v, ok }
	tests := []struct{ in, want []string }{
		{[]string{"/bin/echo", "$ONE", "$TWO", "${TWO}"}, []string{"/bin/echo", "one", "two", "two", "two two"}},
		{[]string{"/bin/echo", "${ONE}x$ONE", "$$ONE", "a$$b", "${NO}", "$NO", "$Q"}, []string{"/bin/echo", "onex$ONE", "$ONE", "a$b", "", "quoted words", "x"}},
		{[]string{"$ONE", "${a-b}", "$"}, []string{"$ONE", "${a-b}", "$"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, unitfile.ExpandVariables(tt.in, lookup)); diff != "" {
			t.Errorf("%q: -want +got\n%s", tt.in, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"[S]\nA=1\\\n#c\n 2\n", "[", "=\n", "[S]\nA=\\\\\\", "\xef\xbb\xbf;x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, faults := unitfile.Parse(data)
		lines := strings.Count(string(data), "\n") + 1
		last := 0
		for _, a := range list {
			if a.Line <= last || a.Line > lines || a.Key == "" || a.Value != strings.TrimSpace(a.Value) {
				t.Fatalf("%+v", a)
			}
			last = a.Line
		}
		for _, x := range faults {
			if x.Line < 1 || x.Line > lines {
				t.Fatalf("%+v", x)
			}
		}
	})
}

func FuzzParseExec(f *testing.F) {
	for _, s := range []string{`-/a ; /b \; c`, `@`, `"`, `/a ; ; /b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := unitfile.ParseExec(s)
		for _, c := range list {
			if err != nil || c.Path == "" || len(c.Args) == 0 {
				t.Fatalf("%q: %+v %v", s, c, err)
			}
		}
	})
}

func FuzzExpand(f *testing.F) {
	f.Add("%i %% %", "a@b.service")
	f.Fuzz(func(t *testing.T, value, name string) {
		if _, err := unitfile.Expand(value, unitfile.Name(name), "", unitfile.Host{}); err != nil && strings.Count(value, "%") == 0 {
			t.Fatal(err)
		}
		unitfile.Name(name).DropInDirs()
	})
}
