package plan

import (
	"fmt"
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
	"github.com/statelift/statelift/templates"
)

// blog is the site with the profiles that statelift has, and the lines that its
// settings were read from.
func blog(t *testing.T) *testHost {
	t.Helper()
	h := site()
	var err error
	if h.profiles, err = profile.Load(templates.Profiles()); err != nil {
		t.Fatal(err)
	}
	h.decisions = decisions.PlanPart{File: "statelift.yaml", Workloads: []decisions.Workload{{Name: "db", Units: []string{"mariadb.service"}, Split: true, Line: 3}}}
	h.write("/etc/wordpress/config-blog.php", "<?php\ndefine('DB_USER', 'blog');\ndefine('DB_PASSWORD', 'x');\ndefine('DB_HOST', 'localhost');\n")
	h.write("/etc/mysql/dump.cnf", "[client]\nuser = dumper\npassword = x\n")
	h.items = append(h.items,
		item{path: "/etc/mysql/mariadb.conf.d/50-server.cnf", class: claim.Image, pkg: "mariadb-server", mode: 0o644, content: "[mysqld]\nbind-address = 127.0.0.1\n"},
		item{path: "/etc/mysql/mariadb.cnf", class: claim.Image, pkg: "mariadb-common", mode: 0o644, content: "[client-server]\n"},
		item{path: "/var/lib/mysql/mysql/global_priv.frm", class: claim.Volume, claim: 2, content: "x"},
	)
	h.settings = slices.DeleteFunc(h.settings, func(v facts.Setting) bool { return v.Key == "DB_HOST" })
	h.set("wordpress", "DB_USER", "blog", "/etc/wordpress/config-blog.php", 2)
	h.set("wordpress", "DB_HOST", "localhost", "/etc/wordpress/config-blog.php", 4)
	h.set("mariadb", "mysqld.bind_address", "127.0.0.1", "/etc/mysql/mariadb.conf.d/50-server.cnf", 2)
	return h
}

func (h *testHost) write(path hostpath.Path, content string) {
	for i := range h.items {
		if h.items[i].path == path {
			h.items[i].content = content
			return
		}
	}
	h.items = append(h.items, item{path: path, class: claim.Config, mode: 0o644, content: content})
}

func (h *testHost) set(of, key, value string, path hostpath.Path, line int) {
	h.settings = append(h.settings, facts.Setting{Profile: of, Key: key, Value: value, Source: facts.Source{Path: path, Line: line}})
}

// rewrites are the plan's, in one line each.
func rewrites(pl handoff.Plan) []string {
	var out []string
	for _, r := range pl.Rewrites {
		out = append(out, fmt.Sprintf("%s %s %s: %s→%s", strings.Join(r.For, "+"), place(r.Source), r.What, r.Old, r.New))
	}
	return out
}

func TestApart(t *testing.T) {
	wordpress := "apache2/apache2+wp-cron/wp-cron /etc/wordpress/config-blog.php:4 DB_HOST: localhost→atlas-db"
	server := []string{
		"db/mariadb  account blog: 'blog'@'localhost'→'blog'@'%'",
		"db/mariadb  account dumper: 'dumper'@'localhost'→'dumper'@'%'",
		"db/mariadb  command: →--init-file=/etc/statelift/accounts.sql",
		"db/mariadb /etc/mysql/mariadb.conf.d/50-server.cnf:2 mysqld.bind_address: 127.0.0.1→*",
	}
	dump := "site-dump/site-dump /etc/mysql/dump.cnf:2 host: →atlas-db"
	without := func(list []string, words string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return strings.Contains(s, words) })
	}
	for name, c := range map[string]struct {
		change func(h *testHost)
		want   []string
		stays  string // words of the risk that says why something goes on by the socket
	}{
		"all of it":       {func(*testHost) {}, slices.Concat([]string{wordpress}, server, []string{dump}), ""},
		"the user's no":   {func(h *testHost) { h.decisions.Answers = map[string]string{"socket-mariadb": "volume"} }, nil, ""},
		"one workload":    {func(h *testHost) { h.decisions.Workloads = nil }, nil, ""},
		"from the Pods":   {func(h *testHost) { h.decisions.Answers = map[string]string{"accounts-mariadb": "10.244.%"} }, replaced(slices.Concat([]string{wordpress}, server, []string{dump}), "@'%'", "@'10.244.%'"), ""},
		"another port":    {func(h *testHost) { h.listen(3307) }, slices.Concat([]string{wordpress + ":3307"}, server, []string{dump, "site-dump/site-dump /etc/mysql/dump.cnf:2 port: →3307"}), ""},
		"a quote in user": {func(h *testHost) { h.user("o'neil") }, replaced(slices.Concat([]string{wordpress}, server[1:2], []string{"db/mariadb  account o'neil: 'o''neil'@'localhost'→'o''neil'@'%'"}, server[2:], []string{dump}), "", ""), ""},
		"nothing said": {func(h *testHost) {
			h.unset("DB_HOST")
			h.write("/etc/wordpress/config-blog.php", "<?php\ndefine('DB_USER', 'blog');\n")
		}, slices.Concat([]string{"apache2/apache2+wp-cron/wp-cron /etc/wordpress/config-blog.php:2 DB_HOST: →define('DB_HOST', 'atlas-db');"}, server, []string{dump}), ""},
		"joined": {func(h *testHost) {
			h.write("/etc/wordpress/config-blog.php", "<?php\ndefine('DB_USER', 'blog');\n\ndefine('DB_HOST', 'local'.'host');\n")
		}, slices.Concat(without(server, "blog"), []string{dump}), "DB_HOST in /etc/wordpress/config-blog.php:4 is not written so that it could be replaced"},
		"no account known": {func(h *testHost) { h.unset("DB_USER") }, slices.Concat(without(server, "blog"), []string{dump}), "the account with which apache2 logs in is not known"},
		"an init-file": {func(h *testHost) {
			h.set("mariadb", "mysqld.init_file", "/etc/mysql/mine.sql", "/etc/mysql/mariadb.conf.d/50-server.cnf", 3)
		},
			nil, "mysqld.init_file in /etc/mysql/mariadb.conf.d/50-server.cnf:3 is in use"},
		"another kind of accounts": {func(h *testHost) {
			h.items = slices.DeleteFunc(h.items, func(i item) bool { return i.path.Base() == "global_priv.frm" })
		}, nil, "there is no /var/lib/mysql/mysql/global_priv.frm"},
		"configuration on a volume": {func(h *testHost) {
			for i := range h.items {
				if h.items[i].path.Base() == "50-server.cnf" {
					h.items[i].class = claim.Volume
				}
			}
		}, nil, "is of class volume, where nothing is rewritten"},
		"named in the script": {func(h *testHost) {
			h.write("/usr/local/sbin/site-dump", "#!/bin/sh\nmariadb-dump --defaults-extra-file=/etc/mysql/dump.cnf -h localhost blog >/var/backups/x\n")
		}, slices.Concat([]string{wordpress}, without(server, "dumper")), "names localhost on its command line (/usr/local/sbin/site-dump:2)"},
	} {
		t.Run(name, func(t *testing.T) {
			h := blog(t)
			c.change(h)
			pl, _, err := h.plan(t)
			if err != nil {
				t.Fatal(err)
			}
			got := rewrites(pl)
			slices.Sort(got)
			want := slices.Sorted(slices.Values(c.want))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if c.stays != "" && !slices.ContainsFunc(pl.Risks, func(r handoff.Risk) bool { return strings.Contains(r.Text, c.stays) }) {
				t.Errorf("nothing says %q: %+v", c.stays, pl.Risks)
			}
			shared := slices.ContainsFunc(pl.Volumes, func(v handoff.Volume) bool { return v.Name == "socket-mariadb" })
			if led := len(c.want) > 0 && c.stays == ""; shared == led {
				t.Errorf("the socket is shared: %v", shared)
			}
		})
	}
}

func replaced(list []string, old, with string) []string {
	out := slices.Clone(list)
	for i := range out {
		if old != "" {
			out[i] = strings.ReplaceAll(out[i], old, with)
		}
	}
	return out
}

func (h *testHost) listen(port int) {
	for i := range h.listeners {
		if h.listeners[i].Port == 3306 {
			h.listeners[i].Port = port
		}
	}
}

func (h *testHost) unset(key string) {
	h.settings = slices.DeleteFunc(h.settings, func(v facts.Setting) bool { return v.Key == key })
}

func (h *testHost) user(name string) {
	h.unset("DB_USER")
	h.set("wordpress", "DB_USER", name, "/etc/wordpress/config-blog.php", 2)
}

// A server and a client of which no profile knows: loopback with a port, in a
// variable and in a setting.
func TestApartByAddress(t *testing.T) {
	h := blog(t)
	h.decisions.Workloads = []decisions.Workload{{Name: "tally", Units: []string{"tallyd.service"}, Split: true, Line: 3}}
	h.write("/etc/apache2/sites-available/blog.conf", strings.Repeat("\n", 30)+"\tProxyPass /tally/ http://127.0.0.1:8094/\n")
	pl, _, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"apache2/apache2 /etc/apache2/sites-available/blog.conf:31 VirtualHost.ProxyPass: 127.0.0.1:8094→atlas-tally:8094",
		"tally/tallyd /etc/default/tallyd:1 variable TALLY_ADDRESS: 127.0.0.1→0.0.0.0",
	}
	if diff := cmp.Diff(want, rewrites(pl)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tally := workload(t, pl, "tally")
	if len(tally.Service) != 1 || tally.Service[0].Number != 8094 || !slices.Equal(tally.Service[0].From, []string{"apache2"}) {
		t.Errorf("service: %+v", tally.Service)
	}
	for _, e := range tally.Containers[0].Env {
		if e.Name == "TALLY_ADDRESS" && (e.Value != "0.0.0.0" || e.From != "") {
			t.Errorf("variable: %+v", e)
		}
	}
}

// An answer that is no pattern is not taken for one, nor passed over.
func TestApartBadAnswer(t *testing.T) {
	h := blog(t)
	h.decisions.Answers = map[string]string{"accounts-mariadb": "%' OR '1"}
	pl, _, err := h.plan(t)
	if err == nil || !strings.Contains(err.Error(), `statelift.yaml: answers: accounts-mariadb: "%' OR '1" is no pattern of addresses`) {
		t.Errorf("%v", err)
	}
	for _, set := range pl.Configs {
		for _, f := range set.Files {
			if strings.Contains(f.Made, "OR '1") {
				t.Errorf("%s holds %s", f.Path, f.Made)
			}
		}
	}
}

// What still names the socket is said.
func TestApartSocketNamed(t *testing.T) {
	h := blog(t)
	h.set("apache2", "mysqli.default_socket", "/run/mysqld/mysqld.sock", "/etc/php/8.2/apache2/php.ini", 1188)
	pl, _, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	if !risk(pl, "apache2.service", "mysqli.default_socket in /etc/php/8.2/apache2/php.ini:1188 names the socket of mariadb") {
		t.Errorf("risks: %+v", pl.Risks)
	}
}

// The address of a database often has the password beside it: only the server in
// it is replaced, and nothing else of it is in the plan.
func TestApartSecretVariable(t *testing.T) {
	h := small(
		unit("redis-server.service", true, "Service.User=redis", "Service.ExecStart=/usr/bin/redis-server /etc/redis/redis.conf"),
		unit("app.service", true, "Service.User=www-data", "Service.ExecStart=/usr/local/bin/app", "Service.EnvironmentFile=/etc/app.env"),
	)
	var err error
	if h.profiles, err = profile.Load(templates.Profiles()); err != nil {
		t.Fatal(err)
	}
	h.os.Hostname = "atlas"
	h.items = append(h.items, item{path: "/etc/app.env", class: claim.Secret, mode: 0o600, content: "CACHE=redis://shop:not-to-be-seen@127.0.0.1:6379/2\n"})
	h.listeners = append(h.listeners, facts.Listener{Protocol: "tcp", Address: "127.0.0.1", Port: 6379, Unit: "redis-server.service"})
	h.decisions = decisions.PlanPart{File: "statelift.yaml", Workloads: []decisions.Workload{{Name: "cache", Units: []string{"redis-server.service"}, Split: true, Line: 2}}}
	pl, text, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	if want := "app/app /etc/app.env:1 variable CACHE: 127.0.0.1:6379→atlas-cache:6379"; !slices.Contains(rewrites(pl), want) {
		t.Errorf("%q, want %s", rewrites(pl), want)
	}
	if strings.Contains(text, "not-to-be-seen") {
		t.Error("a credential is in plan.yaml")
	}
	var got []handoff.KeyFile
	for _, set := range pl.Secrets {
		for _, f := range set.Files {
			if f.Variable == "CACHE" {
				got = append(got, f)
			}
		}
	}
	if len(got) != 1 || len(got[0].Edits) != 1 || editedText("redis://shop:not-to-be-seen@127.0.0.1:6379/2", got[0].Edits[0]) != "redis://shop:not-to-be-seen@atlas-cache:6379/2" {
		t.Errorf("%+v", got)
	}
	for _, r := range pl.Rewrites {
		if r.What == "variable CACHE" && !strings.HasPrefix(r.In, "Secret atlas-") {
			t.Errorf("in %q", r.In)
		}
	}
}

// What PostgreSQL, Redis and Memcached are told.
func TestServersApart(t *testing.T) {
	for name, c := range map[string]struct {
		unit  facts.Unit
		files map[hostpath.Path]string
		set   []facts.Setting
		port  int
		want  []string
	}{
		"postgresql": {
			unit("postgresql@15-main.service", true, "Service.User=postgres", "Service.ExecStart=/usr/lib/postgresql/15/bin/postgres"),
			map[hostpath.Path]string{
				"/etc/postgresql/15/main/postgresql.conf": "port = 5432\n",
				"/etc/postgresql/15/main/pg_hba.conf":     "local all postgres peer\nhost shop shop 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
			},
			[]facts.Setting{{Profile: "postgresql", Key: "port", Value: "5432", Source: facts.Source{Path: "/etc/postgresql/15/main/postgresql.conf", Line: 1}}},
			5432,
			[]string{
				"app/app  variable DB: 127.0.0.1:5432→atlas-store:5432",
				"store/postgresql-15-main /etc/postgresql/15/main/pg_hba.conf:3 who may come in: →host shop shop all scram-sha-256",
				"store/postgresql-15-main /etc/postgresql/15/main/postgresql.conf:2 listen_addresses: →listen_addresses = '*'",
			},
		},
		"redis": {
			unit("redis-server.service", true, "Service.User=redis", "Service.ExecStart=/usr/bin/redis-server /etc/redis/redis.conf"),
			map[hostpath.Path]string{"/etc/redis/redis.conf": "bind 127.0.0.1 -::1\n"}, nil, 6379,
			[]string{"app/app  variable DB: 127.0.0.1:6379→atlas-store:6379", "store/redis-server  command: →--bind * -::* --protected-mode no"},
		},
		"memcached": {
			unit("memcached.service", true, "Service.ExecStart=/usr/share/memcached/scripts/systemd-memcached-wrapper /etc/memcached.conf"),
			map[hostpath.Path]string{"/etc/memcached.conf": "-d\n-l 127.0.0.1\n"}, nil, 11211,
			[]string{"app/app  variable DB: 127.0.0.1:11211→atlas-store:11211", "store/memcached /etc/memcached.conf:2 -l: 127.0.0.1→0.0.0.0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := small(c.unit, unit("app.service", true, "Service.User=www-data", "Service.ExecStart=/usr/local/bin/app", fmt.Sprintf("Service.Environment=DB=127.0.0.1:%d", c.port)))
			var err error
			if h.profiles, err = profile.Load(templates.Profiles()); err != nil {
				t.Fatal(err)
			}
			h.os.Hostname = "atlas"
			for path, content := range c.files {
				h.write(path, content)
			}
			h.settings = append(h.settings, c.set...)
			h.listeners = append(h.listeners, facts.Listener{Protocol: "tcp", Address: "127.0.0.1", Port: c.port, Unit: c.unit.Name})
			h.decisions = decisions.PlanPart{File: "statelift.yaml", Workloads: []decisions.Workload{{Name: "store", Units: []string{c.unit.Name}, Split: true, Line: 2}}}
			pl, _, err := h.plan(t)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, rewrites(pl)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
