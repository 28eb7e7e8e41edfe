package split_test

import (
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/tree"
)

// Unknown data is never dropped and never guessed into an image.
func TestUnknownData(t *testing.T) {
	w := newWorld(t)
	w.file("/data/x/1.bin", "1")
	w.file("/srv/thing/a.dat", "2")
	w.dir("/var/lib/known", pkg("known", catalog.Unchecked))
	w.file("/var/lib/known/state.bin", "3")
	w.file("/var/lib/other/state.bin", "4")
	w.file("/var/lib/dpkg/unknown-thing", "5")
	w.file("/lone.bin", "6")
	w.file("/srv/lone.bin", "7")
	w.file("/root/notes.txt", "8")
	w.file("/root/.ssh/id_ed25519", "9")
	w.file("/usr/lib/stray.bin", "10")
	r := w.split()
	r.want(`
		volume /data
		volume /data/x/1.bin
		volume /srv/thing
		volume /var/lib/known
		volume /var/lib/known/state.bin
		volume /var/lib/other/state.bin
		object /lone.bin
		volume /srv
		volume /srv/lone.bin
		volume /root/notes.txt
		drop /root/.ssh/id_ed25519
		image /usr/lib/stray.bin
		image /
		image /var/lib
	`)
	for _, p := range []string{"/data", "/srv/thing", "/var/lib/known", "/var/lib/other", "/lone.bin", "/root"} {
		if c := r.why(p); c.Confidence != claim.Low {
			t.Errorf("%s: confidence %s: %s", p, c.Confidence, c.Reason)
		}
	}
}

// Paths are bytes: names that are no UTF-8, newlines, patterns in names.
func TestPathsAreBytes(t *testing.T) {
	w := newWorld(t)
	w.file("/srv/a/caf\xe9.txt", "1")
	w.file("/srv/a/two\nlines", "2")
	w.file("/srv/a*b/x", "3")
	w.file("/srv/aXb/x", "4")
	w.file("/opt/\xff\xfe/bin/run", "#!/bin/sh\n", mode(0o755))
	w.yaml = `paths:
- path: '/srv/a/caf\xe9*'
  class: drop
- {path: '/srv/a*b', reach: tree, class: object}
- path: '/srv/a/two\nlines'
  reach: exact
  class: object
`
	w.split().want(`
		volume /srv/a
		drop /srv/a/caf\xe9.txt
		object /srv/a/two\nlines
		object /srv/a*b/x
		volume /srv/aXb/x
		image /opt/\xff\xfe/bin/run
	`)
}

// The bytes of a hard-linked inode count once, where its first path stands.
func TestBalanceOfHardLinks(t *testing.T) {
	w := newWorld(t)
	w.file("/srv/a/one", "content", inode(77, 3))
	w.file("/srv/a/two", "content", inode(77, 3))
	w.file("/usr/bin/three", "content", inode(77, 3), pkg("x", catalog.Same))
	r := w.split()
	for _, c := range r.split.Balance.Classes {
		want := int64(0)
		if c.Class == claim.Volume {
			want = 7
		}
		if c.Bytes != want {
			t.Errorf("%s holds %d bytes, want %d", c.Class, c.Bytes, want)
		}
	}
}

// Everything below the root of a volume is in it, whatever its origin; objects
// leave it, and what only a host needs, and what the user says.
func TestBelowAVolume(t *testing.T) {
	w := newWorld(t)
	w.unit("app.service", "", "ExecStart=/usr/bin/app", "StateDirectory=app")
	w.dir("/var/lib/app", pkg("app", catalog.Unchecked))
	w.file("/var/lib/app/shipped", "1", pkg("app", catalog.Same))
	w.file("/var/lib/app/shipped.conf", "1", pkg("app", catalog.ConffileChanged))
	w.add("/var/lib/app/sock", catalog.Entry{}, []option{typ(tree.Socket)})
	w.add("/var/lib/app/dev", catalog.Entry{}, []option{typ(tree.Char)})
	w.file("/var/lib/app/lost+found/x", "1")
	w.file("/var/lib/app/cache/x", "1")
	w.file("/var/lib/app/mine/x", "1")
	w.yaml = "paths:\n- {path: /var/lib/app/mine, class: ephemeral}\n"
	r := w.split()
	r.want(`
		volume /var/lib/app
		volume /var/lib/app/shipped
		volume /var/lib/app/shipped.conf
		volume /var/lib/app/sock
		volume /var/lib/app/dev
		drop /var/lib/app/lost+found
		drop /var/lib/app/lost+found/x
		volume /var/lib/app/cache/x
		ephemeral /var/lib/app/mine/x
	`)
	if c := r.why("/var/lib/app/sock"); c.By != "rule mount/below" || !strings.Contains(c.Reason, "/var/lib/app") {
		t.Errorf("socket: %+v", c)
	}
	v, ok := r.volume("/var/lib/app")
	if !ok || v.Entries != 7 || v.Files != 3 || v.Bytes != 3 || v.SmallFiles != 3 || !slices.Equal(v.Serves, []string{"app.service"}) {
		t.Errorf("volume: %+v", v)
	}
}

// Old dumps are objects; the job that makes new ones gets an empty volume there.
func TestBackups(t *testing.T) {
	w := newWorld(t)
	w.file("/var/backups/site-1.sql.gz", "1")
	w.file("/var/backups/dpkg.status.0", "2")
	w.file("/usr/local/sbin/dump", "#!/bin/sh\nmysqldump --defaults-file=/etc/dump.cnf site | gzip >/var/backups/site-$(date +%F).sql.gz\n", mode(0o755))
	w.file("/etc/dump.cnf", "[client]\npassword = Zx81Qq20Lm\n")
	w.fact(facts.KindCron, "root:1", facts.Cron{Name: "root:1", Schedule: "1 2 * * *", User: "root", Command: "/usr/local/sbin/dump >>/var/log/dump.log 2>&1", Source: facts.Source{Path: "/etc/cron.d/site", Line: 1}})
	w.file("/var/log/dump.log", "old")
	w.file("/etc/cron.d/site", "1 2 * * * root /usr/local/sbin/dump\n")
	r := w.split()
	r.want(`
		object /var/backups/site-1.sql.gz
		drop /var/backups/dpkg.status.0
		volume /var/backups
		object /var/log/dump.log
		image /usr/local/sbin/dump
		secret /etc/dump.cnf
		drop /etc/cron.d/site
	`)
	if v, ok := r.volume("/var/backups"); !ok || v.Files != 0 || !slices.Equal(v.Serves, []string{"cron:root:1"}) {
		t.Errorf("volume: %+v", v)
	}
	if c := r.why("/etc/dump.cnf"); c.Serves != "cron:root:1" {
		t.Errorf("dump.cnf serves %q", c.Serves)
	}
	if c := r.why("/var/backups"); len(c.Evidence) != 1 || c.Evidence[0].Path != "/usr/local/sbin/dump" || c.Evidence[0].Line != 2 {
		t.Errorf("evidence: %v", c.Evidence)
	}
}

// Files of logs are history, the directory of a service's logs is ephemeral.
func TestLogs(t *testing.T) {
	w := newWorld(t)
	w.unit("app.service", "", "ExecStart=/usr/bin/app", "LogsDirectory=app")
	w.dir("/var/log/app", owner(7), mode(0o750))
	w.file("/var/log/app/app.log", "1")
	w.file("/var/log/app/app.log.2.gz", "1")
	w.file("/var/log/syslog.1", "1")
	w.file("/var/log/wtmp", "1")
	w.file("/var/log/dpkg.log", "1")
	r := w.split()
	r.want(`
		ephemeral /var/log/app
		object /var/log/app/app.log
		object /var/log/app/app.log.2.gz
		object /var/log/syslog.1
		drop /var/log/wtmp
		drop /var/log/dpkg.log
		image /var/log
	`)
	if d := ephemeral(r, "/var/log/app"); d.UID != 7 || d.Mode != 0o750 || !slices.Equal(d.Serves, []string{"app.service"}) {
		t.Errorf("directory: %+v", d)
	}
}

func ephemeral(r result, p string) handoff.EphemeralDir {
	for _, d := range r.split.Ephemeral {
		if string(d.Path) == p {
			return d
		}
	}
	return handoff.EphemeralDir{}
}

// Run-time directories are made with the owner and mode that the unit or
// tmpfiles.d says, also when the host is switched off and has none.
func TestRuntimeDirectories(t *testing.T) {
	w := newWorld(t)
	w.user("svc", 42, "/nonexistent")
	w.unit("app.service", "app", "ExecStart=/usr/bin/app", "User=svc", "RuntimeDirectory=app app/inner", "RuntimeDirectoryMode=0710")
	w.unit("ssh.service", "openssh-server", "ExecStart=/usr/sbin/sshd", "RuntimeDirectory=sshd")
	w.fact(facts.KindTmpfile, "a", facts.Tmpfile{Type: "d", Path: "/run/shared", Mode: "2770", User: "svc", Group: "svc"})
	w.fact(facts.KindTmpfile, "b", facts.Tmpfile{Type: "d", Path: "/run/sshd", Mode: "0755", Package: "openssh-server"})
	w.fact(facts.KindTmpfile, "c", facts.Tmpfile{Type: "d", Path: "/var/lib/kept", Mode: "0755"})
	r := w.split()
	if d := ephemeral(r, "/run/app"); d.UID != 42 || d.GID != 42 || d.Mode != 0o710 {
		t.Errorf("/run/app: %+v", d)
	}
	if d := ephemeral(r, "/run/app/inner"); d.Path == "" {
		t.Error("/run/app/inner is missing")
	}
	if d := ephemeral(r, "/run/shared"); d.UID != 42 || d.Mode != 0o2770 || !slices.Equal(d.Serves, []string{"app.service"}) {
		t.Errorf("/run/shared: %+v", d)
	}
	for _, p := range []string{"/run/sshd", "/var/lib/kept"} {
		if d := ephemeral(r, p); d.Path != "" {
			t.Errorf("%s is made for nobody: %+v", p, d)
		}
	}
}

// Only what differs from the package and serves a workload is config.
func TestConfiguration(t *testing.T) {
	w := newWorld(t)
	w.unit("app.service", "app", "ExecStart=/usr/bin/app -c /etc/elsewhere/app.conf", "EnvironmentFile=-/etc/default/app")
	w.unit("ssh.service", "openssh-server", "ExecStart=/usr/sbin/sshd")
	w.unit("off.service", "off")
	w.facts[len(w.facts)-1].data = facts.Unit{Name: "off.service", Type: "service", Package: "off"}
	w.file("/etc/app/shipped.conf", "x", pkg("app", catalog.ConffileSame))
	w.file("/etc/app/changed.conf", "x", pkg("app", catalog.ConffileChanged))
	w.file("/etc/app/written.conf", "x")
	w.file("/etc/app/written.conf~", "x")
	w.file("/etc/app/changed.conf.dpkg-dist", "x")
	w.link("/etc/app/enabled.conf", "written.conf")
	w.file("/etc/app/big.db", "x", size(3<<20))
	w.file("/etc/elsewhere/app.conf", "x")
	w.file("/etc/elsewhere/other.conf", "x")
	w.file("/etc/default/app", "A=1\n")
	w.file("/etc/ssh/sshd_config", "x", pkg("openssh-server", catalog.ConffileChanged))
	w.file("/etc/ssh/ssh_config", "x", pkg("openssh-client", catalog.ConffileSame))
	w.file("/etc/off/off.conf", "x", pkg("off", catalog.ConffileChanged))
	w.file("/etc/lib/policy.xml", "x", pkg("libx", catalog.ConffileChanged))
	for _, p := range []string{"/etc/fstab", "/etc/hostname", "/etc/resolv.conf", "/etc/hosts", "/etc/network/interfaces", "/etc/apt/sources.list", "/etc/sysctl.d/60-x.conf", "/etc/sudoers.d/x", "/etc/logrotate.d/app", "/etc/tmpfiles.d/app.conf"} {
		w.file(p, "x")
	}
	w.file("/etc/ld.so.cache", "x")
	w.file("/etc/ssl/certs/ca-certificates.crt", "x")
	w.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
	w.file("/etc/shadow", "root:$6$abcdefgh$abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv:1::::::\n")
	w.file("/etc/shadow-", "x")
	w.file("/etc/machine-id", "x")
	w.file("/etc/systemd/system/app.service", "[Service]\n")
	w.file("/etc/ssh/ssh_host_rsa_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
	r := w.split()
	r.want(`
		image /etc/app
		image /etc/app/shipped.conf
		config /etc/app/changed.conf
		config /etc/app/written.conf
		drop /etc/app/written.conf~
		drop /etc/app/changed.conf.dpkg-dist
		image /etc/app/enabled.conf
		image /etc/app/big.db
		config /etc/elsewhere/app.conf
		image /etc/elsewhere/other.conf
		config /etc/default/app
		drop /etc/ssh/sshd_config
		image /etc/ssh/ssh_config
		drop /etc/off/off.conf
		image /etc/lib/policy.xml
		drop /etc/fstab
		drop /etc/hostname
		drop /etc/resolv.conf
		drop /etc/hosts
		drop /etc/network/interfaces
		drop /etc/apt/sources.list
		drop /etc/sysctl.d/60-x.conf
		drop /etc/sudoers.d/x
		drop /etc/logrotate.d/app
		drop /etc/tmpfiles.d/app.conf
		image /etc/ld.so.cache
		image /etc/ssl/certs/ca-certificates.crt
		image /etc/passwd
		drop /etc/shadow
		drop /etc/shadow-
		drop /etc/machine-id
		drop /etc/systemd/system/app.service
		drop /etc/ssh/ssh_host_rsa_key
	`)
	for p, want := range map[string]string{
		"/etc/app/changed.conf":   "differs from what package app shipped",
		"/etc/elsewhere/app.conf": "app.service names it",
		"/etc/off/off.conf":       "serves no workload: it is not enabled",
	} {
		if c := r.why(p); !strings.Contains(c.Reason, want) {
			t.Errorf("%s: %s", p, c.Reason)
		}
	}
	if c := r.why("/etc/default/app"); c.Serves != "app.service" || c.Evidence[0].Line != 3 {
		t.Errorf("/etc/default/app: %+v", c)
	}
}

// What ucf(1) copied and nobody changed is the package's own.
func TestUCF(t *testing.T) {
	w := newWorld(t)
	w.unit("app.service", "app", "ExecStart=/usr/bin/app")
	w.file("/etc/app/same.ini", "as shipped\n")
	w.file("/etc/app/changed.ini", "changed\n")
	w.file("/var/lib/ucf/hashfile", fmt.Sprintf("%x  /etc/app/same.ini\n%x  /etc/app/changed.ini\n", md5.Sum([]byte("as shipped\n")), md5.Sum([]byte("as shipped\n"))))
	r := w.split()
	r.want("image /etc/app/same.ini\nconfig /etc/app/changed.ini\nimage /var/lib/ucf/hashfile")
}

// A patched file of a package stays in the image, and the reason says so.
func TestPatched(t *testing.T) {
	w := newWorld(t)
	w.file("/usr/share/app/x.php", "x", pkg("app", catalog.Changed))
	r := w.split()
	r.want("image /usr/share/app/x.php")
	if c := r.why("/usr/share/app/x.php"); !strings.Contains(c.Reason, "changed") {
		t.Error(c.Reason)
	}
}
