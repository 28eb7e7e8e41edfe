// Package handoff holds the documents that stages hand to each other, one file
// for each, in pipeline order: source, inventory, split, plan, images, objects,
// manifests, seeds, copies, verdicts. Each is a small JSON document under
// run/ in the workspace; what is too large for that is in inventory.db or in a
// file that the document names with its digest.
package handoff

import "time"

// Source says what is lifted. Written by source, read by scan and by every
// stage that reads content.
type Source struct {
	// Spec is what the user gave, without credentials.
	Spec string `json:"spec"`
	// Kind is "root" (the running system), "directory" or "archive".
	Kind string `json:"kind"`
	// Root is the directory with the root file system; for an archive, where it
	// was unpacked in the workspace.
	Root    string   `json:"root"`
	Archive *Archive `json:"archive,omitempty"`
}

// Live reports whether the source is a running system.
func (s Source) Live() bool { return s.Kind == "root" }

// Archive is the file that the source was unpacked from.
type Archive struct {
	Path    string    `json:"path"` // on this machine, also after a download
	Size    int64     `json:"size"`
	ModTime time.Time `json:"modTime"`
	SHA256  string    `json:"sha256"`
	Format  string    `json:"format"` // tar, tar+gzip, tar+zstd, tar+xz
	Entries int64     `json:"entries"`
}
