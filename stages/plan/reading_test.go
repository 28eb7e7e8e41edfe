package plan

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

func TestPathsInText(t *testing.T) {
	for text, want := range map[string][]hostpath.Path{
		`tar -czf /var/backups/x.tar.gz -C /srv data`:                {"/var/backups/x.tar.gz", "/srv"},
		`gzip >"/var/backups/dump-$day.sql.gz"`:                      {"/var/backups"},
		`DIR=/var/lib/app; cp $SRC/a "$DIR/b" ${X}/c ~/d`:            {"/var/lib/app"},
		`curl http://example.org/a/b -o /tmp/x`:                      {"/tmp/x"},
		`--config=/etc/a.conf:/etc/b.conf,/etc/c.conf`:               {"/etc/a.conf", "/etc/b.conf", "/etc/c.conf"},
		`mysql --socket=/var/run/mysqld/mysqld.sock </dev/null`:      {"/run/mysqld/mysqld.sock", "/dev/null"},
		`a/b and/or 1/2 / // ends with /etc/hosts.`:                  {"/etc/hosts"},
		`ls /var/log/*.log /srv/data/[ab]`:                           {"/var/log", "/srv/data"},
		`sed 's/a/b/' /etc/x`:                                        {"/etc/x"},
		`require "/opt/app/lib/store.php"; $s = new S('/opt/app/d')`: {"/opt/app/lib/store.php", "/opt/app/d"},
	} {
		if diff := cmp.Diff(want, pathsInText(text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestProgramsIn(t *testing.T) {
	for text, want := range map[string][]string{
		`mariadb-dump --all-databases | gzip -6 >/x`:           {"mariadb-dump", "gzip"},
		`PGPASSWORD=x pg_dump a && sudo psql b`:                {"pg_dump", "psql"},
		`if test -x /usr/bin/a; then redis-cli ping; fi`:       {"test", "redis-cli", "fi"},
		`out=$(mysql -N -e "select 1") || exit`:                {"mysql", "exit"},
		`HTTP_HOST=blog.example.org php /usr/share/x/cron.php`: {"php"},
		`/usr/local/sbin/site-dump >>/var/log/x.log 2>&1`:      nil,
	} {
		if diff := cmp.Diff(want, programsIn(text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestRedirected(t *testing.T) {
	for line, want := range map[string]bool{
		"gzip >/srv/x": true, `echo a >> "/srv/x"`: true, "cat /srv/x": false, "mv /tmp/a /srv/x": true, "cat <b | tee /srv/x": true, "grep a /srv/x >/dev/null": false,
	} {
		if got := redirected(line, "/srv/x"); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

func TestListenAt(t *testing.T) {
	for value, want := range map[string]facts.Listener{
		"80": {Protocol: "tcp", Port: 80}, "*:80 default_server": {Protocol: "tcp", Port: 80}, "[::]:443 ssl": {Protocol: "tcp", Port: 443},
		"127.0.0.1:9000": {Protocol: "tcp", Address: "127.0.0.1", Port: 9000}, "unix:/run/a.sock": {Protocol: "unix", Address: "/run/a.sock"},
		`"/run/b.sock";`: {Protocol: "unix", Address: "/run/b.sock"}, "[::1]:25": {Protocol: "tcp", Address: "::1", Port: 25},
		"0": {}, "99999": {}, "name": {}, "a:b:c": {},
	} {
		s := &service{id: "x"}
		ok := s.listenAt("tcp", value, facts.Source{})
		want.Unit = "x"
		if !ok && want.Protocol == "" {
			continue
		}
		if !ok || len(s.listens) != 1 || s.listens[0] != want {
			t.Errorf("%q: %v %+v, want %+v", value, ok, s.listens, want)
		}
	}
}

func TestAddressIn(t *testing.T) {
	for line, want := range map[string]string{
		"\taddress 192.0.2.10/24": "192.0.2.10", "gateway 192.0.2.1": "", "IPADDR=192.0.2.7": "192.0.2.7", "Address=2001:db8::5/64": "2001:db8::5",
		"address1=192.0.2.9/24,192.0.2.1": "192.0.2.9", "  - 192.0.2.11/24": "192.0.2.11", "#address 1.2.3.4": "", "      addresses: [192.0.2.12/24]": "192.0.2.12", "- 192.0.2.53": "",
	} {
		got := addressIn(line)
		if want == "" && len(got) > 0 || want != "" && !slices.Contains(got, want) {
			t.Errorf("%q: %v, want %s", line, got, want)
		}
	}
}

// TestFileCapabilities asks setcap and getcap, which know better.
func TestFileCapabilities(t *testing.T) {
	name := filepath.Join(t.TempDir(), "program")
	for _, caps := range []string{"cap_net_bind_service=+ep", "cap_chown,cap_setuid,cap_net_raw=ep", "cap_sys_admin,cap_checkpoint_restore=p", "cap_syslog=eip"} {
		if err := os.WriteFile(name, []byte("x"), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("setcap", caps, name).CombinedOutput(); err != nil {
			t.Fatalf("setcap %s: %v %s", caps, err, out)
		}
		value := make([]byte, 64)
		n, err := unix.Lgetxattr(name, "security.capability", value)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("getcap", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		list := strings.Fields(strings.TrimPrefix(string(out), name))[0]
		list = list[:strings.IndexAny(list, "=+")]
		var want []string
		for c := range strings.SplitSeq(list, ",") {
			want = append(want, capabilityName(c))
		}
		got := fileCapabilities(value[:n])
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-getcap +got):\n%s", caps, diff)
		}
	}
}

// TestWrapper runs the wrapper as the first process of a process space of its
// own, as in a container: it stays while the daemon runs, ends when the daemon
// ends, and passes the signal on.
func TestWrapper(t *testing.T) {
	dir := t.TempDir()
	script := strings.ReplaceAll(wrapper, "%s", "TERM")
	daemon := filepath.Join(dir, "daemon")
	// It forks, its parent exits, and the child writes what happens to it.
	if err := os.WriteFile(daemon, []byte("#!/bin/sh\nDIR="+dir+"\n(trap 'echo stopped >$DIR/end; exit 0' TERM\necho up >$DIR/start\ni=0; while [ $i -lt $1 ]; do sleep 0.1; i=$((i+1)); done; echo done >$DIR/end) &\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	start := func(tenths string) (*exec.Cmd, chan error) {
		cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script, "sh", daemon, tenths)
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		waitFor(t, filepath.Join(dir, "start"))
		return cmd, done
	}
	_, done := start("8")
	select {
	case err := <-done:
		if data, _ := os.ReadFile(filepath.Join(dir, "end")); err != nil || string(data) != "done\n" {
			t.Errorf("ended with %v before the daemon (%q)", err, data)
		}
	case <-time.After(time.Minute):
		t.Fatal("the wrapper outlives its daemon")
	}
	if err := os.Remove(filepath.Join(dir, "start")); err != nil {
		t.Fatal(err)
	}
	cmd, done := start("600")
	children, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "task", strconv.Itoa(cmd.Process.Pid), "children"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", "-TERM", strings.TrimSpace(string(children))).CombinedOutput(); err != nil {
		t.Fatalf("kill: %v %s", err, out)
	}
	select {
	case <-done:
		if data, _ := os.ReadFile(filepath.Join(dir, "end")); string(data) != "stopped\n" {
			t.Errorf("the daemon was not told to stop: %q", data)
		}
	case <-time.After(time.Minute):
		t.Fatal("the wrapper does not stop")
	}
}

func waitFor(t *testing.T, name string) {
	t.Helper()
	for range 1200 {
		if _, err := os.Stat(name); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s does not appear", name)
}
