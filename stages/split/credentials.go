package split

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
)

// credentials reads every text that would be in an image or a ConfigMap and that
// is not as its package shipped it. One that carries a credential becomes secret.
func (s *run) credentials(ctx context.Context) error {
	r, err := s.resolver()
	if err != nil {
		return err
	}
	key, err := fingerprintKey(s.env.Workspace)
	if err != nil {
		return err
	}
	batch := make([]suspect, 0, 256)
	flush := func() error {
		found, unread, err := s.search(ctx, batch, key)
		if err != nil {
			return err
		}
		for i, b := range batch {
			if unread[i] != nil {
				s.unread(b, unread[i])
				continue
			}
			s.carries(b, found[i])
		}
		batch = batch[:0]
		return nil
	}
	for next := int64(1); ; {
		skipped := false
		for n, err := range s.view.from(ctx, next) {
			if err != nil {
				return err
			}
			if n.typ != tree.Regular || n.size == 0 || n.problem != "" || n.pkg != "" && n.state != catalog.Changed && n.state != catalog.ConffileChanged {
				continue
			}
			w, _ := r.Winner(n.subject())
			if !readable(n, w) {
				// A volume may hold a million files: pass over the whole of it.
				if w.Class == claim.Volume {
					if next, err = s.passOver(ctx, r, n, n.id+1); err != nil {
						return err
					}
					if skipped = next > n.id+1; skipped {
						break
					}
				}
				continue
			}
			if batch = append(batch, suspect{n, w}); len(batch) == cap(batch) {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if !skipped {
			return flush()
		}
	}
}

// suspect is a file to be read, and the claim that decides about it so far.
type suspect struct {
	node
	winner claim.Claim
}

// maxScan is how much of a file is read. Longer files are no configuration.
const maxScan = 1 << 20

// readable tells the files that would be in an image or a ConfigMap, or whose
// text becomes a manifest.
func readable(n node, w claim.Claim) bool {
	if n.size > maxScan || packageDatabase(n.path) {
		return false
	}
	switch w.Class {
	case claim.Image, claim.Config, claim.Secret:
		return true
	case claim.Drop:
		return manifestText(n.path)
	}
	return false
}

// packageDatabase is what the package manager itself keeps: scripts and lists
// that every host with these packages has.
func packageDatabase(p hostpath.Path) bool {
	return p.Within("/var/lib/dpkg") || p.Within("/var/lib/rpm") || p.Within("/usr/lib/sysimage") || p.Within("/lib/apk")
}

// manifestText is what becomes manifests: units, jobs, init scripts.
func manifestText(p hostpath.Path) bool {
	for _, dir := range []hostpath.Path{"/etc/systemd/system", "/etc/cron.d", "/etc/init.d", "/var/spool/cron"} {
		if p.Within(dir) {
			return true
		}
	}
	return p == "/etc/crontab" || strings.Contains(string(p), "/systemd/system/")
}

// volumeAbove is the topmost directory above p that is a volume, in which no
// decision of the user makes anything else of a part.
func (s *run) volumeAbove(ctx context.Context, r *claim.Resolver, p hostpath.Path) (hostpath.Path, bool, error) {
	for _, dir := range ancestors(p) {
		n, ok, err := s.view.at(ctx, dir)
		if err != nil || !ok {
			return "", false, err
		}
		if w, _ := r.Winner(n.subject()); w.Class == claim.Volume && !slices.ContainsFunc(s.claims.list, func(c claim.Claim) bool {
			return c.Authority == claim.ByUser && c.Class != claim.Volume && (c.Reach == claim.Glob || c.Path.Within(dir))
		}) {
			return dir, true, nil
		}
	}
	return "", false, nil
}

// passOver is the ID of the first entry behind the volume that holds n.
func (s *run) passOver(ctx context.Context, r *claim.Resolver, n node, next int64) (int64, error) {
	dir, ok, err := s.volumeAbove(ctx, r, n.path)
	if err != nil || !ok {
		return next, err
	}
	d, _, err := s.view.at(ctx, dir)
	if err != nil {
		return next, err
	}
	after, err := s.view.after(ctx, d)
	return max(next, after), err
}

// unreadError says that a file could not be read.
type unreadError struct{ error }

func (e unreadError) Unwrap() error { return e.error }

// unread keeps a file out of everything when nobody can tell whether it carries
// a credential: later, it might be readable again.
func (s *run) unread(b suspect, err error) {
	s.claims.add(claim.Claim{
		Class: claim.Unreadable, Reach: claim.Exact, Path: b.path, Authority: claim.ByNature, By: "rule nature/unread",
		Reason:   fmt.Sprintf("it could not be read (%s); accept it by name in %s, or make it readable and run again", reason(err), s.decisions.File),
		Evidence: []claim.Evidence{{Path: b.path, Fact: reason(err)}},
	})
}

// reason is the error of the system call alone, where there was one.
func reason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// search reads the files side by side and gives what each one holds, and why it
// could not be read.
func (s *run) search(ctx context.Context, batch []suspect, key []byte) ([][]handoff.Credential, []error, error) {
	found, unread := make([][]handoff.Credential, len(batch)), make([]error, len(batch))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, b := range batch {
		group.Go(func() error {
			var err error
			found[i], err = s.searchFile(ctx, b, key)
			if errors.As(err, new(unreadError)) && ctx.Err() == nil {
				unread[i], err = err, nil
			}
			return err
		})
	}
	return found, unread, group.Wait()
}

// maxPerFile bounds what is listed of one file: that it carries credentials is
// known by the first.
const maxPerFile = 50

func (s *run) searchFile(ctx context.Context, b suspect, key []byte) ([]handoff.Credential, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []handoff.Credential
	by := b.winner.By
	if kind, ok := credential.FileKind(string(b.path)); ok && !public(b.path) {
		out = append(out, handoff.Credential{Path: b.path, Kind: string(kind), By: "name of the file"})
	}
	f, err := s.root.OpenNoFollow(b.path)
	if err != nil {
		return nil, unreadError{err}
	}
	defer f.Close()
	for x, err := range credential.ScanFile(string(b.path), f, maxScan) {
		if errors.Is(err, credential.ErrLimit) {
			break // it grew: the scan's sizes are compared where content is copied
		}
		if err != nil {
			return nil, unreadError{err}
		}
		if x.Confidence == claim.Low && b.winner.Class == claim.Image {
			continue // an example in a comment of code
		}
		c := handoff.Credential{Path: b.path, Line: x.Line, Kind: string(x.Kind), Key: x.Key, By: by}
		if x.Value != "" {
			c.Fingerprint = fingerprint(key, string(x.Value))
		}
		if out = append(out, c); len(out) == maxPerFile {
			break
		}
	}
	return append(out, s.secretSettings(b, out)...), nil
}

// secretSettings are the credentials in a file that its application's profile
// knows and that look like none.
func (s *run) secretSettings(b suspect, found []handoff.Credential) []handoff.Credential {
	var out []handoff.Credential
	for _, x := range s.host.secrets[b.path] {
		if !slices.ContainsFunc(found, func(c handoff.Credential) bool { return c.Line == x.Line }) {
			out = append(out, handoff.Credential{Path: b.path, Line: x.Line, Kind: string(credential.Password), Key: lastPart(x.Key), By: "profile " + x.Profile})
		}
	}
	return out
}

// public certificates have names like keys.
func public(p hostpath.Path) bool {
	return strings.HasSuffix(string(p), ".pub") || path.Ext(string(p)) == ".crt"
}

// carries makes a secret of a file that carries a credential.
func (s *run) carries(b suspect, found []handoff.Credential) {
	if len(found) == 0 {
		return
	}
	s.found = append(s.found, found...)
	if b.winner.Class == claim.Drop || b.typ != tree.Regular {
		return
	}
	first := found[0]
	what := "a " + first.Kind
	if first.Key != "" {
		what += " (" + first.Key + ")"
	}
	c := claim.Claim{
		Class: claim.Secret, Reach: claim.Exact, Path: b.path, Reason: "it carries " + what, By: "rule safety/credential", Authority: claim.BySafety,
		Evidence: []claim.Evidence{{Path: b.path, Line: first.Line, Fact: what}}, Serves: b.winner.Serves, Confidence: claim.High,
	}
	if c.Serves == "" {
		c.Confidence = claim.Low
		c.Reason += "; no workload is known that reads it, and it must be in no image"
	} else if b.winner.Class != claim.Image {
		c.Reason += "; " + b.winner.Reason
	}
	s.claims.add(c)
	for _, k := range s.claims.list { // whoever else reads it
		if k.Path == b.path && k.Reach == claim.Exact && k.Serves != "" && k.Serves != b.winner.Serves && (k.Class == claim.Config || k.Class == claim.Secret) {
			c.Serves = k.Serves
			s.claims.add(c)
		}
	}
}

// keyFile holds the key of the fingerprints, so that equal credentials can be
// seen to be equal within one workspace, and guessed in none.
const keyFile = "fingerprint.key"

func fingerprintKey(w workspace.Workspace) ([]byte, error) {
	name := w.Path(workspace.Run, keyFile)
	key, err := os.ReadFile(name)
	switch {
	case err == nil && len(key) == sha256.Size:
		return key, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("key of fingerprints: %w", err)
	}
	key = make([]byte, sha256.Size)
	if _, err := io.ReadFull(rand.Reader, key); err != nil {
		return nil, fmt.Errorf("key of fingerprints: %w", err)
	}
	if err := os.MkdirAll(w.Path(workspace.Run), 0o700); err != nil {
		return nil, fmt.Errorf("key of fingerprints: %w", err)
	}
	return key, atomicfile.Write(name, key, 0o600)
}

func fingerprint(key []byte, value string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(value))
	return hex.EncodeToString(m.Sum(nil))[:12]
}
