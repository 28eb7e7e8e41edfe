package decisions

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// What may live outside of volumes.
const (
	Database = "database"
	Objects  = "objects"
)

// variable is a name of the environment as shells have them.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// dnsName is a name with letters, digits, hyphens and dots (RFC 1123).
var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// externalize checks what a workload says of the outside.
func (c *checker) externalize(w Workload) {
	server := !reflect.DeepEqual(w.Server, Server{})
	switch w.Externalize {
	case "":
		if server || len(w.Directories) > 0 || w.ReadOnly {
			c.fault(w.Line, "workload %s: server, directories and readOnly are for externalize: database or objects", w.Name)
		}
	case Database:
		if len(w.Directories) > 0 || w.ReadOnly {
			c.fault(w.Line, "workload %s: directories and readOnly are for externalize: objects", w.Name)
		}
		c.server(w)
	case Objects:
		if server {
			c.fault(w.Line, "workload %s: server is for externalize: database", w.Name)
		}
		c.directories(w)
	default:
		c.fault(w.Line, "unknown externalize %q (database, objects)", w.Externalize)
	}
}

func (c *checker) server(w Workload) {
	s := w.Server
	switch {
	case len(w.Units) != 1:
		c.fault(w.Line, "workload %s: externalize: database is for one unit, that of the database", w.Name)
	case w.Kind != "" || w.Replicas != nil || w.Together:
		c.fault(w.Line, "workload %s has no Pods in the cluster: no kind, replicas or together", w.Name)
	}
	address, err := netip.ParseAddr(s.Host)
	switch {
	case s.Host == "":
		c.fault(w.Line, "workload %s: server wants a host", w.Name)
	case err == nil && (address.IsLoopback() || address.IsUnspecified() || address.IsLinkLocalUnicast() || address.IsMulticast() || address.Zone() != ""):
		c.fault(w.Line, "workload %s: server: Pods cannot reach %s", w.Name, s.Host)
	case err != nil && (len(s.Host) > 253 || !dnsName.MatchString(s.Host) || s.Host == "localhost"):
		c.fault(w.Line, "workload %s: server: %q is neither a DNS name nor an address that Pods reach", w.Name, s.Host)
	}
	switch {
	case s.Port < 0 || s.Port > 65535:
		c.fault(w.Line, "workload %s: server: there is no port %d", w.Name, s.Port)
	case s.User == "":
		c.fault(w.Line, "workload %s: server wants a user who may make databases and accounts there", w.Name)
	case (s.PasswordEnv == "") == (s.PasswordFile == ""):
		c.fault(w.Line, "workload %s: server wants exactly one of passwordEnv (a variable) and passwordFile (a file of mode 0600); the password itself is never written here", w.Name)
	case s.PasswordEnv != "" && !variable.MatchString(s.PasswordEnv):
		c.fault(w.Line, "workload %s: server: passwordEnv is no name of a variable", w.Name)
	case s.PasswordFile != "" && !filepath.IsAbs(s.PasswordFile):
		c.fault(w.Line, "workload %s: server: passwordFile is no absolute path", w.Name)
	case slices.Contains(s.Databases, "") || strings.ContainsFunc(s.User+strings.Join(s.Databases, ""), func(r rune) bool { return r < ' ' }):
		c.fault(w.Line, "workload %s: server: a name is empty or holds a control character", w.Name)
	}
	c.encryption(w)
}

func (c *checker) encryption(w Workload) {
	s := w.Server
	switch {
	case !slices.Contains([]string{"", handoff.TLSDisable, handoff.TLSRequire, handoff.TLSVerify}, s.TLS):
		c.fault(w.Line, "workload %s: server: unknown tls %q (disable, require, verify)", w.Name, s.TLS)
	case (s.TLS == handoff.TLSVerify) != (s.CAFile != ""):
		c.fault(w.Line, "workload %s: server: tls: verify wants a caFile with the certificates (PEM) that the server's is signed by, and only it does", w.Name)
	case s.CAFile != "" && !filepath.IsAbs(s.CAFile):
		c.fault(w.Line, "workload %s: server: caFile is no absolute path", w.Name)
	}
}

func (c *checker) directories(w Workload) {
	if len(w.Directories) == 0 {
		c.fault(w.Line, "workload %s: externalize: objects wants directories", w.Name)
	}
	for i, dir := range w.Directories {
		if dir == "" || dir == hostpath.Root {
			c.fault(w.Line, "workload %s: a directory of objects is below /", w.Name)
		}
		for _, o := range w.Directories[:i] {
			if dir.Within(o) || o.Within(dir) {
				c.fault(w.Line, "workload %s: %s and %s are in each other", w.Name, o, dir)
			}
		}
	}
}
