package split

import (
	"bufio"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// scope is a place whose configuration serves a workload.
type scope struct {
	path       hostpath.Path // a file, a tree, or a pattern
	exact      bool          // the path alone
	serves     string
	by         string
	authority  claim.Authority
	confidence claim.Confidence
	secret     bool // whatever is there is a credential
	why        string
	from       claim.Evidence
}

// reaches reports whether p is in the scope.
func (c scope) reaches(p hostpath.Path) bool {
	switch {
	case c.exact:
		return p == c.path
	case claim.IsGlob(c.path):
		if claim.MatchGlob(c.path, p) {
			return true
		}
		for d := p.Dir(); d != hostpath.Root; d = d.Dir() { // what lies below a match
			if claim.MatchGlob(c.path, d) {
				return true
			}
		}
		return false
	}
	return p.Within(c.path)
}

// configuration claims the text that services read: what an administrator wrote
// or changed is config when it serves a workload. What a package shipped and
// nobody changed is image, and what a package's scripts made, too.
func (s *run) configuration(ctx context.Context) error {
	made, err := s.madeByPackages()
	if err != nil {
		return err
	}
	ucf := s.ucfSums()
	owners := s.owners()
	// The closest scope speaks: a file that is named before a tree, a deep tree
	// before a high one.
	slices.SortStableFunc(s.scopes, func(a, b scope) int {
		return cmp.Or(-cmp.Compare(rank(a), rank(b)), -cmp.Compare(len(a.path), len(b.path)), -cmp.Compare(a.authority, b.authority))
	})
	judge := func(n node) error { return s.configFile(ctx, n, made, ucf, owners) }
	err = s.below(ctx, "/etc", judge)
	if err != nil {
		return err
	}
	done := map[hostpath.Path]bool{}
	for _, c := range s.scopes {
		if c.path.Within("/etc") || done[c.path] {
			continue
		}
		done[c.path] = true
		if claim.IsGlob(c.path) {
			list, err := s.view.glob(ctx, c.path, maxTargets)
			if err != nil {
				return err
			}
			for _, n := range list {
				if err := judge(n); err != nil {
					return err
				}
			}
			continue
		}
		n, ok, err := s.view.at(ctx, c.path)
		if err != nil {
			return err
		}
		if ok {
			if err := judge(n); err != nil {
				return err
			}
		}
		if ok && n.typ == tree.Directory && !c.exact {
			if err := s.below(ctx, c.path, judge); err != nil {
				return err
			}
		}
	}
	return nil
}

func rank(c scope) int {
	switch {
	case c.secret:
		return 3
	case c.exact:
		return 2
	case claim.IsGlob(c.path):
		return 1
	}
	return 1
}

// maxConfig bounds how many files of configuration are looked at in one tree.
const maxConfig = 200_000

func (s *run) below(ctx context.Context, dir hostpath.Path, judge func(node) error) error {
	var failed error
	err := s.view.walk(ctx, dir, maxConfig, func(n node) bool {
		if failed == nil {
			failed = judge(n)
		}
		return failed == nil
	})
	return cmp.Or(failed, err)
}

// maxConfigMap is what fits into a ConfigMap or Secret with some room for names
// (1 MiB of data, kubernetes.io/docs/concepts/configuration/configmap).
const maxConfigMap = 1_000_000

func (s *run) configFile(ctx context.Context, n node, made *claim.Resolver, ucf map[hostpath.Path]string, owners map[string][]string) error {
	if n.typ != tree.Regular || n.shipped() {
		return nil
	}
	by, generated := made.Winner(n.subject())
	generated = generated && by.Reach != claim.Every
	if sum, ok := ucf[n.path]; ok && n.pkg == "" && sum == s.md5(n) {
		s.claims.add(claim.Claim{
			Class: claim.Image, Reach: claim.Exact, Path: n.path, Reason: "copied by its package's script (ucf(1)) and not changed since",
			Evidence: []claim.Evidence{{Path: ucfHashes, Fact: "the recorded sum is that of the file"}}, By: "rule configuration/ucf", Authority: claim.ByHost,
		})
		return nil
	}
	served := map[string]bool{}
	for _, c := range s.scopes {
		if served[c.serves] || !c.reaches(n.path) {
			continue
		}
		served[c.serves] = true
		_, isUCF := ucf[n.path]
		if k, ok := s.configClaim(n, c, generated, isUCF); ok {
			s.claims.add(k)
		}
	}
	if len(served) == 0 {
		s.unserved(n, owners)
	}
	return nil
}

// configClaim is what a scope says about a file; ok is false when the file stays
// what it is. The first scope's claim wins, the others tell who reads it, too.
func (s *run) configClaim(n node, c scope, generated, isUCF bool) (k claim.Claim, ok bool) {
	k = claim.Claim{
		Class: claim.Config, Reach: claim.Exact, Path: n.path, By: c.by, Authority: claim.ByProfile, Serves: c.serves, Confidence: c.confidence,
		Evidence: []claim.Evidence{c.from},
	}
	switch {
	case n.state == catalog.ConffileChanged:
		k.Reason = fmt.Sprintf("it differs from what package %s shipped; %s", n.pkg, c.why)
	case n.state == catalog.Changed, n.state == catalog.Unchecked && n.pkg != "":
		return k, false // a packaged file that is no conffile: image, patched or not
	case isUCF:
		k.Reason = fmt.Sprintf("it differs from what its package's script copied (ucf(1)); %s", c.why)
	case generated && !c.secret:
		return k, false
	default:
		k.Reason = "no package shipped it; " + c.why
	}
	switch {
	case leftOver(n.path):
		k.Class, k.Confidence, k.Serves = claim.Drop, claim.Medium, ""
		k.Reason = "a copy beside the configuration in use; by its name nothing reads it"
	case n.size > maxConfigMap:
		k.Class, k.Confidence = claim.Image, claim.Medium
		k.Reason = fmt.Sprintf("%d bytes are too much for a ConfigMap; %s", n.size, c.why)
	case c.secret:
		k.Class = claim.Secret
	}
	return k, true
}

// unserved is what differs from its package and serves no workload.
func (s *run) unserved(n node, owners map[string][]string) {
	if n.state != catalog.ConffileChanged {
		return // places and host rules speak
	}
	c := claim.Claim{
		Class: claim.Image, Reach: claim.Exact, Path: n.path, By: "rule configuration/changed", Authority: claim.ByPackage, Confidence: claim.Medium,
		Reason:   fmt.Sprintf("changed configuration of %s, which has no service of its own: any program of the image may read it", n.pkg),
		Evidence: []claim.Evidence{{Fact: "it differs from what package " + n.pkg + " shipped"}},
	}
	if units := owners[n.pkg]; len(units) > 0 {
		c.Class, c.Authority = claim.Drop, claim.ByHost
		c.Reason = fmt.Sprintf("configuration of %s, which serves no workload: %s", units[0], s.host.leftOut[units[0]])
	}
	s.claims.add(c)
}

// owners are the units that become nothing, by package. A package that has a
// service as well is not among them.
func (s *run) owners() map[string][]string {
	owners, serving := map[string][]string{}, map[string]bool{}
	for _, svc := range s.host.services {
		serving[svc.pkg] = true
	}
	add := func(pkg, unit string) {
		if pkg != "" && !serving[pkg] && s.host.leftOut[unit] != "" {
			owners[pkg] = append(owners[pkg], unit)
		}
	}
	for _, u := range s.host.units {
		add(u.Package, u.Name)
	}
	for _, x := range s.host.scripts {
		add(x.Package, x.Name+".service")
	}
	return owners
}

// madeByPackages weighs only what rules say that programs of packages make.
func (s *run) madeByPackages() (*claim.Resolver, error) {
	var list []claim.Claim
	for _, c := range s.claims.list {
		if c.Authority == claim.ByPackage {
			list = append(list, c)
		}
	}
	return claim.NewResolver(list...)
}

// ucfHashes is where ucf(1) keeps the sums of the files that it copied into
// /etc, as they were shipped: lines of MD5 and path.
const ucfHashes = "/var/lib/ucf/hashfile"

func (s *run) ucfSums() map[hostpath.Path]string {
	data, err := s.root.ReadFile(ucfHashes, 4<<20)
	if err != nil {
		return nil // no ucf on this host
	}
	sums := map[hostpath.Path]string{}
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for lines.Scan() {
		sum, path, ok := strings.Cut(lines.Text(), "  ")
		if ok && len(sum) == 2*md5.Size && strings.HasPrefix(path, "/") {
			sums[hostpath.Clean(path)] = sum
		}
	}
	return sums
}

// md5 is the sum of a small file; "" when it cannot be read.
func (s *run) md5(n node) string {
	if n.size > 16<<20 {
		return ""
	}
	f, err := s.root.OpenNoFollow(n.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := md5.New()
	if _, err := io.Copy(h, io.LimitReader(f, n.size+1)); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// leftOver is true for names that editors and upgrades give to copies.
func leftOver(p hostpath.Path) bool {
	name := p.Base()
	for _, suffix := range []string{"~", ".bak", ".orig", ".save", ".old", ".swp", ".swo", ".rej", ".disabled", ".dpkg-old", ".dpkg-dist", ".dpkg-new", ".dpkg-bak", ".dpkg-tmp", ".dpkg-backup", ".dpkg-remove",
		".ucf-old", ".ucf-dist", ".ucf-new", ".rpmsave", ".rpmnew", ".rpmorig"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return strings.HasPrefix(name, ".#") || strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#")
}
