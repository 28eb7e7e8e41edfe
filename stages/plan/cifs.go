package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/mountcifs"
)

// smbDriver is the CSI driver for SMB of the Kubernetes project, whose keys of a
// Secret and attributes of a volume other drivers know too.
const smbDriver = "smb.csi.k8s.io"

// noDriver is the answer for a share that nobody mounts.
const noDriver = "none: leave it out"

// csiShare decides how a share is mounted that Kubernetes does not mount by
// itself: by the driver that the user names, or that the cluster is seen to
// have; else by none.
func (p *planner) csiShare(ctx context.Context, f facts.Fstab, sh *handoff.Share) error {
	known := noDriver
	if sh.SMB() && slices.ContainsFunc(p.target.StorageClasses, func(c handoff.StorageClass) bool { return c.Provisioner == smbDriver }) {
		known = smbDriver
	}
	answer := firstOf(p.answer(sh.Name), known)
	p.plan.Questions = append(p.plan.Questions, handoff.Question{
		ID: sh.Name, About: sh.Path.String(),
		Text:    fmt.Sprintf("%s is a %s share. Kubernetes mounts it by a CSI driver of the cluster only, with credentials in a Secret. Which one?", sh.Path, sh.FSType),
		Choices: []string{noDriver, "the name of the CSI driver"}, Default: known,
	})
	if !strings.HasPrefix(answer, "none") {
		if sh.SMB() {
			sh.Driver = answer
		} else {
			p.risk("high", sh.Path.String(), fmt.Sprintf("the volume of a %s share for %s is not written: what its driver wants to be told is not known", sh.FSType, answer), "make the PersistentVolume by hand")
		}
	}
	if !sh.SMB() {
		return nil
	}
	return p.shareCredentials(ctx, f, sh)
}

// shareCredentials makes a Secret of what the share is mounted with.
func (p *planner) shareCredentials(ctx context.Context, f facts.Fstab, sh *handoff.Share) error {
	set := handoff.FileSet{Name: sh.Name + "-secret", Values: map[string]string{}}
	for _, o := range f.Options {
		name, value, _ := strings.Cut(o, "=")
		switch strings.ToLower(name) {
		case "credentials", "cred":
			path, err := hostpath.Parse(value)
			if err != nil {
				continue
			}
			if err := p.credentialsFile(ctx, path, sh, &set); err != nil {
				return err
			}
		case "username", "user":
			if value != "" && !strings.Contains(value, facts.Redacted) {
				set.Values[mountcifs.Username] = value
			}
		case "domain", "dom", "workgroup":
			set.Values[mountcifs.Domain] = value
		}
		if strings.Contains(o, facts.Redacted) {
			p.risk("high", sh.Path.String(), fmt.Sprintf("the password of the share stands in %s itself, from where it is not taken along", place(f.Source)),
				"put it into a file of mode 0600 that the option credentials= names, and scan again")
		}
	}
	for _, file := range set.Files {
		delete(set.Values, file.Key) // what the file says counts
	}
	if len(set.Files) > 0 {
		sh.Secret = set.Name
		p.plan.Secrets = append(p.plan.Secrets, set)
	}
	return nil
}

// credentialsFile takes each option of the file under a key of its own.
func (p *planner) credentialsFile(ctx context.Context, path hostpath.Path, sh *handoff.Share, set *handoff.FileSet) error {
	e, ok, err := p.resolved(ctx, path)
	if err != nil {
		return err
	}
	data, readErr := p.host.root.ReadFile(path, maxEnvFile)
	if !ok || readErr != nil {
		p.risk("high", sh.Path.String(), fmt.Sprintf("the credentials of the share are in %s, which cannot be read", path), "make it readable and scan again")
		return nil
	}
	found := mountcifs.Credentials(data)
	for _, option := range sortedKeys(found) {
		set.Files = append(set.Files, handoff.KeyFile{Key: option, Path: e.Path, Size: int64(len(found[option])), Mode: 0o400, Option: option})
		set.Bytes += int64(len(option) + len(found[option]))
	}
	return nil
}

// ofShare reports whether a file is in the Secret of a share.
func (p *planner) ofShare(file hostpath.Path) bool {
	return slices.ContainsFunc(p.plan.Shares, func(sh handoff.Share) bool {
		return sh.Secret != "" && slices.ContainsFunc(p.plan.Secrets, func(set handoff.FileSet) bool {
			return set.Name == sh.Secret && slices.ContainsFunc(set.Files, func(f handoff.KeyFile) bool { return f.Path == file })
		})
	})
}
