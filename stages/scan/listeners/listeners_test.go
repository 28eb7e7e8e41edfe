package listeners_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
	"github.com/statelift/statelift/stages/scan/listeners"
	"github.com/statelift/statelift/stages/scan/settings"
	"github.com/statelift/statelift/stages/scan/systemd"
	"github.com/statelift/statelift/stages/scan/sysv"
)

// settingsOf makes settings of "path:line key=value".
func settingsOf(lines ...string) []facts.Setting {
	var out []facts.Setting
	for _, l := range lines {
		var s facts.Setting
		place, rest, _ := strings.Cut(l, " ")
		path, line, _ := strings.Cut(place, ":")
		fmt.Sscan(line, &s.Line)
		s.Path = hostpath.Path(path)
		s.Key, s.Value, _ = strings.Cut(rest, "=")
		s.Profile = "p"
		out = append(out, s)
	}
	return out
}

func short(list []facts.Listener) []string {
	var out []string
	for _, l := range list {
		s := listeners.String(l)
		if l.Unit != "" {
			s += " of " + l.Unit
		}
		out = append(out, fmt.Sprintf("%s (%s:%d)", s, l.Path, l.Line))
	}
	return out
}

func TestDeriveFromSettings(t *testing.T) {
	tests := []struct {
		name     string
		settings []string
		want     []string
	}{
		{"apache", []string{"/p:1 Listen=80", "/p:2 Listen=443 https", "/p:3 Listen=127.0.0.1:8080", "/p:4 Listen=[::1]:81", "/p:5 Listen=[::]:80", "/p:6 ListenBacklog=5", "/p:7 VirtualHost=*:99"},
			[]string{"tcp :80 (/p:1)", "tcp :443 (/p:2)", "tcp 127.0.0.1:8080 (/p:3)", "tcp [::1]:81 (/p:4)"}},
		{"nginx", []string{"/n:1 server.listen=80 default_server", "/n:2 server.listen=[::]:80", "/n:3 server.listen=10.0.0.1", "/n:4 server.listen=unix:/run/n.sock", "/n:5 stream.server.listen=53 udp", "/n:6 server.listen=443 ssl", "/n:7 server.listen=localhost:8081"},
			[]string{"tcp :80 (/n:1)", "tcp 10.0.0.1:80 (/n:3)", "unix /run/n.sock (/n:4)", "udp :53 (/n:5)", "tcp :443 (/n:6)", "tcp localhost:8081 (/n:7)"}},
		{"php-fpm", []string{"/f:1 www.listen=/run/php/$pool.sock", "/f:2 b.listen=127.0.0.1:9000", "/f:3 c.listen=9001", "/f:4 www.listen.allowed_clients=127.0.0.1"},
			[]string{"unix /run/php/www.sock (/f:1)", "tcp 127.0.0.1:9000 (/f:2)", "tcp :9001 (/f:3)"}},
		{"mysql", []string{"/m:1 client.port=3307", "/m:2 mysqld.bind_address=127.0.0.1", "/m:3 mariadbd.port=3308", "/m:4 mysqld.socket=/run/m.sock", "/m:5 mysqld.bind_address=10.0.0.1"},
			[]string{"tcp 10.0.0.1:3308 (/m:5)", "unix /run/m.sock (/m:4)"}},
		{"mysql without a network", []string{"/m:1 mysqld.bind_address=*", "/m:2 mysqld.skip_networking=", "/m:3 client-server.socket=/run/m.sock"}, []string{"unix /run/m.sock (/m:3)"}},
		{"postgresql", []string{"/etc/postgresql/15/a/postgresql.conf:1 port=5433", "/etc/postgresql/15/a/postgresql.conf:2 unix_socket_directories=/var/run/postgresql, /tmp", "/etc/postgresql/15/a/conf.d/x.conf:1 listen_addresses=localhost, 10.0.0.1",
			"/etc/postgresql/15/b/postgresql.conf:1 port=5434", "/srv/b/postgresql.auto.conf:2 port=5435"},
			[]string{"tcp localhost:5433 (/etc/postgresql/15/a/conf.d/x.conf:1)", "tcp 10.0.0.1:5433 (/etc/postgresql/15/a/conf.d/x.conf:1)", "unix /var/run/postgresql/.s.PGSQL.5433 (/etc/postgresql/15/a/postgresql.conf:2)", "unix /tmp/.s.PGSQL.5433 (/etc/postgresql/15/a/postgresql.conf:2)",
				"tcp localhost:5435 (/srv/b/postgresql.auto.conf:2)"}},
		{"redis", []string{"/etc/redis/redis.conf:1 bind=127.0.0.1 -::1", "/etc/redis/redis.conf:2 port=6380", "/etc/redis/redis.conf:3 unixsocket=/run/redis.sock", "/etc/redis/two.conf:1 port=0", "/etc/redis/two.conf:2 tls-port=6390"},
			[]string{"tcp 127.0.0.1:6380 (/etc/redis/redis.conf:1)", "tcp [::1]:6380 (/etc/redis/redis.conf:1)", "unix /run/redis.sock (/etc/redis/redis.conf:3)", "tcp :6390 (/etc/redis/two.conf:2)"}},
		{"sshd", []string{"/etc/ssh/sshd_config:1 Port=22", "/etc/ssh/sshd_config:2 Port=2222", "/etc/ssh/sshd_config:3 ListenAddress=10.0.0.1", "/etc/ssh/sshd_config:4 ListenAddress=[::1]:23"},
			[]string{"tcp 10.0.0.1:22 (/etc/ssh/sshd_config:3)", "tcp 10.0.0.1:2222 (/etc/ssh/sshd_config:3)", "tcp [::1]:23 (/etc/ssh/sshd_config:4)"}},
		{"tomcat", []string{"/s:3 Server.Service.Connector.port=8080", "/s:1 Server.port=-1"}, []string{"tcp :8080 (/s:3)"}},
		{"nonsense", []string{"/p:1 Listen=99999", "/p:2 Listen=a b:c", "/p:3 Listen=", "/p:4 server.listen=unix:$x", "/p:5 Listen=80:80:80"}, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, short(listeners.Derive(settingsOf(tt.settings...), nil))); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
}

// watched runs the real collectors over a root, with Watch around them.
func watched(t *testing.T, root string, sources ...settings.Source) []facts.Listener {
	t.Helper()
	var out []facts.Listener
	for _, c := range listeners.Watch([]collect.Collector{systemd.Collector{}, sysv.Collector{}, settings.New(sources)}) {
		for _, f := range collecttest.Run(t, c, root) {
			if l, ok := f.Data.(facts.Listener); ok {
				if f.Kind != facts.KindListener || f.Source != l.Source {
					t.Errorf("envelope %+v", f)
				}
				out = append(out, l)
			}
		}
	}
	return out
}

func TestUnitsAndScripts(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/systemd/system/a.socket":                      "[Socket]\nListenStream=%t/a.sock\nListenStream=8000\nListenDatagram=[::1]:53\nListenStream=@abstract\nListenFIFO=/run/fifo\nListenStream=vsock::1\n[Install]\nWantedBy=sockets.target\n",
		"etc/systemd/system/sockets.target.wants/a.socket": "",
		"etc/systemd/system/b.socket":                      "[Socket]\nListenStream=9000\nAccept=yes\n",
		"etc/systemd/system/sockets.target.wants/b.socket": "",
		"etc/systemd/system/off.socket":                    "[Socket]\nListenStream=1\n[Install]\nWantedBy=sockets.target\n",
		"etc/systemd/system/tally.service":                 "[Service]\nEnvironment=HOST=127.0.0.1\nEnvironmentFile=-/etc/default/tally\nExecStart=/usr/bin/tally -l ${HOST}:${TALLY_PORT} $OPTIONS\n",
		"etc/default/tally":                                "# c\nTALLY_PORT=8094\nOPTIONS=\"--socket=/run/t.sock -p 70000 -d /x\"\n",
		"etc/systemd/system/node.service":                  "[Service]\nEnvironment=PORT=3000 DB_PORT=5432\nExecStart=/usr/bin/node server.js\n",
		"etc/systemd/system/webd.service":                  "[Service]\nEnvironment=WEB_PORT=3001\nEnvironment=WEB_HOST=127.0.0.1\nExecStart=/usr/bin/webd\n",
		"etc/systemd/system/r@.service":                    "[Service]\nExecStart=/usr/bin/r --port 1\n",
		"etc/systemd/system/x.service":                     "[Service]\nExecStart=/usr/bin/ssh -N -p 22 h\nExecStart=/usr/bin/y --host 127.0.0.1 --port 5 0.0.0.0:6 --upstream 127.0.0.1:7\nExecStart=/usr/bin/redis-server *:6379\n",
		"etc/systemd/system/conf.service":                  "[Service]\nEnvironment=F=/etc/conf.json\nExecStart=/opt/c/bin/c -config /etc/c.conf --more=${F} /opt/c/bin\n",
		"etc/c.conf":                                       "# listen = :1\n\nlisten  = 127.0.0.1:8070\nhost = 127.0.0.1\nport = 5432\nbind = \"/run/c.sock\"\nlisten_backlog 7\nbind = 10.0.0.1\nbind 127.0.0.1 -::1\n",
		"etc/conf.json":                                    "{\n \"http_listen\": \"[::1]:8071\",\n \"listenPort\": 8072,\n \"database\": \"127.0.0.1:5432\"\n}\n",
		"opt/c/bin/c":                                      "",
		"etc/init.d/gatelog":                               "#!/bin/sh\nPORT=601\nstart-stop-daemon --start --exec /usr/sbin/gatelogd -- -p \"$PORT\" -P /run/x.pid\n",
	} {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const etc = "/etc/systemd/system/"
	want := []string{
		"unix /run/a.sock of a.service (" + etc + "a.socket:2)", "tcp :8000 of a.service (" + etc + "a.socket:3)", "udp [::1]:53 of a.service (" + etc + "a.socket:4)", "unix @abstract of a.service (" + etc + "a.socket:5)",
		"tcp :9000 of b@.service (" + etc + "b.socket:2)",
		"tcp 127.0.0.1:8070 of conf.service (/etc/c.conf:3)", "unix /run/c.sock of conf.service (/etc/c.conf:6)",
		"tcp [::1]:8071 of conf.service (/etc/conf.json:2)", "tcp :8072 of conf.service (/etc/conf.json:3)",
		"tcp :3000 of node.service (" + etc + "node.service:2)",
		"tcp 127.0.0.1:8094 of tally.service (/etc/default/tally:2)", "unix /run/t.sock of tally.service (/etc/default/tally:3)",
		"tcp 127.0.0.1:3001 of webd.service (" + etc + "webd.service:2)",
		"tcp :6 of x.service (" + etc + "x.service:3)", "tcp 127.0.0.1:5 of x.service (" + etc + "x.service:3)", "tcp :6379 of x.service (" + etc + "x.service:4)",
		"tcp :601 of gatelog.service (/etc/init.d/gatelog:0)",
	}
	if diff := cmp.Diff(want, short(watched(t, root))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestWordPressHost compares with where the programs of the host really listen,
// as its builder knows it: Apache on 80 and 443, MariaDB on loopback and its
// socket, tallyd and gatelogd.
func TestWordPressHost(t *testing.T) {
	dir := hosts.WordPress(t)
	got := short(watched(t, filepath.Join(dir, "root"),
		settings.Source{Profile: "apache2", Format: "apache", Files: []string{"/etc/apache2/apache2.conf"}},
		settings.Source{Profile: "mariadb", Format: "mysql", Files: []string{"/etc/mysql/my.cnf"}}))
	for _, want := range []string{
		"tcp :80 (/etc/apache2/ports.conf:5)", "tcp :443 (/etc/apache2/ports.conf:8)",
		"tcp 127.0.0.1:3306 (/etc/mysql/mariadb.conf.d/50-server.cnf:27)", "unix /run/mysqld/mysqld.sock (/etc/mysql/mariadb.cnf:",
		"tcp 127.0.0.1:8094 of tallyd.service (/etc/default/tallyd:3)",
		"tcp :601 of gatelog.service (/etc/init.d/gatelog:0)",
	} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("missing %s", want)
		}
	}
	if t.Failed() {
		t.Logf("found\n%s", strings.Join(got, "\n"))
	}
}

func FuzzDerive(f *testing.F) {
	for _, s := range []string{"/p:1 Listen=80", "/n:1 server.listen=[::1]:80", "/m:1 mysqld.bind_address=a,b", "/etc/redis/redis.conf:1 bind=-::1 *", "/postgresql.conf:1 listen_addresses=,", "/etc/ssh/x:1 ListenAddress=[::1]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, l := range listeners.Derive(settingsOf(line), nil) {
			if l.Protocol == "unix" && l.Address == "" || l.Protocol != "unix" && (l.Port < 1 || l.Port > 65535 || strings.ContainsAny(l.Address, " /[]")) {
				t.Fatalf("%q: %+v", line, l)
			}
		}
	})
}
