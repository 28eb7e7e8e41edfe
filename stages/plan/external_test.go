package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
)

// beyond is the blog with its database in a server elsewhere.
func beyond(t *testing.T, s decisions.Server) *testHost {
	t.Helper()
	h := blog(t)
	s.User, s.PasswordEnv = "admin", "DB_ADMIN"
	h.decisions.Workloads = []decisions.Workload{{Name: "db", Units: []string{"mariadb.service"}, Externalize: decisions.Database, Server: s, Line: 3}}
	return h
}

// TestExternal leads the clients to the Service that stands for the other server;
// the server of the host keeps its configuration, and has no Pods.
func TestExternal(t *testing.T) {
	pl, _, err := beyond(t, decisions.Server{Host: "db.example.org", Port: 3310, Databases: []string{"blog"}, TLS: "verify", CAFile: "/etc/ca.pem"}).plan(t)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"apache2/apache2+wp-cron/wp-cron /etc/wordpress/config-blog.php:4 DB_HOST: localhost→atlas-db:3310",
		"site-dump/site-dump /etc/mysql/dump.cnf:2 host: →atlas-db",
		"site-dump/site-dump /etc/mysql/dump.cnf:2 port: →3310",
	}
	got := rewrites(pl)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w := workload(t, pl, "db")
	if w.External == nil {
		t.Fatal("the data are to stay in the cluster")
	}
	e := *w.External
	if len(e.Command) == 0 || !slices.Contains(e.Command, "--skip-networking") {
		t.Errorf("the server on the files is started by %q", e.Command)
	}
	e.Command = nil
	if diff := cmp.Diff(handoff.External{
		Engine: "mariadb", Host: "db.example.org", Port: 3310, Databases: []string{"blog"}, User: "admin", PasswordEnv: "DB_ADMIN",
		TLS: "verify", CAFile: "/etc/ca.pem", Accounts: []string{"blog", "dumper"}, Network: "%", Why: "statelift.yaml:3 says so",
	}, e); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]handoff.Port{{Name: "mysql", Number: 3310, Protocol: "TCP"}}, w.Service); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, v := range pl.Volumes {
		if strings.HasPrefix(v.CheckIn, "db/") {
			t.Errorf("%s is checked in a Pod that there is not", v.Name)
		}
	}
}

// TestExternalInTheClear: what others may read on the way is a risk, and said.
func TestExternalInTheClear(t *testing.T) {
	for mode, says := range map[string]string{
		"":        "nothing says that it is encrypted",
		"disable": "without encryption: statelift.yaml:3 says so",
		"require": "does not prove who it is",
		"verify":  "",
	} {
		pl, _, err := beyond(t, decisions.Server{Host: "192.0.2.7", TLS: mode}).plan(t)
		if err != nil {
			t.Fatal(err)
		}
		var dump []string
		for _, r := range pl.Risks {
			if strings.HasPrefix(r.Text, "the dump of ") {
				dump = append(dump, r.Text)
			}
		}
		if says == "" && len(dump) > 0 || says != "" && (len(dump) != 1 || !strings.Contains(dump[0], says) || !strings.Contains(dump[0], "192.0.2.7:3306")) {
			t.Errorf("tls %q: %q, want %q", mode, dump, says)
		}
		if !slices.ContainsFunc(pl.Risks, func(r handoff.Risk) bool {
			return strings.HasPrefix(r.Text, "clients of ") && strings.Contains(r.Text, "atlas-db")
		}) {
			t.Errorf("tls %q: nothing is said of the clients", mode)
		}
	}
}

// TestExternalNoWay: what cannot be dumped, or a client that would find nobody,
// blocks.
func TestExternalNoWay(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *testHost)
		says   string
	}{
		"no database": {func(h *testHost) { h.decisions.Workloads[0].Units = []string{"apache2.service"} }, "no profile knows how the databases of apache2.service are dumped"},
		"a client that cannot be led": {func(h *testHost) {
			h.write("/etc/wordpress/config-blog.php", "<?php\ndefine('DB_USER', 'blog');\n\ndefine('DB_HOST', 'local'.'host');\n")
		}, "cannot be led to mariadb outside the cluster: DB_HOST in /etc/wordpress/config-blog.php:4"},
	} {
		h := beyond(t, decisions.Server{Host: "db.example.org"})
		c.change(h)
		if _, _, err := h.plan(t); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
