package dpkg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
)

// load reads the database of the root at dir.
func load(t testing.TB, dir string) (collect.Index, map[facts.Kind][]collect.Found) {
	t.Helper()
	r, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	found := map[facts.Kind][]collect.Found{}
	x, err := Packages{}.Load(context.Background(), r, func(f collect.Found) error {
		found[f.Kind] = append(found[f.Kind], f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return x, found
}

const (
	sumA = "0123456789abcdef0123456789abcdef"
	sumB = "ffffffffffffffffffffffffffffffff"
	sumC = "00000000000000000000000000000000"
)

func database() map[string]string {
	return map[string]string{
		"var/lib/dpkg/status": `Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21
Essential: yes
Description: packages
 with lines: that look
 .
 like fields

Package: libx
Status: install ok installed
Architecture: i386
Multi-Arch: same
Version: 2

Package: libx
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2

Package: web
Status: install ok half-configured
Architecture: all
Version: 1:3-4
Conffiles:
 /etc/web/web.conf ` + sumA + `
 /etc/web/old name.conf ` + sumB + ` obsolete
 /etc/web/new.conf newconffile

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 9
Conffiles:
 /etc/gone.conf ` + sumC + `

Package: never
Status: unknown ok not-installed
`,
		"var/lib/dpkg/info/dpkg.list":          "/.\n/bin\n/bin/dpkg\n/usr\n/usr/share\n/usr/share/moved\n",
		"var/lib/dpkg/info/dpkg.md5sums":       sumA + "  bin/dpkg\n" + sumB + "  usr/share/taken\n" + sumC + "  usr/share/moved\n",
		"var/lib/dpkg/info/libx:amd64.list":    "/.\n/usr\n/usr/lib\n/usr/lib/libx.so\n",
		"var/lib/dpkg/info/libx:amd64.md5sums": sumB + "  usr/lib/libx.so\n",
		"var/lib/dpkg/info/libx:i386.list":     "/.\n/usr\n/usr/lib\n/usr/lib/32/libx.so\n",
		"var/lib/dpkg/info/web.list":           "/.\n/etc\n/etc/web\n/etc/web/web.conf\n/etc/web/old name.conf\n/etc/web/new.conf\n/usr/share/taken\n/usr/share/moved\n",
		"var/lib/dpkg/info/web.conffiles":      "/etc/web/web.conf\n/etc/web/new.conf\n",
		"var/lib/dpkg/info/gone.list":          "/etc/gone.conf\n",
		"var/lib/dpkg/diversions":              "/usr/share/moved\n/usr/share/moved.orig\nweb\n/etc/web/new.conf\n/etc/web/new.away\n:\n",
		"var/lib/dpkg/alternatives/editor":     "auto\n/usr/bin/editor\neditor.1.gz\n/usr/share/man/man1/editor.1.gz\n\n/bin/ed\n-100\n\n\n",
		"usr/bin/dpkg":                         "program",
		"bin":                                  "-> usr/bin",
	}
}

func TestLoad(t *testing.T) {
	x, found := load(t, collecttest.Plant(t, database()))
	raw := func(s string) string { sum, _ := parseSum(s); return string(sum[:]) }
	for _, tt := range []struct {
		path, pkg string
		conffile  bool
		sum       string
	}{
		{"/", "dpkg", false, ""},
		{"/usr", "dpkg", false, ""},
		{"/usr/lib", "libx:i386", false, ""},   // the first in the status file
		{"/usr/bin/dpkg", "dpkg", false, sumA}, // listed as /bin/dpkg
		{"/bin", "dpkg", false, ""},
		{"/usr/lib/libx.so", "libx", false, sumB},
		{"/usr/lib/32/libx.so", "libx:i386", false, ""},
		{"/usr/share/taken", "web", false, ""}, // dpkg has a sum for it, and not the file any more
		{"/usr/share/moved", "web", false, ""}, // the one that diverted it
		{"/usr/share/moved.orig", "dpkg", false, sumC},
		{"/etc/web/web.conf", "web", true, sumA},
		{"/etc/web/old name.conf", "web", true, sumB},
		{"/etc/web/new.away", "web", true, ""},
		{"/etc/gone.conf", "gone", true, sumC},
		{"/etc/none", "", false, ""},
	} {
		o, ok := x.Owner(hostpath.Path(tt.path))
		if ok != (tt.pkg != "") || o.Package != tt.pkg || o.Conffile != tt.conffile || o.Sum != raw(tt.sum) && tt.sum != "" || tt.sum == "" && o.Sum != "" {
			t.Errorf("%s: %+v, %v; want %+v", tt.path, o, ok, tt)
		}
	}
	var packages []facts.Package
	for _, f := range found[facts.KindPackage] {
		packages = append(packages, f.Data.(facts.Package))
	}
	want := []facts.Package{
		{Manager: "dpkg", Name: "dpkg", Version: "1.21", Architecture: "amd64", Essential: true, Files: 5},
		{Manager: "dpkg", Name: "libx", Version: "2", Architecture: "i386", Files: 3},
		{Manager: "dpkg", Name: "libx", Version: "2", Architecture: "amd64", Files: 3},
		{Manager: "dpkg", Name: "web", Version: "1:3-4", Architecture: "all", Files: 7},
	}
	if diff := cmp.Diff(want, packages); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	wantFacts := []collect.Found{
		{Kind: facts.KindDiversion, Name: "/usr/share/moved", Source: facts.Source{Path: "/var/lib/dpkg/diversions", Line: 1},
			Data: facts.Diversion{From: "/usr/share/moved", To: "/usr/share/moved.orig", Package: "web"}},
		{Kind: facts.KindDiversion, Name: "/etc/web/new.conf", Source: facts.Source{Path: "/var/lib/dpkg/diversions", Line: 4},
			Data: facts.Diversion{From: "/etc/web/new.conf", To: "/etc/web/new.away"}},
		{Kind: facts.KindAlternative, Name: "editor", Source: facts.Source{Path: "/var/lib/dpkg/alternatives/editor", Line: 2},
			Data: facts.Alternative{Name: "editor", Link: "/usr/bin/editor", Auto: true}},
		{Kind: facts.KindAlternative, Name: "editor.1.gz", Source: facts.Source{Path: "/var/lib/dpkg/alternatives/editor", Line: 4},
			Data: facts.Alternative{Name: "editor.1.gz", Link: "/usr/share/man/man1/editor.1.gz", Auto: true}},
		collect.Problem("dpkg", facts.Source{Path: "/var/lib/dpkg/status", Line: 23}, "package web:all is not whole: install ok half-configured"),
	}
	got := slices.Concat(found[facts.KindDiversion], found[facts.KindAlternative], found[facts.KindProblem])
	if diff := cmp.Diff(wantFacts, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestNoDatabase(t *testing.T) {
	r, err := rootfs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := (Packages{}).Load(context.Background(), r, nil); !errors.Is(err, pipeline.ErrDeclined) {
		t.Errorf("got %v, want ErrDeclined", err)
	}
}

// What is broken is told with its line, and the rest is there.
func TestBrokenDatabase(t *testing.T) {
	for name, tt := range map[string]struct {
		file, content string
		want          []string // path:line of problems
		still         string   // a path that is known all the same
	}{
		"stanza": {"status", "Package: a\nnonsense\nStatus: install ok installed\n\n" + database()["var/lib/dpkg/status"],
			[]string{"status:2", "status:27"}, "/usr/lib/libx.so"},
		"two":          {"status", database()["var/lib/dpkg/status"] + "\nPackage: web\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n", []string{"status:23", "status:42"}, "/etc/web/web.conf"},
		"continuation": {"status", " lost\n\n" + database()["var/lib/dpkg/status"], []string{"status:1", "status:25"}, "/usr/lib/libx.so"},
		"long line":    {"status", "Package: " + strings.Repeat("x", maxLine) + "\n\n" + database()["var/lib/dpkg/status"], []string{"status:1", "status:25"}, "/usr/lib/libx.so"},
		"outside":      {"status", "Package: ../../etc/x\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n" + database()["var/lib/dpkg/status"], []string{"status:1", "status:28"}, "/usr/lib/libx.so"},
		"binary":       {"status", "\x00\x01\x02\xff", []string{"status:1"}, ""},
		"conffiles":    {"status", strings.Replace(database()["var/lib/dpkg/status"], " newconffile", " maybe", 1), []string{"status:23", "status:30"}, "/etc/web/web.conf"},
		"list":         {"info/dpkg.list", "/.\nrelative\n/usr\n", []string{"status:23", "info/dpkg.list:2"}, "/usr"},
		"sums":         {"info/dpkg.md5sums", "short x\n" + sumA + "  bin/dpkg\n", []string{"status:23", "info/dpkg.md5sums:1"}, "/usr/bin/dpkg"},
		"diversions":   {"diversions", "/a\n/b\n", []string{"diversions:1", "status:23"}, "/usr"},
		"alternative":  {"alternatives/editor", "perhaps\n/x\n", []string{"alternatives/editor:1", "status:23"}, "/usr"},
	} {
		t.Run(name, func(t *testing.T) {
			files := database()
			files["var/lib/dpkg/"+tt.file] = tt.content
			x, found := load(t, collecttest.Plant(t, files))
			var got []string
			for _, f := range found[facts.KindProblem] {
				p := f.Data.(facts.Problem)
				got = append(got, fmt.Sprintf("%s:%d", p.Path.Below(admin)[1:], p.Line))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if _, ok := x.Owner(hostpath.Path(tt.still)); !ok && tt.still != "" {
				t.Errorf("%s has no owner any more", tt.still)
			}
		})
	}
}

// TestAgainstDpkg compares with dpkg-query on the machine that runs the test.
func TestAgainstDpkg(t *testing.T) {
	x, found := load(t, "/")
	out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${Priority}\t${Section}\t${Essential}\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(line, "installed\t"); ok {
			want[strings.TrimSuffix(rest, "\n")] = true
		}
	}
	got := map[string]bool{}
	for _, f := range found[facts.KindPackage] {
		p := f.Data.(facts.Package)
		essential := "no"
		if p.Essential {
			essential = "yes"
		}
		got[strings.Join([]string{p.Name, p.Version, p.Architecture, p.Priority, p.Section, essential}, "\t")] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("packages (-dpkg-query +got):\n%s", diff)
	}
	// dpkg -S for every file below a directory with many owners.
	names, err := filepath.Glob("/usr/bin/*")
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob("/etc/*/*")
	names = append(names, more...)
	out, _ = exec.Command("dpkg", append([]string{"-S", "--"}, names...)...).Output() // fails for what nobody owns
	owners := map[string]string{}
	for line := range strings.Lines(string(out)) {
		owner, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if ok && strings.HasPrefix(name, "/") && !strings.HasPrefix(owner, "diversion by") {
			owners[name] = owner
		}
	}
	if len(owners) < 100 {
		t.Fatalf("dpkg -S knows only %d of %d names", len(owners), len(names))
	}
	for _, name := range names {
		o, ok := x.Owner(hostpath.Path(name))
		if owners[name] == "" {
			continue // listed under /bin, which dpkg -S does not know as /usr/bin
		}
		var all []string
		for s := range strings.SplitSeq(owners[name], ", ") {
			all = append(all, strings.TrimSuffix(s, ":amd64"))
		}
		if !ok || !slices.Contains(all, o.Package) {
			t.Errorf("%s: owner %q, dpkg -S says %q", name, o.Package, owners[name])
		}
	}
}
