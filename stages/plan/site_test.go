package plan

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/tree"
)

var update = flag.Bool("update", false, "write the golden files anew")

// site is a host like many: a web server with a blog in PHP, its database, a
// daemon of the administrator's own, a script, jobs, a share.
func site() *testHost {
	at := func(p hostpath.Path, line int) facts.Source { return facts.Source{Path: p, Line: line} }
	return &testHost{
		os: facts.OS{ID: "debian", VersionID: "12", PrettyName: "Debian GNU/Linux 12 (bookworm)", Hostname: "atlas", Architecture: "amd64"},
		users: []facts.User{
			{Name: "root", Home: "/root", Shell: "/bin/bash"},
			{Name: "www-data", UID: 33, GID: 33, Home: "/var/www", Shell: "/usr/sbin/nologin"},
			{Name: "mysql", UID: 106, GID: 113, Home: "/nonexistent", Shell: "/bin/false"},
			{Name: "tally", UID: 999, GID: 998, Home: "/var/lib/tallyd", Shell: "/usr/sbin/nologin"},
			{Name: "gatelog", UID: 997, GID: 997, Home: "/var/lib/gatelog", Shell: "/usr/sbin/nologin"},
			{Name: "marta", UID: 1000, GID: 1000, Home: "/home/marta", Shell: "/bin/bash"},
		},
		groups:   []facts.Group{{Name: "root"}, {Name: "adm", GID: 4, Members: []string{"gatelog"}}, {Name: "www-data", GID: 33}, {Name: "mysql", GID: 113}, {Name: "tally", GID: 998}, {Name: "gatelog", GID: 997}, {Name: "marta", GID: 1000}},
		packages: []string{"apache2", "mariadb-server", "wordpress", "cron", "openssh-server"},
		claims: []claim.Claim{
			{ID: 2, Class: claim.Volume, Reach: claim.Tree, Path: "/var/lib/mysql", Reason: "the data directory of the database", By: "profile mariadb", Serves: "mariadb.service"},
			{ID: 3, Class: claim.Volume, Reach: claim.Tree, Path: "/var/lib/wordpress/wp-content", Reason: "uploads, plugins and themes", By: "profile wordpress"},
			{ID: 4, Class: claim.Volume, Reach: claim.Tree, Path: "/var/lib/tallyd", Reason: "StateDirectory=tallyd", By: "rule unit/state", Serves: "tallyd.service"},
			{ID: 5, Class: claim.Volume, Reach: claim.Tree, Path: "/var/lib/gatelog", Reason: "GATELOG_DIR of the script", By: "rule script/paths", Serves: "gatelog.service"},
			{ID: 6, Class: claim.Volume, Reach: claim.Tree, Path: "/srv/archive", Reason: "looks like data", Confidence: claim.Low, By: "rule places/srv"},
			{ID: 7, Class: claim.Config, Reach: claim.Tree, Path: "/etc/apache2", Reason: "configuration of the web server", By: "profile apache2", Serves: "apache2.service"},
			{ID: 8, Class: claim.Config, Reach: claim.Tree, Path: "/etc/mysql", Reason: "configuration of the database", By: "profile mariadb", Serves: "mariadb.service"},
			{ID: 9, Class: claim.Secret, Reach: claim.Exact, Path: "/etc/wordpress/config-blog.php", Reason: "holds DB_PASSWORD", By: "profile wordpress"},
			{ID: 10, Class: claim.Secret, Reach: claim.Exact, Path: "/etc/tallyd/token.env", Reason: "holds TALLY_TOKEN", By: "rule secret/key", Serves: "tallyd.service"},
			{ID: 11, Class: claim.Config, Reach: claim.Exact, Path: "/etc/default/tallyd", Reason: "EnvironmentFile=", By: "rule unit/environment", Serves: "tallyd.service"},
			{ID: 12, Class: claim.Object, Reach: claim.Glob, Path: "/var/backups/*.sql.gz", Reason: "old dumps", By: "rule places/dumps"},
			{ID: 13, Class: claim.Secret, Reach: claim.Exact, Path: "/etc/mysql/dump.cnf", Reason: "holds a password", By: "rule secret/key"},
			{ID: 14, Class: claim.Volume, Reach: claim.Tree, Path: "/home/marta", Reason: "a person's files", By: "rule places/home"},
			{ID: 15, Class: claim.Config, Reach: claim.Exact, Path: "/etc/default/gatelog", Reason: "sourced by the script", By: "rule script/reads", Serves: "gatelog.service"},
			{ID: 16, Class: claim.Secret, Reach: claim.Exact, Path: "/etc/ssl/private/blog.key", Reason: "SSLCertificateKeyFile", By: "profile apache2", Serves: "apache2.service"},
		},
		items: []item{
			{path: "/etc/hosts", class: claim.Drop, content: "127.0.0.1 localhost\n127.0.1.1 atlas.example.org atlas\n192.0.2.10 blog.example.org\n# the relay moved\n10.20.0.8 mailrelay.example.org mailrelay\n::1 localhost ip6-localhost\nff02::1 ip6-allnodes\n"},
			{path: "/etc/network/interfaces", class: claim.Drop, content: "iface ens3 inet static\n\taddress 192.0.2.10/24\n\tgateway 192.0.2.1\n"},
			{path: "/etc/localtime", target: "/usr/share/zoneinfo/Europe/Stockholm", class: claim.Image},
			{path: "/etc/apache2/ports.conf", class: claim.Config, claim: 7, content: "Listen 80\n"},
			{path: "/etc/apache2/sites-available/blog.conf", class: claim.Config, claim: 7, content: "<VirtualHost *:80>\n"},
			{path: "/etc/apache2/sites-enabled/blog.conf", target: "../sites-available/blog.conf"},
			{path: "/etc/ssl/private/blog.key", class: claim.Secret, claim: 16, mode: 0o600, content: "not a key\n"},
			{path: "/etc/mysql/mariadb.conf.d/60-tuning.cnf", class: claim.Config, claim: 8, content: "[mariadbd]\n"},
			{path: "/etc/mysql/dump.cnf", class: claim.Secret, claim: 13, mode: 0o600, content: "[client]\npassword = x\n"},
			{path: "/etc/wordpress/config-blog.php", class: claim.Secret, claim: 9, mode: 0o640, gid: 33, content: "<?php define('DB_PASSWORD', 'x');\n"},
			{path: "/etc/tallyd/token.env", class: claim.Secret, claim: 10, mode: 0o640, gid: 998, content: "TALLY_TOKEN=token-not-to-be-seen\n"},
			{path: "/etc/default/tallyd", class: claim.Config, claim: 11, content: "TALLY_ADDRESS=127.0.0.1\nTALLY_PORT=8094\nTALLY_OPTIONS=\"-v -x\"\n"},
			{path: "/etc/default/gatelog", class: claim.Config, claim: 15, content: "GATELOG_PORT=601\n"},
			{path: "/etc/init.d/gatelog", mode: 0o755, content: "#!/bin/sh\n. /etc/default/gatelog\n"},
			{path: "/usr/local/sbin/site-dump", mode: 0o755, content: "#!/bin/bash\n# dumps\nmariadb-dump --defaults-extra-file=/etc/mysql/dump.cnf wordpress |\n\tgzip -6 >/var/backups/.wordpress.tmp\nmv /var/backups/.wordpress.tmp \"/var/backups/wordpress-$day.sql.gz\"\n"},
			{path: "/usr/local/sbin/gatelogd", mode: 0o755, content: "\x7fELF", xattrs: []tree.Xattr{{Name: "security.capability", Value: []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}},
			{path: "/usr/share/wordpress/wp-includes/feed.php", pkg: "wordpress", state: "changed", content: "<?php\n"},
			{path: "/usr/share/wordpress/wp-cron.php", pkg: "wordpress", content: "<?php\n"},
			{path: "/usr/bin/mariadb-dump", mode: 0o755, pkg: "mariadb-client", content: "\x7fELF"},
			{path: "/var/lib/mysql", class: claim.Volume, claim: 2, mode: 0o755, uid: 106, gid: 113},
			{path: "/var/lib/mysql/ibdata1", class: claim.Volume, claim: 2, mode: 0o660, uid: 106, gid: 113, size: 3 << 30, content: "x"},
			{path: "/var/lib/wordpress/wp-content", class: claim.Volume, claim: 3},
			{path: "/var/lib/wordpress/wp-content/uploads", class: claim.Volume, claim: 3, uid: 33, gid: 33},
			{path: "/var/lib/wordpress/wp-content/uploads/press", class: claim.Volume, claim: 3, target: "/srv/media/press"},
			{path: "/var/lib/tallyd", class: claim.Volume, claim: 4, mode: 0o750, uid: 999, gid: 998},
			{path: "/var/lib/gatelog", class: claim.Volume, claim: 5, mode: 0o750, uid: 997, gid: 997},
			{path: "/srv/archive", class: claim.Volume, claim: 6},
			{path: "/srv/archive/a.csv", class: claim.Volume, claim: 6, content: "a;b\n"},
			{path: "/home/marta", class: claim.Volume, claim: 14, mode: 0o750, uid: 1000, gid: 1000},
			{path: "/var/backups", mode: 0o755},
			{path: "/var/backups/wordpress-2025-06-01.sql.gz", class: claim.Object, claim: 12, content: "gz"},
		},
		units: []facts.Unit{
			unit("apache2.service", true, "Unit.Wants=mariadb.service", "Service.Type=forking", "Service.ExecStart=/usr/sbin/apachectl start", "Service.KillSignal=SIGWINCH"),
			unit("mariadb.service", true, "Service.Type=notify", "Service.User=mysql", "Service.Group=mysql", "Service.ExecStart=/usr/sbin/mariadbd $MYSQLD_OPTS", "Service.ExecStartPre=/bin/sh -c \"systemctl unset-environment X\"", "Service.TimeoutStopSec=300"),
			unit("tallyd.service", true, "Service.User=tally", "Service.Group=tally", "Service.EnvironmentFile=/etc/default/tallyd", "Service.EnvironmentFile=-/etc/tallyd/token.env", "Service.EnvironmentFile=-/etc/tallyd/none",
				"Service.ExecStart=/usr/local/bin/tallyd -l ${TALLY_ADDRESS}:${TALLY_PORT} $TALLY_OPTIONS", "Service.StateDirectory=tallyd", "Service.CacheDirectory=tallyd", "Service.RuntimeDirectory=tallyd", "Service.TimeoutStopSec=20"),
			unit("ssh.service", true, "Service.ExecStart=/usr/sbin/sshd -D"),
			unit("systemd-logind.service", false, "Service.ExecStart=/lib/systemd/systemd-logind"),
			unit("idle.service", false, "Service.ExecStart=/usr/bin/idle"),
			unit("report.timer", true, "Timer.OnCalendar=Mon 06:30"),
			unit("report.service", false, "Service.Type=oneshot", "Service.User=marta", "Service.ExecStart=/opt/report/bin/report"),
			unit("boot.service", true, "Service.Type=oneshot", "Service.ExecStart=/usr/local/sbin/boot"),
		},
		scripts: []facts.Script{{
			Name: "gatelog", Path: "/etc/init.d/gatelog", StartLevels: []string{"2", "3"}, Daemon: "/usr/local/sbin/gatelogd", User: "gatelog",
			PIDFile: "/run/gatelog/gatelogd.pid", Paths: map[string]hostpath.Path{"GATELOG_DIR": "/var/lib/gatelog"}, Reads: []hostpath.Path{"/etc/default/gatelog"},
		}},
		crons: []facts.Cron{
			{Name: "cron.d/site:5", Schedule: "15 2 * * *", User: "root", Command: "/usr/local/sbin/site-dump >>/var/log/site-dump.log 2>&1", Env: map[string]string{"SHELL": "/bin/bash", "MAILTO": "root"}, Source: at("/etc/cron.d/site", 5)},
			{Name: "cron.d/site:6", Schedule: "*/10 * * * *", User: "www-data", Command: "php /usr/share/wordpress/wp-cron.php", Source: at("/etc/cron.d/site", 6)},
			{Name: "crontabs/marta:2", Schedule: "0 3 * * 7", User: "marta", Command: "tar -czf $HOME/documents.tar.gz -C $HOME documents", Source: at("/var/spool/cron/crontabs/marta", 2)},
			{Name: "cron.daily/logrotate", Schedule: "25 6 * * *", User: "root", Command: "/etc/cron.daily/logrotate", Package: "logrotate", Source: at("/etc/cron.daily/logrotate", 0)},
			{Name: "cron.d/boot:1", Schedule: "@reboot", User: "root", Command: "/usr/local/sbin/warm", Source: at("/etc/cron.d/boot", 1)},
		},
		fstab: []facts.Fstab{
			{Spec: "10.20.0.5:/export/media", Target: "/srv/media", FSType: "nfs4", Options: []string{"rw", "noatime", "_netdev", "nofail"}, Source: at("/etc/fstab", 4)},
			{Spec: "//files.example.org/scans", Target: "/srv/scans", FSType: "cifs", Options: []string{"credentials=/root/.smb"}, Source: at("/etc/fstab", 5)},
			{Spec: "tmpfs", Target: "/srv/scratch", FSType: "tmpfs", Source: at("/etc/fstab", 6)},
		},
		settings: []facts.Setting{
			{Profile: "wordpress", Key: "DB_HOST", Value: "localhost", Source: at("/etc/wordpress/config-blog.php", 6)},
			{Profile: "wordpress", Key: "DB_PASSWORD", Value: facts.Redacted, Secret: true, Source: at("/etc/wordpress/config-blog.php", 5)},
			{Profile: "apache2", Key: "VirtualHost.ServerName", Value: "blog.example.org", Source: at("/etc/apache2/sites-available/blog.conf", 2)},
			{Profile: "apache2", Key: "VirtualHost.ProxyPass", Value: "/tally/ http://127.0.0.1:8094/", Source: at("/etc/apache2/sites-available/blog.conf", 31)},
			{Profile: "apache2", Key: "VirtualHost.Alias", Value: "/archive /srv/archive", Source: at("/etc/apache2/sites-available/blog.conf", 20)},
		},
		listeners: []facts.Listener{
			{Protocol: "tcp", Port: 80, Unit: "apache2.service", Profile: "apache2", Source: at("/etc/apache2/ports.conf", 1)},
			{Protocol: "tcp", Port: 443, Unit: "apache2.service", Profile: "apache2", Source: at("/etc/apache2/ports.conf", 3)},
			{Protocol: "unix", Address: "/run/mysqld/mysqld.sock", Unit: "mariadb.service", Profile: "mariadb"},
			{Protocol: "tcp", Address: "127.0.0.1", Port: 3306, Unit: "mariadb.service", Profile: "mariadb"},
			{Protocol: "tcp", Address: "127.0.0.1", Port: 8094, Unit: "tallyd.service", Source: at("/etc/default/tallyd", 3)},
			{Protocol: "tcp", Port: 601, Unit: "gatelog.service", Source: at("/etc/init.d/gatelog", 2)},
		},
		split: handoff.Split{
			Volumes: []handoff.VolumeRoot{
				{Path: "/home/marta", Entries: 1, Claim: 14, UID: 1000, GID: 1000, Mode: 0o750, Confidence: claim.High, Reason: "a person's files"},
				{Path: "/srv/archive", Entries: 2, Files: 1, Bytes: 4, Claim: 6, Mode: 0o755, Confidence: claim.Low, Reason: "looks like data"},
				{Path: "/var/lib/gatelog", Entries: 1, Claim: 5, Serves: []string{"gatelog.service"}, UID: 997, GID: 997, Mode: 0o750, Confidence: claim.High, Reason: "GATELOG_DIR of the script"},
				{Path: "/var/lib/mysql", Entries: 2, Files: 1, Bytes: 3 << 30, Claim: 2, Serves: []string{"mariadb.service"}, UID: 106, GID: 113, Mode: 0o755, Confidence: claim.High, Reason: "the data directory of the database"},
				{Path: "/var/lib/tallyd", Entries: 1, Claim: 4, Serves: []string{"tallyd.service"}, UID: 999, GID: 998, Mode: 0o750, Confidence: claim.High, Reason: "StateDirectory=tallyd"},
				{Path: "/var/lib/wordpress/wp-content", Entries: 3, Claim: 3, Mode: 0o755, Confidence: claim.High, Reason: "uploads, plugins and themes"},
			},
			Ephemeral: []handoff.EphemeralDir{
				{Path: "/run/mysqld", UID: 106, Mode: 0o755, Serves: []string{"mariadb.service"}, Reason: "the socket of the database"},
				{Path: "/var/log/apache2", GID: 4, Mode: 0o750, Serves: []string{"apache2.service"}, Reason: "logs"},
				{Path: "/var/cache/tallyd", UID: 999, GID: 998, Mode: 0o755, Serves: []string{"tallyd.service"}, Reason: "CacheDirectory=tallyd"},
			},
			Balance: handoff.Balance{Classes: []handoff.ClassTally{{Class: claim.Image, Files: 4, Bytes: 1000}}},
		},
		profiles: []profile.Profile{
			{
				Name: "apache2", Title: "Apache", Recognise: profile.Recognise{Units: []string{"apache2"}},
				Run: profile.Run{
					Command: []string{"{exec}", "-D", "FOREGROUND"}, StartsAsRoot: true, User: "www-data", Capabilities: []string{"NET_BIND_SERVICE", "SETUID", "SETGID"},
					StopSignal: "SIGWINCH", Ready: &handoff.Probe{Port: 80, Period: 10}, LogLinks: map[string]string{"/var/log/apache2/error.log": "/dev/stderr"},
					Runtime: []profile.Runtime{{Path: "/run/apache2", User: "root", Group: "root", Mode: "0755"}},
				},
				Data: profile.Data{Writers: "many", School: handoff.InCluster},
			},
			{
				Name: "mariadb", Title: "MariaDB", Recognise: profile.Recognise{Units: []string{"mariadb"}},
				Run: profile.Run{
					Command: []string{"{exec}", "{args}", "--user={user}", "--bind={setting:bind-address}"}, User: "mysql", Loopback: true,
					Ready:     &handoff.Probe{Exec: []string{"mysqladmin", "--socket={setting:socket|/run/mysqld/mysqld.sock}", "ping"}},
					Resources: handoff.Resources{CPU: 500, Memory: 512 << 20, MemoryLimit: 2 << 30},
				},
				Data: profile.Data{Writers: "one", Check: []string{"mysqlcheck"}, Outside: "a managed database takes a dump", School: handoff.InCluster},
			},
			{
				Name: "wordpress", Title: "WordPress", Recognise: profile.Recognise{Packages: []string{"wordpress"}},
				Run: profile.Run{PartOf: []string{"apache2", "php-fpm"}, Uses: []string{"mariadb"}},
			},
		},
		rules: profile.Rules{Units: []profile.UnitRule{
			{Name: "ssh", Units: []string{"ssh.service"}, Reason: "remote login", File: "units"},
			{Name: "logs", Units: []string{"logrotate.service"}, Reason: "logs of the host", File: "units"},
			{Name: "systemd", Units: []string{"systemd-*.service"}, Reason: "the host's own", File: "units"},
		}},
	}
}

func TestSite(t *testing.T) {
	pl, text, err := site().plan(t)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "site.yaml")
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("plan.yaml (-want +got; go test -update writes it anew):\n%s", diff)
	}
	if strings.Contains(text, "token-not-to-be-seen") {
		t.Error("a credential is in plan.yaml")
	}

	web := workload(t, pl, "apache2")
	var units []string
	for _, c := range web.Containers {
		units = append(units, c.Unit)
	}
	if diff := cmp.Diff([]string{"apache2.service", "mariadb.service", "tallyd.service"}, units); diff != "" {
		t.Errorf("containers of the Pod (-want +got):\n%s", diff)
	}
	if web.Kind != handoff.StatefulSet || web.GraceSeconds != 300 || !web.LowPorts || !strings.Contains(web.WhyTogether, "127.0.0.1:8094") || !strings.Contains(web.WhyTogether, "DB_HOST=localhost") {
		t.Errorf("apache2: %s, %d s, low ports %v, together since %s", web.Kind, web.GraceSeconds, web.LowPorts, web.WhyTogether)
	}
	tally := container(t, pl, "tallyd.service")
	if diff := cmp.Diff([]string{"/usr/local/bin/tallyd", "-l", "$(TALLY_ADDRESS):$(TALLY_PORT)", "-v", "-x"}, tally.Command); diff != "" {
		t.Errorf("command of tallyd (-want +got):\n%s", diff)
	}
	token := slices.IndexFunc(tally.Env, func(e handoff.Env) bool { return e.Name == "TALLY_TOKEN" })
	if token < 0 || !tally.Env[token].Secret || tally.Env[token].Value != "" {
		t.Errorf("TALLY_TOKEN is not taken from a Secret: %+v", tally.Env)
	}
	if db := container(t, pl, "mariadb.service"); db.UID != 106 || db.GID != 113 || !slices.Equal(db.Command, []string{"/usr/sbin/mariadbd", "--user=mysql"}) || len(db.Before) > 0 {
		t.Errorf("mariadb: %d:%d %q before %q", db.UID, db.GID, db.Command, db.Before)
	}
	if gate := container(t, pl, "gatelog.service"); !slices.Contains(gate.Capabilities, "NET_BIND_SERVICE") || gate.Command[0] != "/bin/sh" || !slices.Contains(gate.Command, "start") {
		t.Errorf("gatelog: %q with %q", gate.Command, gate.Capabilities)
	}
	for path, want := range map[hostpath.Path]struct {
		owner string
		seed  bool
		gib   int64
	}{
		"/var/lib/mysql": {"apache2", true, 4}, "/var/lib/wordpress/wp-content": {"apache2", true, 1}, "/var/lib/tallyd": {"apache2", true, 1},
		"/var/lib/gatelog": {"gatelog", true, 1}, "/srv/archive": {"apache2", true, 1}, "/home/marta": {"marta-tar", true, 1}, "/var/backups": {"site-dump", false, 1},
	} {
		if v := volume(t, pl, path); v.Owner != want.owner || v.Seed != want.seed || v.Request != want.gib<<30 || v.AccessMode != "ReadWriteOnce" {
			t.Errorf("volume %s: owner %q, seed %v, %d bytes, %s", path, v.Owner, v.Seed, v.Request, v.AccessMode)
		}
	}
	if job := workload(t, pl, "wp-cron"); job.Near != "apache2" || job.Schedule != "*/10 * * * *" || job.TimeZone != "Europe/Stockholm" {
		t.Errorf("wp-cron: near %q, %q, %q", job.Near, job.Schedule, job.TimeZone)
	}
	if job := workload(t, pl, "marta-tar"); job.Schedule != "0 3 * * 0" {
		t.Errorf("marta-tar at %q", job.Schedule)
	}
	if job := workload(t, pl, "report"); job.Kind != handoff.CronJob || job.Schedule != "30 6 * * 1" || job.Containers[0].UID != 1000 {
		t.Errorf("report: %s at %q as %d", job.Kind, job.Schedule, job.Containers[0].UID)
	}
	wantOut := map[string]string{
		"ssh.service": "rule units/ssh", "systemd-logind.service": "rule units/systemd", "idle.service": "unit/static", "boot.service": "unit/oneshot",
		"cron:cron.daily/logrotate": "rule units/logs", "cron:cron.d/boot:1": "cron/reboot",
	}
	if diff := cmp.Diff(wantOut, leftOut(pl)); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	aliases := []handoff.HostAlias{
		{IP: "127.0.0.1", Names: []string{"blog.example.org"}, Source: facts.Source{Path: "/etc/hosts", Line: 3}},
		{IP: "10.20.0.8", Names: []string{"mailrelay.example.org", "mailrelay"}, Source: facts.Source{Path: "/etc/hosts", Line: 5}},
	}
	if diff := cmp.Diff(aliases, pl.HostAliases); diff != "" {
		t.Errorf("host aliases (-want +got):\n%s", diff)
	}
	if len(pl.Shares) != 2 || !slices.Equal(pl.Shares[0].Users, []string{"apache2"}) && !slices.Contains(pl.Shares[0].Users, "apache2") || !question(pl, pl.Shares[1].Name) {
		t.Errorf("shares: %+v", pl.Shares)
	}
	if diff := cmp.Diff([]hostpath.Path{"/usr/share/wordpress/wp-includes/feed.php"}, pl.Patched); diff != "" {
		t.Errorf("patched (-want +got):\n%s", diff)
	}
	for _, id := range []string{"boot-boot", "foreground-gatelog"} {
		if !question(pl, id) {
			t.Errorf("no question %s", id)
		}
	}
}

func TestSiteDecided(t *testing.T) {
	h := site()
	h.decisions = decisions.PlanPart{
		File: "statelift.yaml", Name: "shop", Namespace: "prod",
		Units:     []decisions.Unit{{Unit: "gatelog.service", LeaveOut: true, Reason: "the doors are gone", Line: 4}, {Unit: "idle.service", Keep: true, Line: 5}},
		Workloads: []decisions.Workload{{Name: "db", Units: []string{"mariadb.service"}, Split: true, Line: 7}},
		Volumes:   []decisions.Volume{{Path: "/var/lib/mysql", Name: "database", Size: 20 << 30, StorageClass: "fast", Line: 9}},
		Answers:   map[string]string{},
	}
	pl, _, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	if pl.Name != "shop" || pl.Namespace != "prod" {
		t.Errorf("name %q in %q", pl.Name, pl.Namespace)
	}
	if got := leftOut(pl)["gatelog.service"]; got != "statelift.yaml:4" {
		t.Errorf("gatelog left out by %q", got)
	}
	container(t, pl, "idle.service")
	if db := workload(t, pl, "db"); len(db.Containers) != 1 || db.Kind != handoff.StatefulSet {
		t.Errorf("db: %+v", db)
	}
	if v := volume(t, pl, "/var/lib/mysql"); v.Name != "database" || v.Request != 20<<30 || v.Class != "fast" || v.Owner != "db" {
		t.Errorf("volume: %+v", v)
	}
}
