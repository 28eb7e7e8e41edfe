package split

import (
	"context"
	"fmt"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/tree"
)

// ownFiles are by convention the configuration of a service of that name
// (FHS 3.7; /etc/default of Debian, /etc/sysconfig of Red Hat).
func (s *run) ownFiles(svc service) {
	if svc.base == "" || strings.Contains(svc.base, "/") {
		return
	}
	add := func(p hostpath.Path) {
		s.scopes = append(s.scopes, scope{path: p, serves: svc.name, by: "rule configuration/by-name", authority: claim.ByUnit,
			confidence: claim.Medium, why: "configuration named after " + svc.name, from: svc.from})
	}
	etc, name := hostpath.Path("/etc"), svc.base
	for _, suffix := range []string{"", ".d", ".conf", ".cfg", ".ini", ".yaml", ".yml", ".toml", ".json"} {
		add(etc.Join(name + suffix))
	}
	add(etc.Join("default", name))
	add(etc.Join("sysconfig", name))
	add(hostpath.Path("/usr/local/etc").Join(name))
}

// ownDirectories are by convention the state of a service of that name, and what
// its package made for it under /var. A profile knows better: this is for services
// without one.
func (s *run) ownDirectories(ctx context.Context, svc service) error {
	if svc.base == "" || svc.profile == nil || !generic(svc.profile.Name) {
		return nil
	}
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
			named := strings.EqualFold(n.path.Base(), svc.base)
			if n.typ != tree.Directory || !named && (svc.pkg == "" || n.pkg != svc.pkg) {
				continue
			}
			c := svc.claim(d.class, claim.Tree, n.path, fmt.Sprintf("the %s of %s, by its name", d.what, describe(svc)), svc.from)
			if !named {
				c.Reason = fmt.Sprintf("the %s of %s: its package %s made the directory", d.what, describe(svc), svc.pkg)
			}
			c.When, c.Confidence, c.Authority = d.when, claim.Medium, claim.ByDefault
			s.claims.add(c)
		}
	}
	return nil
}

func generic(profileName string) bool {
	return profileName == profile.GenericUnit || profileName == profile.GenericScript
}
