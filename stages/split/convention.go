package split

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/tree"
)

// ownFiles are by convention the configuration of a service of that name, or of
// its package's (FHS 3.7; /etc/default of Debian, /etc/sysconfig of Red Hat).
func (s *run) ownFiles(ctx context.Context, svc service) error {
	if svc.base == "" || strings.Contains(svc.base, "/") {
		return nil
	}
	etc := hostpath.Path("/etc")
	for _, name := range svc.names() {
		for _, suffix := range []string{"", ".d", ".conf", ".cfg", ".ini", ".yaml", ".yml", ".toml", ".json"} {
			s.ownScope(svc, etc.Join(name+suffix), "configuration named after "+name)
		}
		for _, dir := range []hostpath.Path{"/etc/default", "/etc/sysconfig", "/usr/local/etc"} {
			s.ownScope(svc, dir.Join(name), "configuration named after "+name)
		}
	}
	list, _, err := s.view.children(ctx, etc, maxChildren)
	if err != nil {
		return err
	}
	users := s.identities(svc)
	for _, n := range list {
		if n.typ != tree.Directory || sharedEtc(n.path.Base()) {
			continue
		}
		if svc.pkg != "" && n.pkg == svc.pkg {
			s.ownScope(svc, n.path, "configuration of its package "+svc.pkg)
		}
		if err := s.writtenConfig(ctx, svc, users, n); err != nil {
			return err
		}
	}
	return nil
}

func (s *run) ownScope(svc service, p hostpath.Path, why string) {
	s.scopes = append(s.scopes, scope{path: p, serves: svc.name, by: "rule configuration/by-name", authority: claim.ByUnit,
		confidence: claim.Medium, why: why, from: svc.from})
}

// sharedEtc are the directories of /etc in which many packages put something.
func sharedEtc(name string) bool {
	return strings.HasPrefix(name, "cron.") || strings.HasPrefix(name, "rc") && len(name) == 5 || strings.HasSuffix(name, ".d") || nameIn(name, "default", "sysconfig", "systemd", "ssl", "pki", "alternatives",
		"network", "apt", "dpkg", "ufw", "ppp", "dhcp", "x11", "udev", "apparmor", "security", "opt", "skel", "ca-certificates", "ssh", "xdg", "kernel", "iproute2", "selinux")
}

// writtenConfig makes a volume of a directory in /etc that a service without a
// profile may write: it keeps its configuration itself (slapd in slapd.d), and a
// ConfigMap is read-only.
func (s *run) writtenConfig(ctx context.Context, svc service, users []facts.User, dir node) error {
	if len(users) == 0 || svc.profile == nil || !generic(svc.profile.Name) {
		return nil
	}
	return s.view.walk(ctx, dir.path, maxList, func(n node) bool {
		if n.typ != tree.Directory {
			return false
		}
		u, ok := owns(users, n)
		if !ok || n.mode&0o200 == 0 {
			return true
		}
		c := svc.claim(claim.Volume, claim.Tree, n.path, fmt.Sprintf("%s, as which %s runs, may write this configuration, and a ConfigMap is read-only", u.Name, describe(svc)),
			claim.Evidence{Path: n.path, Fact: "owned by " + u.Name})
		c.Confidence, c.Authority = claim.Medium, claim.ByProfile
		s.claims.add(c)
		return false
	})
}

// ownDirectories are by convention the state of a service of that name, what its
// package made for it under /var, and what belongs to its user. A profile knows
// better: this is for services without one.
func (s *run) ownDirectories(ctx context.Context, svc service) error {
	if svc.base == "" || svc.profile == nil || !generic(svc.profile.Name) {
		return nil
	}
	users := s.identities(svc)
	for _, d := range []struct {
		parent hostpath.Path
		class  claim.Class
		when   string
		what   string
	}{
		{"/var/lib", claim.Volume, "", "state"}, {"/var/spool", claim.Volume, "", "spool"}, {"/var/opt", claim.Volume, "", "state"},
		{"/var/cache", claim.Ephemeral, "", "cache"}, {"/run", claim.Ephemeral, "", "run-time directory"}, {"/var/log", claim.Ephemeral, "type!=f", "logs"},
	} {
		list, _, err := s.view.children(ctx, d.parent, maxChildren)
		if err != nil {
			return err
		}
		for _, n := range list {
			reason, ok := s.isOwn(svc, users, n)
			if n.typ != tree.Directory || !ok {
				continue
			}
			c := svc.claim(d.class, claim.Tree, n.path, fmt.Sprintf("the %s of %s: %s", d.what, describe(svc), reason), svc.from)
			c.When, c.Confidence, c.Authority = d.when, claim.Medium, claim.ByDefault
			s.claims.add(c)
		}
	}
	return nil
}

func (s *run) isOwn(svc service, users []facts.User, n node) (reason string, ok bool) {
	if slices.Contains(svc.names(), strings.ToLower(n.path.Base())) {
		return "by its name", true
	}
	if svc.pkg != "" && n.pkg == svc.pkg {
		return "its package " + svc.pkg + " made the directory", true
	}
	if u, ok := owns(users, n); ok {
		return "it belongs to " + u.Name + ", as which the service runs", true
	}
	return "", false
}

func generic(profileName string) bool {
	return profileName == profile.GenericUnit || profileName == profile.GenericScript
}
