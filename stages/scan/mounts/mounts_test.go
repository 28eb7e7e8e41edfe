package mounts

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// The first line is the example of proc_pid_mountinfo(5).
const example = `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
20 36 0:5 / /host rw - ext4 /dev/vda rw
21 20 0:6 / /host/proc rw shared:2 master:3 - proc proc rw
22 20 0:7 / /host/with\040blank\134and\012newline rw - tmpfs tmp\040fs rw
23 20 0:8 / /hostile rw - tmpfs none rw
24 20 0:9 / /host/twice rw - tmpfs first rw
25 24 0:10 / /host/twice rw - xfs second rw
26 20 0:11 / /host/run rw - tmpfs run rw
`

func TestParse(t *testing.T) {
	got, err := parse(strings.NewReader(example), "/host")
	if err != nil {
		t.Fatal(err)
	}
	want := Table{
		"/proc":                     {Path: "/proc", FSType: "proc", Device: "proc", Virtual: true},
		"/with blank\\and\nnewline": {Path: "/with blank\\and\nnewline", FSType: "tmpfs", Device: "tmp fs"},
		"/twice":                    {Path: "/twice", FSType: "xfs", Device: "second"},
		"/run":                      {Path: "/run", FSType: "tmpfs", Device: "run", Virtual: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parse(strings.NewReader("36 35 98:0 / / rw\n"), "/"); err == nil || !strings.Contains(err.Error(), "mountinfo:1") {
		t.Errorf("a line without a hyphen: %v", err)
	}
}

// TestAgainstFindmnt compares with util-linux on the machine that tests.
func TestAgainstFindmnt(t *testing.T) {
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("findmnt", "--kernel", "--noheadings", "--raw", "-o", "TARGET,FSTYPE").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); f[0] != "/" {
			want[f[0]] = f[1]
		}
	}
	for _, p := range slices.Sorted(maps.Keys(got)) {
		if want[string(p)] != got[p].FSType {
			t.Errorf("%s: %s, findmnt says %s", p, got[p].FSType, want[string(p)])
		}
		delete(want, string(p))
	}
	if len(want) > 0 {
		t.Errorf("findmnt also has %v", want)
	}
}

func TestVirtual(t *testing.T) {
	for _, tt := range []struct {
		fs   string
		at   hostpath.Path
		want bool
	}{
		{"proc", "/x/proc", true}, {"cgroup2", "/sys/fs/cgroup", true}, {"tmpfs", "/run", true}, {"tmpfs", "/run/user/0", true},
		{"tmpfs", "/dev/shm", true}, {"tmpfs", "/tmp", false}, {"tmpfs", "/runner", false}, {"ext4", "/run", false}, {"nfs4", "/srv", false},
	} {
		if got := Virtual(tt.fs, tt.at); got != tt.want {
			t.Errorf("%s at %s: %v", tt.fs, tt.at, got)
		}
	}
}

func TestStat(t *testing.T) {
	f, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var m facts.Mount
	if err := Stat(f, &m); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("df", "-B1", "--output=size", "/").Output()
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(out)); f[1] != strconv.FormatInt(m.Size, 10) {
		t.Errorf("size %d, df says %s", m.Size, f[1])
	}
	typ, err := TypeOf(f)
	want, _ := exec.Command("stat", "-f", "-c", "%T", "/").Output()
	if s := strings.TrimSpace(string(want)); err != nil || !strings.HasPrefix(s, strings.TrimSuffix(typ, "4")) && typ != s {
		t.Errorf("type %s, %v; stat says %s", typ, err, s)
	}
}

// Nothing waits for ever.
func TestWithin(t *testing.T) {
	start := time.Now()
	hang := make(chan struct{})
	defer close(hang)
	if err := within(20*time.Millisecond, func() error { <-hang; return nil }); err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
	if err := Within(func() error { return os.ErrExist }); err != os.ErrExist {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("1 2 3 4 \\057etc\\400 5 - x y")
	f.Fuzz(func(t *testing.T, s string) {
		table, err := parse(strings.NewReader(s), "/host")
		if err != nil {
			return
		}
		for p, m := range table {
			if p != m.Path || p[0] != '/' || p == "/" {
				t.Errorf("%q: %+v", p, m)
			}
		}
	})
}
