package decisions_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/hostpath"
)

func TestExternalize(t *testing.T) {
	d, err := decisions.Parse("statelift.yaml", []byte(`workloads:
- name: database
  units: [mariadb.service]
  externalize: database
  server: {host: db.example.org, port: 3307, databases: [wordpress], user: admin, passwordEnv: DB_ADMIN, tls: verify, caFile: /etc/ca.pem}
- name: web
  units: [apache2.service]
  externalize: objects
  directories: [/srv/media]
  readOnly: true
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []decisions.Workload{
		{
			Name: "database", Units: []string{"mariadb.service"}, Externalize: "database", Line: 2,
			Server: decisions.Server{Host: "db.example.org", Port: 3307, Databases: []string{"wordpress"}, User: "admin", PasswordEnv: "DB_ADMIN", TLS: "verify", CAFile: "/etc/ca.pem"},
		},
		{Name: "web", Units: []string{"apache2.service"}, Externalize: "objects", Directories: []hostpath.Path{"/srv/media"}, ReadOnly: true, Line: 6},
	}
	if diff := cmp.Diff(want, d.Workloads); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExternalizeRefused(t *testing.T) {
	const server = "host: 192.0.2.1, user: admin, passwordFile: /run/secret"
	for text, says := range map[string]string{
		"externalize: everything":                                                           "unknown externalize",
		"server: {" + server + "}":                                                          "for externalize",
		"externalize: database\n  server: {user: a, passwordEnv: B}":                        "wants a host",
		"externalize: database\n  server: {host: 127.0.0.1, user: a, passwordEnv: B}":       "Pods cannot reach",
		"externalize: database\n  server: {host: localhost, user: a, passwordEnv: B}":       "neither",
		"externalize: database\n  server: {host: 'a b', user: a, passwordEnv: B}":           "neither",
		"externalize: database\n  server: {host: db, user: a}":                              "exactly one of passwordEnv",
		"externalize: database\n  server: {host: db, user: a, password: x}":                 "password",
		"externalize: database\n  server: {host: db, user: a, passwordFile: x}":             "no absolute path",
		"externalize: database\n  server: {host: db, user: a, passwordEnv: 'a-b'}":          "no name of a variable",
		"externalize: database\n  server: {host: db, port: 70000, user: a, passwordEnv: B}": "no port 70000",
		"externalize: database\n  kind: Deployment\n  server: {" + server + "}":             "no Pods",
		"externalize: database\n  directories: [/srv]\n  server: {" + server + "}":          "for externalize: objects",
		"externalize: database\n  server: {" + server + ", tls: maybe}":                     "unknown tls",
		"externalize: database\n  server: {" + server + ", tls: off}":                       "tls",
		"externalize: database\n  server: {" + server + ", tls: verify}":                    "wants a caFile",
		"externalize: database\n  server: {" + server + ", tls: require, caFile: /ca.pem}":  "only it does",
		"externalize: database\n  server: {" + server + ", tls: verify, caFile: ca.pem}":    "caFile is no absolute path",
		"externalize: objects":                                                    "wants directories",
		"externalize: objects\n  directories: [/srv, /srv/a]":                     "in each other",
		"externalize: objects\n  directories: [/srv]\n  server: {" + server + "}": "for externalize: database",
	} {
		_, err := decisions.Parse("statelift.yaml", []byte("workloads:\n- name: w\n  units: [a.service]\n  "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}
