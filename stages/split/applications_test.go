package split_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

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
	w.file("/opt/app/modules/a/x.js", "x")
	w.file("/opt/app/modules/a/kept/one", "x", owner(50))
	w.dir("/opt/app/modules/a/kept", owner(50))
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
		image /opt/app/modules/a/x.js
		volume /opt/app/modules/a/kept/one
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

// Configuration of no known format is read for the directories it names.
func TestNamedInConfiguration(t *testing.T) {
	w := newWorld(t)
	w.unit("app.service", "", "ExecStart=/opt/app/bin/server -c /etc/app.yaml")
	w.file("/opt/app/bin/server", "\x7fELF", mode(0o755))
	w.file("/opt/app/conf/app.ini", "; data = /srv/no\ndata = /opt/app/stuff\nurl = https://x.example/srv/no\n")
	w.file("/opt/app/stuff/a.js", "x")
	w.file("/etc/app.yaml", "paths:\n  storage: \"/srv/blue\"\n  root: /srv/code\n")
	w.file("/srv/blue/hook.sh", "x", mode(0o755))
	w.file("/srv/code/x.py", "x")
	w.file("/srv/no/x", "x")
	r := w.split()
	r.want(`
		volume /opt/app/stuff/a.js
		volume /srv/blue/hook.sh
		image /srv/code/x.py
		volume /srv/no
	`)
	if c := r.why("/opt/app/stuff"); c.Evidence[0].Path != "/opt/app/conf/app.ini" || c.Evidence[0].Line != 2 || c.Confidence != claim.High {
		t.Errorf("%+v", c)
	}
	if c := r.why("/srv/blue"); c.Evidence[0].Line != 2 || c.Serves != "app.service" {
		t.Errorf("%+v", c)
	}
	if c := r.why("/srv/no"); c.Serves != "" {
		t.Errorf("%+v", c)
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
	for _, p := range []string{"/var/lib/app/blue", "/var/lib/private/app/blue", "/srv/blue", "/srv/shared", "/var/spool/app", "/var/lib/by-env"} {
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
		image /etc/init.d/gate
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
	w.unit("redis-server.service", "redis-server", "ExecStart=/usr/bin/redis-server /etc/redis.conf")
	w.file("/etc/redis.conf", "# pass\nuser worker on >blue\n")
	w.facts = append(w.facts, fact{facts.KindSetting, "redis", facts.Setting{Profile: "redis", Key: "user", Value: facts.Redacted, Secret: true, Source: facts.Source{Path: "/etc/redis.conf", Line: 2}}})
	w.file("/etc/systemd/system/app.service", "[Service]\nEnvironment=DB_PASSWORD=Zx81Qq20Lm\n")
	w.file("/srv/data/notes.txt", "password = Zx81Qq20Lm\n")
	r := w.split()
	r.want(`
		secret /etc/app/app.conf
		image /etc/app/shipped.conf
		secret /usr/local/bin/job
		secret /usr/share/app/x.php
		secret /etc/unknown.conf
		secret /etc/redis.conf
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

// A service without a profile keeps its state where names and packages say.
func TestConventions(t *testing.T) {
	w := newWorld(t)
	w.unit("mailer.service", "mailer", "ExecStart=/usr/sbin/mailer")
	w.unit("own.service", "", "ExecStart=/usr/local/bin/own")
	w.facts[len(w.facts)-1].data = facts.Unit{Name: "own.service", Type: "service", Enabled: true, Path: "/usr/lib/systemd/system/own.service"}
	w.dir("/var/spool/queue", pkg("mailer", catalog.Unchecked))
	w.dir("/var/lib/mailer-data", pkg("mailer", catalog.Unchecked))
	w.dir("/var/lib/mailer")
	w.dir("/var/cache/mailer")
	w.dir("/var/lib/other", pkg("other", catalog.Unchecked))
	w.file("/usr/lib/systemd/system/own.service", "[Service]\n")
	w.file("/var/lib/private/gone/x", "x")
	r := w.split()
	r.want(`
		volume /var/spool/queue
		volume /var/lib/mailer-data
		volume /var/lib/mailer
		ephemeral /var/cache/mailer
		image /var/lib/other
		drop /usr/lib/systemd/system/own.service
		image /var/lib/private
		volume /var/lib/private/gone/x
	`)
	for _, p := range []string{"/var/spool/queue", "/var/lib/mailer"} {
		if c := r.why(p); c.Serves != "mailer.service" || c.Confidence != claim.Medium {
			t.Errorf("%s: %+v", p, c)
		}
	}
}
