package osrelease

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
)

// program is the beginning of a program for the machine in two bytes.
func program(class, data byte, machine string) string {
	return "\x7fELF" + string([]byte{class, data, 1}) + strings.Repeat("\x00", 11) + machine + strings.Repeat("\x00", 44)
}

func TestCollect(t *testing.T) {
	dir := collecttest.Plant(t, map[string]string{
		"etc/os-release":     "-> ../usr/lib/os-release",
		"usr/lib/os-release": "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n# x\nVERSION_ID='12'\nID_LIKE=\"a b\"\nbroken\nX=\"y\n",
		"etc/hostname":       "# comment\n\nweb01\n",
		"bin/sh":             "-> /usr/bin/dash",
		"usr/bin/dash":       program(2, 1, "\xb7\x00"),
	})
	found := collecttest.Run(t, Collector{}, dir)
	want := []facts.OS{{ID: "debian", IDLike: []string{"a", "b"}, VersionID: "12", PrettyName: "Debian GNU/Linux 12 (bookworm)",
		Hostname: "web01", Architecture: "arm64"}}
	if diff := cmp.Diff(want, collecttest.Data[facts.OS](found)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/etc/os-release:6", "/etc/os-release:7"}, collecttest.Problems(found)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestNothingKnown(t *testing.T) {
	found := collecttest.Run(t, Collector{}, collecttest.Plant(t, map[string]string{"bin/sh": "#!/bin/no program"}))
	if diff := cmp.Diff([]string{"/usr/lib/os-release:0", ":0"}, collecttest.Problems(found)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]facts.OS{{}}, collecttest.Data[facts.OS](found)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMachine(t *testing.T) {
	for want, header := range map[string]string{
		"amd64": program(2, 1, "\x3e\x00"), "386": program(1, 1, "\x03\x00"), "arm": program(1, 1, "\x28\x00"), "s390x": program(2, 2, "\x00\x16"),
		"ppc64le": program(2, 1, "\x15\x00"), "ppc64": program(2, 2, "\x00\x15"), "riscv64": program(2, 1, "\xf3\x00"), "mipsle": program(1, 1, "\x08\x00"), "": "#!/bin/sh, which is no program",
	} {
		if got := machine([]byte(header)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if got := machine(self); got != runtime.GOARCH {
		t.Errorf("this program is for %q, want %q", got, runtime.GOARCH)
	}
}

// TestAgainstShell compares the quoting with the shell, whose syntax it is.
func TestAgainstShell(t *testing.T) {
	for _, value := range []string{`plain`, `"a b"`, `'a b'`, `"a \"b\" \$c \\"`, `a"b"'c'`, `'a\b'`} {
		out, err := exec.Command("sh", "-c", "X="+value+`; printf %s "$X"`).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := unquote(value); !ok || got != string(out) {
			t.Errorf("%s: %q, %v; sh has %q", value, got, ok, out)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add(`PRETTY_NAME="x \"y\""`)
	f.Add("ID_LIKE='a b'")
	f.Fuzz(func(t *testing.T, line string) {
		var os facts.OS
		if fault := set(&os, line); fault != "" && !cmp.Equal(os, facts.OS{}) {
			t.Errorf("%q: %q, and still %+v", line, fault, os)
		}
	})
}
