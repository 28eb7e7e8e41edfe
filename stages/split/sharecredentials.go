package split

import (
	"context"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// shareCredentials claims the file with the user and password of a share
// (mount.cifs(8), credentials=): who mounts it in the cluster needs them.
func (s *run) shareCredentials(ctx context.Context, f facts.Fstab) error {
	if !f.Network() {
		return nil
	}
	for _, o := range f.Options {
		name, value, _ := strings.Cut(o, "=")
		if name = strings.ToLower(name); name != "credentials" && name != "cred" {
			continue
		}
		p, err := hostpath.Parse(value)
		if err != nil {
			continue
		}
		p = s.real(p)
		n, ok, err := s.view.at(ctx, p)
		if err != nil {
			return err
		}
		if !ok || n.typ != tree.Regular || neverClaimed(p) {
			continue
		}
		s.claims.add(claim.Claim{
			Class: claim.Secret, Reach: claim.Exact, Path: p, Authority: claim.ByUnit, By: "rule fstab/credentials", Confidence: claim.High,
			Reason: "the credentials of the share at " + f.Target.String(), Evidence: []claim.Evidence{at(f.Source, "credentials="+p.String())},
		})
	}
	return nil
}
