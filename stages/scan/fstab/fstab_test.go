package fstab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
)

const example = `# <file system> <mount point> <type> <options> <dump> <pass>
UUID=6f0c2e2a / ext4 errors=remount-ro 0 1
/dev/sda5	none	swap	sw	0	0
10.20.0.5:/export/media /srv/with\040blank nfs4 rw,_netdev 0 0
//filer/share /mnt/c cifs user=web%hunter2hunter2,password=s3cr3t,credentials=/etc/cifs.cred,uid=33 0 0
https://joe:topsecret@dav.example.org/x /mnt/dav davfs defaults
//joe:topsecret@filer/y /mnt/y cifs ro
tmpfs relative tmpfs
short /x
`

func TestCollect(t *testing.T) {
	found := collecttest.Run(t, Collector{}, collecttest.Plant(t, map[string]string{"etc/fstab": example}))
	at := func(line int) facts.Source { return facts.Source{Path: "/etc/fstab", Line: line} }
	want := []facts.Fstab{
		{Spec: "UUID=6f0c2e2a", Target: "/", FSType: "ext4", Options: []string{"errors=remount-ro"}, Source: at(2)},
		{Spec: "/dev/sda5", FSType: "swap", Options: []string{"sw"}, Source: at(3)},
		{Spec: "10.20.0.5:/export/media", Target: "/srv/with blank", FSType: "nfs4", Options: []string{"rw", "_netdev"}, Source: at(4)},
		{Spec: "//filer/share", Target: "/mnt/c", FSType: "cifs",
			Options: []string{"user=web%" + facts.Redacted, "password=" + facts.Redacted, "credentials=/etc/cifs.cred", "uid=33"}, Source: at(5)},
		{Spec: "https://joe:" + facts.Redacted + "@dav.example.org/x", Target: "/mnt/dav", FSType: "davfs", Source: at(6)},
		{Spec: "//joe:" + facts.Redacted + "@filer/y", Target: "/mnt/y", FSType: "cifs", Options: []string{"ro"}, Source: at(7)},
	}
	if diff := cmp.Diff(want, collecttest.Data[facts.Fstab](found)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/etc/fstab:8", "/etc/fstab:9"}, collecttest.Problems(found)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestNoFstab(t *testing.T) {
	if found := collecttest.Run(t, Collector{}, t.TempDir()); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

// TestAgainstFindmnt compares with util-linux.
func TestAgainstFindmnt(t *testing.T) {
	lines := strings.SplitAfter(example, "\n")
	valid := strings.Join(append(lines[:4:4], lines[6]), "")
	name := filepath.Join(t.TempDir(), "fstab")
	if err := os.WriteFile(name, []byte(valid), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("findmnt", "--tab-file", name, "--raw", "--noheadings", "-o", "SOURCE,TARGET,FSTYPE").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range collecttest.Data[facts.Fstab](collecttest.Run(t, Collector{}, collecttest.Plant(t, map[string]string{"etc/fstab": valid}))) {
		target := strings.ReplaceAll(string(f.Target), " ", `\x20`)
		if target == "" {
			target = "none"
		}
		got = append(got, strings.ReplaceAll(f.Spec, facts.Redacted, "topsecret")+" "+target+" "+f.FSType)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(out)), strings.Join(got, "\n")); diff != "" {
		t.Errorf("(-findmnt +got):\n%s", diff)
	}
}

func FuzzLine(f *testing.F) {
	for line := range strings.Lines(example) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		m, err := parse(line)
		if err == nil && (m.FSType == "" || m.Target != "" && m.Target[0] != '/') {
			t.Errorf("%q: %+v", line, m)
		}
	})
}
