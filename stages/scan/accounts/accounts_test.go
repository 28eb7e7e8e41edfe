package accounts

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
)

func TestCollect(t *testing.T) {
	found := collecttest.Run(t, Collector{}, collecttest.Plant(t, map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n# comment\n\n+::::::\nold:$1$hash:7:8:An Old, User:/home/o//ld/:\nbroken:x:1\nnegative:x:-1:0::/:/bin/sh\nno:x:4294967295:1:::\n",
		"etc/group":  "root:x:0:\nteam:secret:50:a,b, c,\nbad:x:y:\n",
	}))
	if diff := cmp.Diff([]facts.User{
		{Name: "root", Home: "/root", Shell: "/bin/bash"},
		{Name: "old", UID: 7, GID: 8, Home: "/home/o/ld"},
		{Name: "no", UID: 4294967295, GID: 1},
	}, collecttest.Data[facts.User](found)); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]facts.Group{{Name: "root"}, {Name: "team", GID: 50, Members: []string{"a", "b", "c"}}}, collecttest.Data[facts.Group](found)); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/etc/passwd:6", "/etc/passwd:7", "/etc/group:3"}, collecttest.Problems(found)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	for _, f := range found {
		if s := strings.ToLower(cmp.Diff(nil, f.Data)); strings.Contains(s, "hash") || strings.Contains(s, "secret") {
			t.Errorf("a password is in %s", s)
		}
	}
}

func TestMissingFilesAreProblems(t *testing.T) {
	found := collecttest.Run(t, Collector{}, t.TempDir())
	if diff := cmp.Diff([]string{"/etc/passwd:0", "/etc/group:0"}, collecttest.Problems(found)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// TestAgainstGetent compares with the C library of the machine that tests.
func TestAgainstGetent(t *testing.T) {
	out, err := exec.Command("getent", "-s", "files", "passwd").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		want = append(want, strings.Join([]string{f[0], f[2], f[3], f[5], f[6]}, ":"))
	}
	r := collecttest.Plant(t, map[string]string{"etc/group": "root:x:0:\n", "etc/passwd": string(out)})
	for _, u := range collecttest.Data[facts.User](collecttest.Run(t, Collector{}, r)) {
		got = append(got, strings.Join([]string{u.Name, strconv.Itoa(int(u.UID)), strconv.Itoa(int(u.GID)), string(u.Home), u.Shell}, ":"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("users (-getent +got):\n%s", diff)
	}
}

func FuzzLines(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/bash")
	f.Add("team:x:50:a,b")
	f.Fuzz(func(t *testing.T, line string) {
		if u, err := parseUser(line); err == nil && u.Name == "" {
			t.Errorf("%q: a user without a name", line)
		}
		if g, err := parseGroup(line); err == nil && g.Name == "" {
			t.Errorf("%q: a group without a name", line)
		}
	})
}
