package split_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
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

// A file that the service itself writes cannot be in a ConfigMap.
func TestRewrittenConfiguration(t *testing.T) {
	w := newWorld(t)
	w.unit("redis-sentinel.service", "redis-sentinel", "ExecStart=/usr/bin/redis-sentinel /etc/redis/sentinel.conf")
	w.file("/etc/redis/sentinel.conf", "port 26379\n", pkg("redis-sentinel", catalog.ConffileChanged), owner(5))
	r := w.split()
	r.want("volume /etc/redis\nvolume /etc/redis/sentinel.conf")
	if c := r.why("/etc/redis"); !strings.Contains(c.Reason, "ConfigMap is read-only") {
		t.Error(c.Reason)
	}
}

// Code and data in one tree are told apart where evidence is good.
func TestOpt(t *testing.T) {
	w := newWorld(t)
	w.user("app", 50, "/opt/app")
	w.unit("app.service", "", "ExecStart=/opt/app/bin/server --conf /opt/app/conf/app.ini", "User=app")
	w.file("/opt/app/bin/server", "\x7fELF", mode(0o755))
	w.file("/opt/app/lib/x.so", "x")
	w.file("/opt/app/README", "x")
	w.file("/opt/app/conf/app.ini", "[db]\nurl = x\n")
	w.file("/opt/app/conf/secret.ini", "[db]\npassword = Zx81Qq20Lm\n")
	w.file("/opt/app/data/x.db", "x", owner(50))
	w.file("/opt/app/things/a", "x", owner(50))
	w.dir("/opt/app/things", owner(50))
	w.file("/opt/app/cache/x", "x")
	w.file("/opt/app/logs/x.log", "x")
	// Programs and a database side by side.
	w.file("/opt/mixed/run.py", "x", mode(0o755))
	w.file("/opt/mixed/state.sqlite", "x", owner(50))
	// Nothing but code, in directories called like data.
	w.file("/opt/code/index/a.js", "x")
	w.file("/opt/code/data/b.js", "x")
	r := w.split()
	r.want(`
		image /opt/app
		image /opt/app/bin/server
		image /opt/app/lib/x.so
		image /opt/app/README
		config /opt/app/conf/app.ini
		secret /opt/app/conf/secret.ini
		volume /opt/app/data
		volume /opt/app/things/a
		ephemeral /opt/app/cache
		ephemeral /opt/app/logs
		object /opt/app/logs/x.log
		volume /opt/mixed
		volume /opt/mixed/run.py
		image /opt/code/index/a.js
		image /opt/code/data/b.js
	`)
	if v, _ := r.volume("/opt/mixed"); v.Confidence != claim.Low || !strings.Contains(v.Reason, "refactor") || v.Code != 1 {
		t.Errorf("/opt/mixed: %+v", v)
	}
	if v, _ := r.volume("/opt/app/data"); !slices.Equal(v.Serves, []string{"app.service"}) {
		t.Errorf("/opt/app/data: %+v", v)
	}
}

// A web root is code, but not what people upload.
func TestWebRoot(t *testing.T) {
	w := newWorld(t)
	w.user("www-data", 33, "/var/www")
	w.unit("apache2.service", "apache2", "ExecStart=/usr/sbin/apachectl start")
	w.setting("apache2", "VirtualHost.DocumentRoot", "/srv/www/site", "/etc/apache2/sites-available/x.conf", 3)
	w.file("/srv/www/site/index.php", "<?php")
	w.file("/srv/www/site/inc/a.php", "<?php")
	w.file("/srv/www/site/uploads/1.jpg", "x", owner(33))
	w.file("/srv/www/site/inc/deep/uploads/1.jpg", "x")
	w.file("/srv/www/site/node_modules/x/data/table.json", "{}")
	w.file("/var/www/html/index.html", "x")
	w.file("/var/www/drop/film.mkv", "x")
	r := w.split()
	r.want(`
		image /srv/www/site
		image /srv/www/site/index.php
		image /srv/www/site/inc/a.php
		volume /srv/www/site/uploads
		volume /srv/www/site/inc/deep/uploads/1.jpg
		image /srv/www/site/node_modules/x/data/table.json
		image /var/www/html/index.html
		volume /var/www/drop/film.mkv
	`)
}

// The directives of a unit are evidence.
func TestUnitDirectives(t *testing.T) {
	w := newWorld(t)
	w.user("svc", 42, "/var/lib/svc-home")
	w.unit("app@blue.service", "", "ExecStart=/usr/local/bin/app --data-dir /srv/blue --pid ${PIDDIR}/x.pid", "User=svc", "StateDirectory=app/%i", "CacheDirectory=app", "ReadWritePaths=/srv/shared -/var/spool/app",
		"Environment=PIDDIR=/run/blue", "EnvironmentFile=/etc/app-%i.env", "DynamicUser=yes")
	w.file("/usr/local/bin/app", "\x7fELF", mode(0o755))
	w.file("/var/lib/app/blue/x", "1")
	w.file("/var/lib/private/app/blue/x", "1")
	w.file("/var/cache/app/x", "1")
	w.file("/srv/blue/x", "1")
	w.file("/srv/shared/x", "1")
	w.file("/var/spool/app/x", "1")
	w.dir("/var/lib/svc-home", owner(42))
	w.file("/etc/app-blue.env", "SPOOL=/var/lib/by-env\nTOKEN=Zx81Qq20LmRt77\n")
	w.dir("/var/lib/by-env")
	r := w.split()
	r.want(`
		image /usr/local/bin/app
		volume /var/lib/app/blue/x
		volume /var/lib/private/app/blue/x
		ephemeral /var/cache/app/x
		volume /srv/blue/x
		volume /srv/shared/x
		volume /var/spool/app/x
		volume /var/lib/svc-home
		volume /var/lib/by-env
		secret /etc/app-blue.env
	`)
	for _, p := range []string{"/var/lib/app/blue", "/srv/blue", "/srv/shared", "/var/spool/app", "/var/lib/by-env"} {
		if c := r.why(p); c.Serves != "app@blue.service" || c.Confidence == claim.Low {
			t.Errorf("%s: %+v", p, c)
		}
	}
	if c := r.why("/var/lib/app/blue"); c.Evidence[0].Line != 4 {
		t.Errorf("evidence: %v", c.Evidence)
	}
}

// The assignments of an init script are evidence.
func TestInitScript(t *testing.T) {
	w := newWorld(t)
	w.fact(facts.KindScript, "gate", facts.Script{Name: "gate", Path: "/etc/init.d/gate", StartLevels: []string{"2"}, Daemon: "/usr/local/sbin/gated", PIDFile: "/run/gate/gate.pid",
		Paths: map[string]hostpath.Path{"DATADIR": "/var/lib/gate", "LOG": "/var/log/gate.log"}, Reads: []hostpath.Path{"/etc/default/gate"}})
	w.file("/etc/init.d/gate", "#!/bin/sh\n", mode(0o755))
	w.file("/usr/local/sbin/gated", "\x7fELF", mode(0o755))
	w.file("/var/lib/gate/gate.log.gz", "x")
	w.file("/etc/default/gate", "X=1\n")
	w.file("/var/log/gate.log", "x")
	r := w.split()
	r.want(`
		drop /etc/init.d/gate
		image /usr/local/sbin/gated
		volume /var/lib/gate/gate.log.gz
		config /etc/default/gate
		object /var/log/gate.log
	`)
	if c := r.why("/var/lib/gate"); c.Serves != "gate.service" || c.Confidence != claim.High {
		t.Errorf("%+v", c)
	}
	if d := ephemeral(r, "/run/gate"); d.Path == "" {
		t.Error("/run/gate is not made")
	}
}

// Configuration is read for the paths it names, through links.
func TestSettings(t *testing.T) {
	w := newWorld(t)
	w.unit("mariadb.service", "mariadb-server", "ExecStart=/usr/sbin/mariadbd")
	w.setting("mariadb", "mysqld.datadir", "/var/lib/mysql", "/etc/mysql/mariadb.conf.d/50-server.cnf", 20)
	w.setting("mariadb", "mysqld.log-bin", "/var/log/mysql/bin.log", "/etc/mysql/mariadb.conf.d/50-server.cnf", 21)
	w.setting("mariadb", "mysqld.ssl-key", "/etc/mysql/key.pem", "/etc/mysql/mariadb.conf.d/50-server.cnf", 22)
	w.setting("mariadb", "mysqld.tmpdir", "/tmp", "/etc/mysql/mariadb.conf.d/50-server.cnf", 23)
	w.link("/var/lib/mysql", "/big/mysql")
	w.file("/big/mysql/ibdata1", "x")
	w.file("/big/other", "x")
	w.file("/etc/mysql/key.pem", "no key at all")
	w.file("/etc/mysql/mariadb.conf.d/60-x.cnf", "x")
	w.file("/var/log/mysql/bin.log.000001", "x")
	r := w.split()
	r.want(`
		volume /big/mysql
		volume /big/mysql/ibdata1
		secret /etc/mysql/key.pem
		config /etc/mysql/mariadb.conf.d/60-x.cnf
		ephemeral /var/log/mysql
	`)
	c := r.why("/big/mysql")
	if c.By != "profile mariadb" || c.Evidence[0].Line != 20 || len(c.Evidence) != 2 {
		t.Errorf("%+v", c)
	}
}

// A credential makes a secret of configuration, of code, never of a package's
// own file; what nobody reads is in no image either.
func TestCredentials(t *testing.T) {
	w := newWorld(t)
	w.unit("app.service", "app", "ExecStart=/usr/bin/app")
	w.file("/etc/app/app.conf", "user = x\npassword = Zx81Qq20Lm\n")
	w.file("/etc/app/shipped.conf", "password = Zx81Qq20Lm\n", pkg("app", catalog.ConffileSame))
	w.file("/usr/local/bin/job", "#!/bin/sh\nmysql -u x -pZx81Qq20Lm site\n", mode(0o755))
	w.file("/usr/share/app/x.php", "<?php $password = 'Zx81Qq20Lm';\n", pkg("app", catalog.Changed))
	w.file("/etc/unknown.conf", "password = Zx81Qq20Lm\n")
	w.file("/etc/systemd/system/app.service", "[Service]\nEnvironment=DB_PASSWORD=Zx81Qq20Lm\n")
	w.file("/srv/data/notes.txt", "password = Zx81Qq20Lm\n")
	r := w.split()
	r.want(`
		secret /etc/app/app.conf
		image /etc/app/shipped.conf
		secret /usr/local/bin/job
		secret /usr/share/app/x.php
		secret /etc/unknown.conf
		drop /etc/systemd/system/app.service
		volume /srv/data/notes.txt
	`)
	if c := r.why("/etc/app/app.conf"); c.Serves != "app.service" || c.Evidence[0].Line != 2 {
		t.Errorf("%+v", c)
	}
	if c := r.why("/etc/unknown.conf"); c.Confidence != claim.Low {
		t.Errorf("%+v", c)
	}
	prints := map[string]string{}
	for _, c := range r.split.Credentials {
		prints[string(c.Path)] = c.Fingerprint
	}
	if f := prints["/etc/app/app.conf"]; len(f) != 12 || f != prints["/etc/unknown.conf"] {
		t.Errorf("equal credentials have other fingerprints: %v", prints)
	}
	if prints["/etc/systemd/system/app.service"] == "" || prints["/srv/data/notes.txt"] != "" {
		t.Errorf("credentials listed: %v", prints)
	}
	if text := fmt.Sprintf("%+v %+v", r.split, r.claims); strings.Contains(text, "Zx81Qq20Lm") {
		t.Error("a credential is in the hand-off or in a claim")
	}
}

// Other file systems were not read: shares stay, kernel's ones go, and the loss
// of a local one is not silent.
func TestFileSystems(t *testing.T) {
	w := newWorld(t)
	w.dir("/proc", mounted("proc"))
	w.dir("/media/nfs", mounted("nfs4"))
	w.dir("/var/lib/db", mounted("xfs"))
	w.dir("/run/x", mounted("tmpfs"))
	w.dir("/old", mounted("ext4"))
	w.dir("/gone", mounted("ext4"))
	w.file("/srv/media/hidden", "x")
	w.dir("/srv/scratch")
	w.dir("/srv/disk")
	w.file("/srv/secret", "x", problem("permission denied"))
	w.file("/srv/ok", "x", problem("permission denied"))
	w.fact(facts.KindFstab, "1", facts.Fstab{Spec: "10.0.0.1:/m", Target: "/srv/media", FSType: "nfs4", Source: facts.Source{Path: "/etc/fstab", Line: 4}})
	w.fact(facts.KindFstab, "2", facts.Fstab{Spec: "tmpfs", Target: "/srv/scratch", FSType: "tmpfs"})
	w.fact(facts.KindFstab, "3", facts.Fstab{Spec: "/dev/sdb", Target: "/srv/disk", FSType: "ext4"})
	w.yaml = "accept:\n- path: /old\n- path: /srv/ok\npaths:\n- {path: /gone, class: drop}\n"
	r := w.split()
	r.want(`
		drop /proc
		share /media/nfs
		unreadable /var/lib/db
		ephemeral /run/x
		unreadable /old
		drop /gone
		share /srv/media
		share /srv/media/hidden
		ephemeral /srv/scratch
		volume /srv/disk
		unreadable /srv/secret
		unreadable /srv/ok
	`)
	want := []hostpath.Path{"/srv/secret", "/var/lib/db"}
	if !slices.Equal(r.split.Unreadable, want) || r.split.UnreadableCount != 2 || len(r.split.Accepted) != 2 {
		t.Errorf("unreadable %v (%d), accepted %v", r.split.Unreadable, r.split.UnreadableCount, r.split.Accepted)
	}
	_, err := w.try(context.Background())
	var inc *pipeline.Incomplete
	if !errors.As(err, &inc) || len(inc.Because) != 2 || !strings.Contains(inc.Because[0], "/srv/secret") {
		t.Errorf("error: %v", err)
	}
}

// What statelift.yaml says and the host has not is an error with the line.
func TestDecisionsThatDoNotFit(t *testing.T) {
	for yaml, want := range map[string]string{
		"paths:\n- {path: /nowhere, class: drop}\n":                                "statelift.yaml:2: /nowhere is not on the host",
		"paths:\n- {path: '/nowhere/*', class: drop}\n":                            "statelift.yaml:2: nothing on the host matches",
		"paths:\n- {path: /srv/f, class: volume}\n":                                "statelift.yaml:2: /srv/f is no directory",
		"paths:\n- {path: /srv, class: share}\n":                                   "statelift.yaml:2: /srv is on no network share",
		"units:\n- {unit: nope.service, keep: true}\n":                             "statelift.yaml:2: the host has no unit nope.service",
		"rules: {off: [host/nope]}\n":                                              `there is no rule "host/nope"`,
		"profiles: {off: [nope]}\n":                                                `there is no profile "nope"`,
		"profiles: {use: {app.service: nope}}\n":                                   `there is no profile "nope"`,
		"paths:\n- {path: /srv, class: volume}\n- {path: /srv/f, class: volume}\n": "",
	} {
		w := newWorld(t)
		w.file("/srv/f", "x")
		w.unit("app.service", "", "ExecStart=/usr/bin/app")
		w.yaml = yaml
		w.write()
		_, err := w.try(context.Background())
		var input *pipeline.InputError
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", yaml, err)
		case want != "" && (!errors.As(err, &input) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", yaml, err)
		}
	}
}

// The user overrules, and the claim names the line.
func TestDecisions(t *testing.T) {
	w := newWorld(t)
	w.unit("app.service", "", "ExecStart=/usr/bin/app", "StateDirectory=app")
	w.unit("rsyslog.service", "rsyslog", "ExecStart=/usr/sbin/rsyslogd")
	w.file("/var/lib/app/x", "1")
	w.file("/var/lib/app/keep/x", "1")
	w.file("/etc/rsyslog.d/x.conf", "1", pkg("rsyslog", catalog.ConffileChanged))
	w.file("/boot/x", "1")
	w.yaml = `paths:
- {path: /var/lib/app, class: ephemeral, reason: only a cache}
- {path: /boot/x, class: image}
units:
- {unit: rsyslog.service, keep: true}
rules: {off: [etc/host-services]}
`
	r := w.split()
	r.want("ephemeral /var/lib/app/x\nimage /boot/x\nconfig /etc/rsyslog.d/x.conf")
	c := r.why("/var/lib/app/x")
	if c.By != "statelift.yaml:2" || c.Reason != "only a cache" || c.Serves != "app.service" {
		t.Errorf("%+v", c)
	}
}
