package split_test

import (
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// What a service's user may write under /etc is no ConfigMap, and what belongs to
// that user under /var is the service's state; who that is, options and variables
// tell too.
func TestIdentities(t *testing.T) {
	w := newWorld(t)
	w.user("bind", 53, "/var/cache/bind")
	w.user("openldap", 55, "/var/lib/ldap")
	w.user("www-data", 33, "/var/www")
	w.unit("named.service", "bind9", "EnvironmentFile=-/etc/default/named", "ExecStart=/usr/sbin/named -f $OPTIONS")
	w.file("/etc/default/named", "OPTIONS=\"-u bind\"\n", pkg("bind9", catalog.ConffileSame))
	w.dir("/var/lib/zones", mode(0o775), func(e *catalog.Entry) { e.GID = 53 })
	w.dir("/var/lib/read", mode(0o755), func(e *catalog.Entry) { e.GID = 53 })
	w.file("/etc/bind/zone.db", "x")
	w.fact(facts.KindScript, "slapd", facts.Script{Name: "slapd", Path: "/etc/init.d/slapd", Package: "slapd", StartLevels: []string{"2"}, Reads: []hostpath.Path{"/etc/default/slapd"}})
	w.file("/etc/default/slapd", "SLAPD_USER=openldap\n")
	w.file("/etc/ldap/slapd.d/config.ldif", "x", owner(55))
	w.dir("/etc/ldap/slapd.d", owner(55))
	w.file("/etc/ldap/ldap.conf", "x", pkg("libldap", catalog.ConffileSame))
	w.file("/var/lib/ldap/data.mdb", "x", owner(55))
	w.dir("/var/lib/ldap", owner(55))
	r := w.split()
	r.want(`
		volume /var/lib/zones
		volume /var/lib/ldap/data.mdb
		config /etc/bind/zone.db
		image /etc/ldap
		image /etc/ldap/ldap.conf
		volume /etc/ldap/slapd.d
		volume /etc/ldap/slapd.d/config.ldif
	`)
	for p, want := range map[string]string{"/var/lib/zones": "named.service", "/var/lib/ldap": "slapd.service", "/etc/ldap/slapd.d": "slapd.service", "/etc/bind/zone.db": "named.service", "/var/lib/read": ""} {
		if c := r.why(p); c.Serves != want {
			t.Errorf("%s serves %q: %s", p, c.Serves, c.Reason)
		}
	}
	if c := r.why("/etc/ldap/slapd.d"); !strings.Contains(c.Reason, "openldap") || !strings.Contains(c.Reason, "ConfigMap is read-only") {
		t.Error(c.Reason)
	}
}

// /var/run is a link on every host of today: a directory named through it is made
// where it leads, also when it is not there now.
func TestThroughLinks(t *testing.T) {
	w := newWorld(t)
	w.user("svc", 42, "/nonexistent")
	w.dir("/run")
	w.link("/var/run", "/run")
	w.unit("app.service", "app", "ExecStart=/usr/bin/app", "User=svc", "PIDFile=/var/run/app/x.pid")
	w.fact(facts.KindTmpfile, "a", facts.Tmpfile{Type: "d", Path: "/var/run/shared", Mode: "0700", User: "svc"})
	r := w.split()
	for _, p := range []string{"/run/shared", "/run/app"} {
		if d := ephemeral(r, p); d.Path == "" {
			t.Errorf("%s is not made: %+v", p, r.split.Ephemeral)
		}
	}
	r.want("image /var/run\nephemeral /run")
}
