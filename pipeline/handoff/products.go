package handoff

import (
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Images lists the container images. Written by images, read by manifests,
// deploy and verify.
type Images struct {
	Layout   string  `json:"layout"`             // directory with the OCI image layout, relative to the workspace
	Registry string  `json:"registry,omitempty"` // where they were pushed
	Tag      string  `json:"tag,omitempty"`      // that they have there beside the one of their digest
	Images   []Image `json:"images"`
	// Shape is the SHA-256 over what decided about the layers, see
	// imageset.Set.Shape.
	Shape string `json:"shape"`
	// Notes are what could not be kept exactly as it was: a hard link that had
	// to become a copy.
	Notes []string `json:"notes,omitempty"`
	// Missing are paths of class image that are in no image.
	Missing []Missing `json:"missing,omitempty"`
}

// Missing is a path that was not taken along, since it was not as the scan saw
// it any more.
type Missing struct {
	Path hostpath.Path `json:"path"`
	Why  string        `json:"why"`
}

// Image is one image.
type Image struct {
	Name   string       `json:"name"`          // as in Container.Image
	Digest string       `json:"digest"`        // of the manifest, sha256:…
	Ref    string       `json:"ref,omitempty"` // REGISTRY/NAME@DIGEST after a push
	Size   int64        `json:"size"`          // compressed, all layers
	Layers []ImageLayer `json:"layers"`
}

// ImageLayer is one layer; equal layers of several images are one blob.
type ImageLayer struct {
	Digest    string `json:"digest"` // compressed
	DiffID    string `json:"diffID"` // uncompressed
	Size      int64  `json:"size"`
	MediaType string `json:"mediaType"`
	Entries   int64  `json:"entries"`
	Bytes     int64  `json:"bytes"` // of content
	What      string `json:"what"`  // for people: "packages a–m", "apache2"
}

// Objects is what went to the store. Written by objects, read by verify.
type Objects struct {
	Store       string `json:"store"` // for people, without credentials
	Index       string `json:"index"` // name of the index in the store
	IndexSHA256 string `json:"indexSHA256"`
	Count       int64  `json:"count"` // of regular files, by path
	Bytes       int64  `json:"bytes"` // a hard-linked inode counted once
	// Missing are paths of class object that are not in the index.
	Missing []Missing `json:"missing,omitempty"`
}

// IndexEntry is one line of the index of the store (JSON lines, by path).
type IndexEntry struct {
	Object string        `json:"object"` // name in the store
	Path   hostpath.Path `json:"path"`   // on the host
	Size   int64         `json:"size"`
	SHA256 string        `json:"sha256"`
	Mode   uint32        `json:"mode"`
	UID    uint32        `json:"uid"`
	GID    uint32        `json:"gid"`
	Mtime  int64         `json:"mtime"` // nanoseconds since the epoch
	Type   string        `json:"type"`
	Target string        `json:"target,omitempty"` // of a symlink, escaped
}

// Manifests lists the files under manifests/. Written by manifests, read by
// deploy and verify.
type Manifests struct {
	Directory string         `json:"directory"`
	Files     []ManifestFile `json:"files"` // kustomization.yaml first
}

// ManifestFile is one file with one object.
type ManifestFile struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Object    string `json:"object"`
	SHA256    string `json:"sha256"`
	Sensitive bool   `json:"sensitive,omitempty"` // a Secret: the file is for its owner only
}

// Seeds lists the initial content of the volumes. Written by seed, read by
// deploy and verify.
type Seeds struct {
	Layout string `json:"layout"` // OCI layout directory, relative to the workspace
	Seeds  []Seed `json:"seeds"`
	// Backups are the databases that were taken while they ran.
	Backups []Backup `json:"backups,omitempty"`
}

// Seed is the content of one volume.
type Seed struct {
	Volume  string `json:"volume"`
	Digest  string `json:"digest"` // of the seed's manifest
	Tree    string `json:"tree"`   // tree digest of what was read at the source
	Entries int64  `json:"entries"`
	Files   int64  `json:"files"`
	Bytes   int64  `json:"bytes"`
	Stored  int64  `json:"stored"` // bytes of all blobs
	Blobs   int    `json:"blobs"`
}

// Copies lists what was filled. Written by deploy, read by verify.
type Copies struct {
	Target   string        `json:"target"` // "rehearsal" or the cluster's context and namespace
	Receipts []ReceiptFile `json:"receipts"`
	// Transfers are the receipts of databases that live outside the cluster, each
	// with its workload in the place of the volume.
	Transfers []ReceiptFile `json:"transfers,omitempty"`
}

// ReceiptFile names one receipt under receipts/.
type ReceiptFile struct {
	Volume string `json:"volume"`
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Proved bool   `json:"proved"`
	// Mark is [Receipt.Mark], which the file does not have: two runs that end the
	// same have equal receipts.
	Mark int64 `json:"markNanoseconds,omitempty"`
}

// Receipt is the proof of one copy.
type Receipt struct {
	Version    int    `json:"version"`
	Volume     string `json:"volume"`
	Seed       string `json:"seed"`       // digest of the seed
	SourceTree string `json:"sourceTree"` // tree digest of what was read at the source
	// Taken says how databases in it were taken consistently while they ran.
	Taken           []string     `json:"taken,omitempty"`
	CopyTree        string       `json:"copyTree"` // tree digest of what was read back
	Proved          bool         `json:"proved"`   // the trees are equal
	Entries         int64        `json:"entries"`
	Files           int64        `json:"files"`
	Bytes           int64        `json:"bytes"`
	Listing         string       `json:"listing"` // file with the full listing, beside the receipt
	ListingSHA      string       `json:"listingSHA256"`
	Differences     []Difference `json:"differences"` // the first thousand
	DifferenceCount int64        `json:"differenceCount"`
	NotCompared     []string     `json:"notCompared,omitempty"` // what the file system there cannot hold, by name
	// Deltas are the digests of the deltas that were applied after the seed, in
	// their order.
	Deltas []string `json:"deltas,omitempty"`
	// Carried are files, and their bytes, whose content was not read back again
	// for this receipt: it was proved before, and the file system there says that
	// nobody touched them since (ctime, inode(7)).
	Carried      int64 `json:"carried,omitempty"`
	CarriedBytes int64 `json:"carriedBytes,omitempty"`
	// Mark is a moment of the clock of the volume's file system, in nanoseconds
	// since the epoch, after the last write of the copy and before it was read
	// back: what has an earlier ctime was not touched since this proof. 0 when
	// nothing could be written to tell.
	Mark int64 `json:"markNanoseconds,omitempty"`
}

// Difference is one path that is not as it was.
type Difference struct {
	Path   hostpath.Path `json:"path"`
	What   string        `json:"what"` // missing, extra, content, mode, owner, mtime, xattrs, target, type, size, link
	Source string        `json:"source,omitempty"`
	Copy   string        `json:"copy,omitempty"`
}

// Verdicts is the final table. Written by verify.
type Verdicts struct {
	Checks     []Check  `json:"checks"`
	Proved     bool     `json:"proved"`     // every check passed
	Incomplete []string `json:"incomplete"` // why the run is no success although every check passed
}

// Check is one thing that was proved again.
type Check struct {
	What   string `json:"what"` // image, volume, object, manifest, balance
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}
