package tree_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

func openDir(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// Every number is compared with what find(1) prints for the same path.
func TestLstatAgainstFind(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, "sh", "-c", `
		printf 'some content' >plain; chmod 4751 plain; chown 1234:5678 plain; touch -d '2001-02-03 04:05:06.789012345' plain
		truncate -s 1000000 sparse
		mkdir dir; chmod 3770 dir
		ln -s ../nowhere/at\ all link; chown -h 77:88 link
		mkfifo pipe; mknod null c 1 3; mknod loop b 7 300
		ln plain second
		touch -d '1960-01-01 00:00:00.5' old`)
	if err := unix.Mknod(filepath.Join(dir, "sock"), unix.S_IFSOCK|0o640, 0); err != nil {
		t.Fatal(err)
	}
	d := openDir(t, dir)
	for _, name := range []string{"plain", "sparse", "dir", "link", "pipe", "null", "loop", "second", "old", "sock", "."} {
		want := strings.Fields(run(t, dir, "find", "./"+name, "-maxdepth", "0", "-printf", `%y %m %U %G %b %T@ %C@ %i %n %s %l\n`))
		e, err := tree.Lstat(d, name, hostpath.Clean(name))
		if err != nil {
			t.Fatal(err)
		}
		size := fmt.Sprint(e.Size)
		if e.Type != tree.Regular && e.Type != tree.Symlink {
			size = want[9]
		}
		got := []string{
			string(e.Type), fmt.Sprintf("%o", e.Mode), fmt.Sprint(e.UID), fmt.Sprint(e.GID), fmt.Sprint(e.Allocated / 512),
			stamp(e.Mtime), stamp(e.Ctime), fmt.Sprint(e.Ino), fmt.Sprint(e.Nlink), size,
		}
		got = append(got, strings.Fields(e.Target)...)
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got  %s\nwant %s", name, got, want)
		}
		if e.Path != hostpath.Clean(name) {
			t.Errorf("path = %s", e.Path)
		}
	}
	loop, err := tree.Lstat(d, "loop", "/loop")
	if err != nil || loop.Rdev != unix.Mkdev(7, 300) {
		t.Errorf("rdev = %#x, %v", loop.Rdev, err)
	}
}

// stamp is what find prints for a time: seconds, a dot, ten digits. It shows
// times before the epoch in a form of its own, which is not compared.
func stamp(ns int64) string {
	if ns < 0 {
		s := (ns - 999_999_999) / 1_000_000_000
		return fmt.Sprintf("%d.%09d0", s, ns-s*1_000_000_000)
	}
	return fmt.Sprintf("%d.%09d0", ns/1_000_000_000, ns%1_000_000_000)
}

func TestLstatXattrs(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, "sh", "-c", `
		echo x >a; setfattr -n user.zeta -v 0x00ff00 a; setfattr -n user.alpha -v "" a; setfattr -n trusted.t -v tee a
		cp /bin/true cap; setcap cap_net_raw+ep cap
		setfacl -m u:1234:r a
		ln -s a link; mkdir d; setfacl -d -m u:1:rwx d`)
	big := strings.Repeat("y", 3000)
	if err := unix.Setxattr(filepath.Join(dir, "a"), "user.big", []byte(big), 0); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if err := unix.Setxattr(filepath.Join(dir, "cap"), fmt.Sprintf("user.%s%02d", strings.Repeat("n", 40), i), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	d := openDir(t, dir)
	names := func(name string) (list []string, byName map[string]string) {
		e, err := tree.Lstat(d, name, hostpath.Clean(name))
		if err != nil {
			t.Fatal(err)
		}
		byName = map[string]string{}
		for _, x := range e.Xattrs {
			list = append(list, x.Name)
			byName[x.Name] = string(x.Value)
		}
		return list, byName
	}
	list, values := names("a")
	if got := strings.Join(list, " "); got != "system.posix_acl_access trusted.t user.alpha user.big user.zeta" {
		t.Errorf("names = %s", got)
	}
	if values["user.zeta"] != "\x00\xff\x00" || values["trusted.t"] != "tee" || values["user.alpha"] != "" || values["user.big"] != big {
		t.Errorf("values = %q", values)
	}
	if list, _ = names("cap"); len(list) != 41 || list[0] != "security.capability" {
		t.Errorf("a long list: %d names, %q first", len(list), list[0])
	}
	if list, _ = names("link"); list != nil {
		t.Errorf("the symlink was followed: %q", list)
	}
	if list, _ = names("d"); len(list) != 1 || list[0] != "system.posix_acl_default" {
		t.Errorf("directory: %q", list)
	}
}

func TestLstatErrors(t *testing.T) {
	d := openDir(t, t.TempDir())
	for _, name := range []string{"missing", "a/b", "..", ""} {
		_, err := tree.Lstat(d, name, "/some\nwhere")
		if err == nil || !strings.Contains(err.Error(), `/some\nwhere`) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(d.Name(), "far"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	times := []unix.Timespec{{Sec: 10_000_000_000}, {Sec: 10_000_000_000}}
	if err := unix.UtimesNanoAt(int(d.Fd()), "far", times, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Lstat(d, "far", "/far"); err == nil || !strings.Contains(err.Error(), "out of range") {
		t.Errorf("a time beyond 2262: %v", err)
	}
}

func BenchmarkLstat(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		b.Fatal(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tree.Lstat(d, "file", "/file"); err != nil {
			b.Fatal(err)
		}
	}
}
