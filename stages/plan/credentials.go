package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// credential is what the manager hands to a service in a file of its own
// (systemd.exec(5), "CREDENTIALS").
type credential struct {
	id   string
	file hostpath.Path // that holds it
	set  string        // the name in SetCredential= when file is a unit's
	size int64
}

// maxCredentials bounds a directory of credentials; the manager bounds their
// sum at 1 MiB.
const maxCredentials = 256

// findCredentials collects what the service is given, and tells it where.
func (p *planner) findCredentials(ctx context.Context, s *service) error {
	spec := p.specifiers(s)
	for _, d := range s.unit.Values("Service", "SetCredential") {
		if id, _, ok := unitfile.ParseCredential(d.Value); ok {
			s.addCredential(credential{id: spec.expand(id), file: d.Path, set: id, size: p.setSize(d, id)})
			s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: "SetCredential=" + id})
		}
	}
	for _, d := range s.unit.Values("Service", "LoadCredential") {
		if err := p.loadCredential(ctx, s, d, spec); err != nil {
			return err
		}
	}
	for _, key := range []string{"LoadCredentialEncrypted", "SetCredentialEncrypted"} {
		for _, d := range s.unit.Values("Service", key) {
			id, _, _ := strings.Cut(d.Value, ":")
			p.risk("high", s.id, fmt.Sprintf("its credential %s is encrypted with a key of this host (%s:%d), which no cluster has: it is not handed over", id, d.Path, d.Line),
				"decrypt it on the host with systemd-creds decrypt, give it to the unit by LoadCredential=, and scan again")
		}
	}
	if len(s.credentials) > 0 {
		s.env.set("CREDENTIALS_DIRECTORY", envVar{value: string(s.credentialsDir())})
	}
	return nil
}

func (s *service) credentialsDir() hostpath.Path {
	return hostpath.Path(unitfile.Credentials).Join(s.unit.Name)
}

// addCredential takes the place of an earlier one of that name.
func (s *service) addCredential(c credential) {
	i := slices.IndexFunc(s.credentials, func(old credential) bool { return old.id == c.id })
	if i < 0 {
		s.credentials = append(s.credentials, c)
		return
	}
	s.credentials[i] = c
}

// loadCredential takes a file, or each file of a directory under the name
// ID_FILE.
func (p *planner) loadCredential(ctx context.Context, s *service, d facts.Directive, spec specifiers) error {
	id, candidates := unitfile.LoadCredential(spec.expand(d.Value), false)
	s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: "LoadCredential=" + d.Value})
	for _, name := range candidates {
		e, ok, err := p.resolved(ctx, hostpath.Clean(name))
		switch {
		case err != nil:
			return err
		case !ok:
		case e.Type == tree.Regular:
			s.addCredential(credential{id: id, file: e.Path, size: e.Size})
			return nil
		case e.Type == tree.Directory:
			return p.loadDirectory(ctx, s, id, e.Path)
		}
	}
	if !slices.ContainsFunc(s.credentials, func(c credential) bool { return c.id == id }) {
		p.risk("high", s.id, fmt.Sprintf("its credential %s (%s:%d) is no file of this host", id, d.Path, d.Line), "make the file on the host and scan again, or have the cluster give it")
	}
	return nil
}

func (p *planner) loadDirectory(ctx context.Context, s *service, id string, dir hostpath.Path) error {
	files, err := p.host.matching(ctx, string(dir)+"/*", maxCredentials)
	if err != nil {
		return err
	}
	for _, file := range files {
		e, ok, err := p.resolved(ctx, file)
		if err != nil {
			return err
		}
		if ok && e.Type == tree.Regular {
			s.addCredential(credential{id: id + "_" + file.Base(), file: e.Path, size: e.Size})
		}
	}
	return nil
}

// resolved is the entry that a path leads to.
func (p *planner) resolved(ctx context.Context, path hostpath.Path) (catalog.Placed, bool, error) {
	if real, err := p.host.root.Resolve(path); err == nil {
		path = real
	}
	e, err := p.host.cat.Lookup(ctx, path)
	if errors.Is(err, catalog.ErrNoPath) {
		return e, false, nil
	}
	return e, err == nil, err
}

// setSize is the length of a value that only the manifest holds.
func (p *planner) setSize(d facts.Directive, id string) int64 {
	data, err := p.host.root.ReadFile(d.Path, unitfile.MaxLine)
	if err != nil {
		return 0
	}
	value, _ := unitfile.SetCredential(data, id)
	return int64(len(value))
}

// onlyCredential reports whether a file serves as a credential alone: the
// manager read it, the services never did.
func (p *planner) onlyCredential(file hostpath.Path, services []*service) bool {
	return len(services) > 0 && !slices.ContainsFunc(services, func(s *service) bool {
		given := slices.ContainsFunc(s.credentials, func(c credential) bool { return c.set == "" && c.file == file })
		return !given || p.namesFile(s, file)
	})
}

// addCredentials adds the credentials of services to the groups of their
// workloads. A service alone reads its own.
func (p *planner) addCredentials(groups map[string][]configFile) {
	for _, s := range p.services {
		for _, c := range s.credentials {
			at := s.credentialsDir().Join(c.id)
			if why := unmountable(at); why != "" {
				p.blocked = append(p.blocked, fmt.Sprintf("the credential %q of %s cannot be mounted: %s", c.id, s.id, why))
				continue
			}
			f := configFile{KeyFile: handoff.KeyFile{
				Key: s.box.Name + ".credential." + c.id, Path: c.file, Size: c.size, Mode: 0o400, UID: s.box.UID, GID: s.box.GID,
				Credential: c.set, As: at,
			}, services: []*service{s}}
			f.Copied = mustCopy(f)
			group := p.podOf(s).Name
			groups[group] = append(groups[group], f)
		}
	}
}
