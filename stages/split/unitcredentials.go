package split

import (
	"context"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// credentialFiles claims what the manager hands to a service as credentials
// (systemd.exec(5), "CREDENTIALS"): nobody else needs to say that it is secret.
func (s *run) credentialFiles(ctx context.Context, svc service) error {
	for _, key := range []string{"LoadCredential", "LoadCredentialEncrypted"} {
		for _, v := range svc.unit.Values("Service", key) {
			value, ok := s.host.expand(svc.unit, v)
			if !ok {
				continue
			}
			p, ok, err := s.credentialFile(ctx, value, key == "LoadCredentialEncrypted")
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			c := svc.claim(claim.Secret, claim.Tree, p, "a credential of "+svc.name, at(v.Source, key+"="+v.Value))
			c.When = "type=f"
			s.claims.add(c)
			// A directory of them is no data either.
			c.Class, c.When, c.Reason = claim.Image, "type=d", "it holds credentials of "+svc.name
			s.claims.add(c)
		}
	}
	return nil
}

// credentialFile is the file or directory that the value names.
func (s *run) credentialFile(ctx context.Context, value string, encrypted bool) (hostpath.Path, bool, error) {
	_, files := unitfile.LoadCredential(value, encrypted)
	for _, name := range files {
		p := s.real(hostpath.Clean(name))
		n, ok, err := s.view.at(ctx, p)
		if err != nil {
			return "", false, err
		}
		if ok && (n.typ == tree.Regular || n.typ == tree.Directory) && !neverClaimed(p) {
			return p, true, nil
		}
	}
	return "", false, nil
}
