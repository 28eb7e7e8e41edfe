package split

import (
	"context"
	"fmt"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// nature claims what nobody can decide otherwise: what could not be read, and
// what lies on another file system and so was not read.
func (s *run) nature(ctx context.Context) error {
	s.claims.add(claim.Claim{
		Class: claim.Unreadable, Reach: claim.Every, Path: hostpath.Root, When: "problem=*",
		Reason: "it could not be read; accept it by name in " + s.decisions.File + ", or make it readable and run again",
		By:     "rule nature/unreadable", Authority: claim.ByNature,
	})
	s.claims.add(claim.Claim{
		Class: claim.Volume, Reach: claim.Every, Path: hostpath.Root,
		Reason: "nobody claims it, and unknown data is never dropped", Confidence: claim.Low,
		By: "rule nature/unclaimed", Authority: claim.ByNobody,
	})
	list, err := s.cat.Mounted(ctx)
	if err != nil {
		return err
	}
	for _, e := range list {
		s.claims.add(s.mounted(nodeOf(&e)))
	}
	return nil
}

// workspaceFS is what the scan calls the workspace, when it is below the source.
const workspaceFS = "statelift-workspace"

// mounted says what becomes of another file system, which the scan did not enter.
func (s *run) mounted(n node) claim.Claim {
	c := claim.Claim{
		Class: claim.Unreadable, Reach: claim.Exact, Path: n.path, Authority: claim.ByNature, By: "rule nature/other-file-system",
		Reason:   fmt.Sprintf("another file system (%s) is mounted here, and was not read: lift it on its own, or accept it by name in %s", n.fs, s.decisions.File),
		Evidence: []claim.Evidence{{Path: n.path, Fact: "mounted: " + n.fs}},
	}
	switch {
	case n.fs == workspaceFS:
		c.Class, c.Reason = claim.Drop, "the workspace of this lift, no part of the host"
	case (facts.Fstab{FSType: n.fs}).Network():
		c.Class, c.Reason = claim.Share, fmt.Sprintf("a network share (%s): it stays where it is and is mounted from there", n.fs)
	case n.fs == "tmpfs" || n.fs == "ramfs":
		c.Class, c.Reason = claim.Ephemeral, "a file system in memory, empty after every boot (tmpfs(5))"
		if n.path.Within("/dev") {
			c.Class, c.Reason = claim.Drop, "devices of this host; a container gets its own /dev"
		}
	case virtual(n.fs):
		c.Class, c.Reason = claim.Drop, fmt.Sprintf("the kernel shows this (%s), nothing is stored", n.fs)
	case n.fs == "squashfs" && n.path.Within("/snap"):
		c.Class, c.Reason = claim.Drop, "a snap, a read-only package of the host"
	case n.fs == "swap":
		c.Class, c.Reason = claim.Drop, "swap space"
	}
	return c
}

func virtual(fs string) bool {
	switch fs {
	case "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "configfs", "fusectl", "mqueue",
		"hugetlbfs", "pstore", "bpf", "binfmt_misc", "autofs", "rpc_pipefs", "efivarfs", "selinuxfs", "nsfs", "fuse.lxcfs", "fuse.gvfsd-fuse", "nfsd":
		return true
	}
	return false
}

// shares claims the mount points that fstab(5) names, also where nothing is
// mounted now: a copy of a host has its shares as empty directories.
func (s *run) shares(ctx context.Context) error {
	for _, f := range s.host.fstab {
		if !s.mountPoint(f) {
			continue
		}
		if err := s.shareCredentials(ctx, f); err != nil {
			return err
		}
		c := claim.Claim{
			Reach: claim.Tree, Path: f.Target, Authority: claim.BySafety, By: "rule fstab/" + f.FSType,
			Evidence: []claim.Evidence{at(f.Source, f.FSType)},
		}
		switch {
		case f.Network():
			c.Class, c.Reason = claim.Share, "fstab mounts a network share here: it stays where it is"
		case f.FSType == "tmpfs" || f.FSType == "ramfs":
			c.Class, c.Reason = claim.Ephemeral, "fstab mounts a file system in memory here"
		default:
			n, ok, err := s.view.at(ctx, f.Target)
			if err != nil {
				return err
			}
			if !ok || n.fs != "" || s.standard(f.Target) {
				continue
			}
			c.Class, c.Authority, c.Confidence = claim.Volume, claim.ByUnit, claim.Low
			c.Reason = fmt.Sprintf("fstab mounts a file system (%s) here of its own; see that the source holds its content", f.FSType)
		}
		s.claims.add(c)
	}
	return nil
}

func (s *run) mountPoint(f facts.Fstab) bool {
	return f.Target != "" && f.Target != hostpath.Root && f.Target != "none" && f.FSType != "swap" && !virtual(f.FSType) && f.Target != "/none"
}

// standard is true for directories that the rules know: /var on a file system
// of its own is still /var.
func (s *run) standard(p hostpath.Path) bool {
	return neverClaimed(p) || p.Within("/boot") || p == "/efi"
}
