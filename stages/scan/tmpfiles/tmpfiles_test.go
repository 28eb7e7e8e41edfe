package tmpfiles

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
)

func example() map[string]string {
	return map[string]string{
		"usr/lib/tmpfiles.d/a.conf": "d /run/vendor 0755 root root 10d -\nhidden\n",
		"etc/tmpfiles.d/a.conf":     "# over the vendor's\nd \"/run/with blank\" 0750 www-data www-data - -\n",
		"usr/lib/tmpfiles.d/b.conf": "f+ /run/x\\x20y 0600 - - - some text\nd!  /run/z\nL /run/link - - - - /var/lib/x\n",
		"usr/lib/tmpfiles.d/c.conf": "d /run/masked\n",
		"etc/tmpfiles.d/c.conf":     "-> /dev/null",
		"run/tmpfiles.d/d.conf":     "d /run/unclosed \"0755\nq relative\n? /x\nD %T/x\n",
		"etc/tmpfiles.d/README":     "d /run/not-read\n",
	}
}

func TestCollect(t *testing.T) {
	found := collecttest.Run(t, Collector{}, collecttest.Plant(t, example()))
	at := func(p string, line int) facts.Source { return facts.Source{Path: hostpath.Path(p), Line: line} }
	want := []facts.Tmpfile{
		{Type: "d", Path: "/run/with blank", Mode: "0750", User: "www-data", Group: "www-data", Source: at("/etc/tmpfiles.d/a.conf", 2)},
		{Type: "f+", Path: "/run/x y", Mode: "0600", Argument: "some text", Source: at("/usr/lib/tmpfiles.d/b.conf", 1)},
		{Type: "d!", Path: "/run/z", Source: at("/usr/lib/tmpfiles.d/b.conf", 2)},
		{Type: "L", Path: "/run/link", Argument: "/var/lib/x", Source: at("/usr/lib/tmpfiles.d/b.conf", 3)},
		{Type: "D", Path: "/%T/x", Source: at("/run/tmpfiles.d/d.conf", 4)},
	}
	if diff := cmp.Diff(want, collecttest.Data[facts.Tmpfile](found)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/run/tmpfiles.d/d.conf:1", "/run/tmpfiles.d/d.conf:2", "/run/tmpfiles.d/d.conf:3"}, collecttest.Problems(found)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// TestAgainstSystemd compares which files count, and in which order, with
// systemd-tmpfiles itself.
func TestAgainstSystemd(t *testing.T) {
	dir := collecttest.Plant(t, example())
	out, err := exec.Command("systemd-tmpfiles", "--cat-config", "--root", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		if p, ok := strings.CutPrefix(line, "# "+dir); ok && !strings.Contains(line, "c.conf") {
			want = append(want, strings.TrimSpace(p))
		}
	}
	var got []string
	for _, f := range collecttest.Run(t, Collector{}, dir) {
		if p := string(f.Source.Path); len(got) == 0 || got[len(got)-1] != p {
			got = append(got, p)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-systemd-tmpfiles +got):\n%s", diff)
	}
}

func FuzzLine(f *testing.F) {
	for _, content := range example() {
		for line := range strings.Lines(content) {
			f.Add(strings.TrimSpace(line))
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, err := parse(line)
		if err == nil && (e.Type == "" || e.Path == "" || e.Path[0] != '/') {
			t.Errorf("%q: %+v", line, e)
		}
	})
}
