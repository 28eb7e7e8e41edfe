package handoff

import (
	"fmt"
	"slices"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Split sums up where everything goes. The class of each path is in
// inventory.db. Written by split, read by plan and images.
type Split struct {
	// Digest is the SHA-256 over all claims and placements of inventory.db.
	Digest string `json:"digest"`
	// Classes has, for each class that any path has, the SHA-256 over its entries
	// with the units that they serve.
	Classes map[claim.Class]string `json:"classes"`
	Balance Balance                `json:"balance"`
	// Volumes are the topmost directories of class volume: everything below
	// them is in that volume.
	Volumes     []VolumeRoot `json:"volumes"`
	Credentials []Credential `json:"credentials"`
	// Ephemeral are the topmost ephemeral directories that a service needs with
	// their owner and mode.
	Ephemeral []EphemeralDir `json:"ephemeral"`
	Claims    int            `json:"claims"`
	// Accepted are unreadable paths that statelift.yaml does without; the first
	// thousand.
	Accepted   []hostpath.Path `json:"accepted,omitempty"`
	Unreadable []hostpath.Path `json:"unreadable,omitempty"` // not accepted; the first thousand
	// UnreadableCount is the number of all that are not accepted.
	UnreadableCount int64 `json:"unreadableCount"`
	// Whiteouts are those among Unreadable that can be read, and be in no image:
	// their names say there that something is deleted (OCI image-spec layer.md).
	Whiteouts []hostpath.Path `json:"whiteouts,omitempty"`
	// Changed are those among Unreadable that could be read, and changed then.
	Changed []hostpath.Path `json:"changed,omitempty"`
}

// NotTaken says why a path that is among Unreadable stops a success, and what
// the file with the user's decisions can do about it.
func (s Split) NotTaken(p hostpath.Path, decisions string) string {
	if slices.Contains(s.Whiteouts, p) {
		return fmt.Sprintf("%s can be in no image, where a name that begins with .wh. deletes: give it another class or accept it in %s", p, decisions)
	}
	if slices.Contains(s.Changed, p) {
		return fmt.Sprintf("%s changed while it was scanned, and is not accepted in %s: run again when it is at rest", p, decisions)
	}
	return fmt.Sprintf("%s could not be read and is not accepted in %s", p, decisions)
}

// Balance is the account of the host: the classes add up to the total.
type Balance struct {
	Classes []ClassTally `json:"classes"` // in the order of claim.Classes, all of them
	Total   ClassTally   `json:"total"`   // counted on its own, not added up
}

// ClassTally is one line of the balance. Bytes are logical, a hard-linked inode
// counted once.
type ClassTally struct {
	Class     claim.Class `json:"class"`
	Entries   int64       `json:"entries"`
	Files     int64       `json:"files"`
	Bytes     int64       `json:"bytes"`
	Allocated int64       `json:"allocated"`
}

// Even reports whether the classes add up to the total, in entries and bytes.
func (b Balance) Even() bool {
	var sum ClassTally
	for _, c := range b.Classes {
		sum.Entries += c.Entries
		sum.Files += c.Files
		sum.Bytes += c.Bytes
	}
	return sum.Entries == b.Total.Entries && sum.Files == b.Total.Files && sum.Bytes == b.Total.Bytes
}

// VolumeRoot is a directory that becomes (part of) a volume.
type VolumeRoot struct {
	Path    hostpath.Path `json:"path"`
	Entries int64         `json:"entries"`
	Files   int64         `json:"files"`
	Bytes   int64         `json:"bytes"`
	// SmallFiles are regular files under 4 KiB; Largest is the largest file.
	SmallFiles int64            `json:"smallFiles"`
	Largest    int64            `json:"largest"`
	UID        uint32           `json:"uid"`
	GID        uint32           `json:"gid"`
	Mode       uint32           `json:"mode"`
	Claim      int64            `json:"claim"`
	Serves     []string         `json:"serves,omitempty"` // units
	Confidence claim.Confidence `json:"confidence"`
	Reason     string           `json:"reason"`
	// Code counts files below the root that look like programs or code, the
	// sign of state mixed into code.
	Code int64 `json:"code"`
}

// Credential says that a file holds one, never which.
type Credential struct {
	Path        hostpath.Path `json:"path"`
	Line        int           `json:"line"`
	Kind        string        `json:"kind"` // password, token, private key, …
	Key         string        `json:"key,omitempty"`
	Fingerprint string        `json:"fingerprint"` // first 12 hex digits of HMAC-SHA-256 under a key of the workspace: equal ones are equal
	By          string        `json:"by"`
}

// EphemeralDir is a directory that must exist, empty, with owner and mode.
type EphemeralDir struct {
	Path   hostpath.Path `json:"path"`
	UID    uint32        `json:"uid"`
	GID    uint32        `json:"gid"`
	Mode   uint32        `json:"mode"`
	Serves []string      `json:"serves,omitempty"`
	Reason string        `json:"reason"`
}
