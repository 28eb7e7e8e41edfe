package scan_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/stages/scan"
)

// again runs the calling test once more in a process of its own, and reports
// whether this is that process.
func again(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	const key = "STATELIFT_TEST_AGAIN"
	if os.Getenv(key) == t.Name() {
		return true
	}
	dir := t.TempDir()
	sh.Run(t, dir, "cp /proc/"+fmt.Sprint(os.Getpid())+"/exe test; chmod 755 . .. test")
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), key+"="+t.Name())
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// TestMounts mounts file systems below a source, in a mount namespace of its
// own.
func TestMounts(t *testing.T) {
	if !again(t, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}) {
		return
	}
	dir := t.TempDir()
	sh.Run(t, dir, `
mount --make-rprivate /
mkdir -p src/proc src/run src/data src/bind "src/with space" src/plain src/below; touch src/file src/other
mount -t proc proc src/proc
mount -t tmpfs -o size=1m,mode=750,uid=7 run src/run
mount -t tmpfs -o size=2m data src/data; head -c 300000 /dev/zero > src/data/inside
touch src/plain/inside; mount --bind src/plain src/bind
mount --bind src/other src/file
mount -t tmpfs -o size=1m odd "src/with space"
mount -t tmpfs -o size=1m under src/below; mount -t tmpfs -o size=3m over src/below`)
	t.Cleanup(func() {
		sh.Run(t, dir, "for m in file bind proc run data 'with space' below below; do umount src/\"$m\"; done")
	})
	src := filepath.Join(dir, "src")
	s := scanTo(t, t.TempDir(), src, scan.Options{}, nil)
	var got []string
	for _, e := range s.entries(t) {
		got = append(got, fmt.Sprintf("%s %s %s%s", e.Path, e.Type, e.FS, e.Problem))
	}
	base := sh.Run(t, dir, "findmnt -n -o FSTYPE -T "+src)
	want := []string{"/ d ", "/below d tmpfs", "/bind d " + strings.TrimSpace(base), "/data d tmpfs", "/file f " + strings.TrimSpace(base), "/other f ",
		"/plain d ", "/plain/inside f ", "/proc d proc", "/run d tmpfs", "/with space d tmpfs"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if e := s.entry(t, "/run"); e.Mode != 0o750 || e.UID != 7 || e.Mtime != 0 {
		t.Errorf("/run: %+v", e)
	}
	mounts := map[string]facts.Mount{}
	for _, m := range s.Mounts {
		mounts[string(m.Path)] = m
	}
	used := sh.Run(t, src, "df -B1 --output=used data | tail -n 1")
	if m := mounts["/data"]; m.Size != 2<<20 || fmt.Sprint(m.Used) != strings.TrimSpace(used) || m.Virtual || m.Device != "data" {
		t.Errorf("/data: %+v, df says %s are used", m, used)
	}
	if m := mounts["/below"]; m.Device != "over" || m.Size != 3<<20 {
		t.Errorf("/below: %+v, want the uppermost", m)
	}
	if !mounts["/proc"].Virtual || !mounts["/run"].Virtual || mounts["/bind"].Virtual || len(mounts) != 7 {
		t.Errorf("mounts: %+v", mounts)
	}
	// What happens in another file system is no change of the source.
	sh.Run(t, src, "touch data/more run/more")
	if changed, err := scan.Changed(context.Background(), src, s.ws, s.cat); changed || err != nil {
		t.Errorf("changed %v, %v", changed, err)
	}
}

// TestUnreadable scans as nobody what only root may read.
func TestUnreadable(t *testing.T) {
	if !again(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}) {
		return
	}
	dir := t.TempDir()
	sh.Run(t, dir, `mkdir -p closed/inside listed; touch ok forbidden listed/f closed/f; mkdir listed/d; ln -s forbidden link
chmod 0 forbidden; chmod 0 closed; chmod 0400 listed`)
	t.Cleanup(func() { sh.Run(t, dir, "chmod -R u+rwX .") })
	s := scanTo(t, t.TempDir(), dir, scan.Options{}, nil)
	var got []string
	for _, e := range s.entries(t) {
		got = append(got, fmt.Sprintf("%s %s %s", e.Path, e.Type, e.Problem))
	}
	const denied = "permission denied"
	want := []string{"/ d ", "/closed d " + denied, "/forbidden f " + denied, "/link l ", "/listed d ", "/listed/d d " + denied, "/listed/f f " + denied, "/ok f "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(4, len(s.Unreadable)); diff != "" {
		t.Errorf("unreadable: %v", s.Unreadable)
	}
}

// TestLiveRoot scans a small root in which this process lives.
func TestLiveRoot(t *testing.T) {
	if os.Getenv("STATELIFT_TEST_AGAIN") != t.Name() {
		dir := t.TempDir()
		exe := fmt.Sprintf("/proc/%d/exe", os.Getpid())
		sh.Run(t, dir, "mkdir -p etc proc tmp usr/bin bin; cp "+exe+" usr/bin/test; cp -aL /bin/sh bin/; ldd usr/bin/test bin/sh | grep -o '/[^ :]*' | sort -u | while read -r l; do [ -f \"$l\" ] && cp -L --parents \"$l\" . || :; done")
		cmd := exec.Command("unshare", "-mpf", "sh", "-c", `mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && exec chroot "$0" /usr/bin/test -test.run='^TestLiveRoot$' -test.v`, dir)
		cmd.Env = []string{"STATELIFT_TEST_AGAIN=" + t.Name(), "TMPDIR=/tmp"}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	s := scanTo(t, t.TempDir(), "/", scan.Options{}, nil)
	if e := s.entry(t, "/proc"); e.FS != "proc" {
		t.Errorf("/proc: %+v", e)
	}
	n, work := 0, 0
	for _, e := range s.entries(t) {
		if e.Path.Within("/proc") {
			n++
		}
		if e.FS == scan.WorkspaceFS {
			work++
		}
	}
	if n != 1 || work != 1 || s.entry(t, "/usr/bin/test").State != catalog.State("") {
		t.Errorf("%d paths in /proc, %d workspaces", n, work)
	}
}
