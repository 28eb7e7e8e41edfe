package delta

import (
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
)

// Artifact and media types of a delta.
const (
	ArtifactType = "application/vnd.statelift.delta.v1"
	MediaConfig  = "application/vnd.statelift.delta.config.v1+json"
	MediaChanges = "application/vnd.statelift.delta.changes.v1+zstd"
)

// Version is of the format.
const Version = 1

// BlockSize is the granularity in which changes of large files are found.
const BlockSize = seed.DigestBlock

// Config is the config document of a delta.
type Config struct {
	Version int    `json:"version"`
	Volume  string `json:"volume"`
	// Seed is the digest of the seed that the first delta is based on, Previous
	// that of the delta before this one, "" for the first.
	Seed     oci.Digest `json:"seed"`
	Previous oci.Digest `json:"previous,omitempty"`
	Number   int        `json:"number"` // from 1
	From     string     `json:"from"`   // tree digest before
	To       string     `json:"to"`     // tree digest after
	Entries  int64      `json:"entries"`
	Files    int64      `json:"files"`
	Bytes    int64      `json:"bytes"`
	// Data is how many bytes of content the delta brings.
	Data    int64       `json:"data"`
	Changes seed.Packed `json:"changes"`
	Count   int64       `json:"count"` // of paths that changed
}

// Patch says how the content of a large file comes from another one, which a
// state before had: runs of it are replaced, then it is cut, or extended with
// zeros, to the size of its record.
type Patch struct {
	Base  string      `json:"base"` // SHA-256 of the content before, hexadecimal
	Size  int64       `json:"size"` // of the content before
	Blobs []PatchBlob `json:"blobs"`
}

// PatchBlob is a blob that holds runs of a file, one after the other. Without a
// digest they are all zero.
type PatchBlob struct {
	seed.Part
	Runs []Run `json:"runs"`
}

// Run is a place in a file.
type Run struct {
	At  int64 `json:"at"`
	Raw int64 `json:"raw"`
}

// Base is the state that the next delta starts from.
type Base struct {
	Volume string           `json:"volume"`
	Seed   oci.Digest       `json:"seed"`
	Deltas []oci.Descriptor `json:"deltas"` // confirmed, in their order
	Tree   string           `json:"tree"`   // tree digest
	State  string           `json:"state"`  // file in the same directory
}
