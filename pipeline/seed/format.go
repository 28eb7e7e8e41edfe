package seed

import (
	"github.com/statelift/statelift/pipeline/oci"
)

// Artifact and media types of a seed.
const (
	ArtifactType = "application/vnd.statelift.seed.v1"
	PageType     = "application/vnd.statelift.seed.page.v1"
	MediaConfig  = "application/vnd.statelift.seed.config.v1+json"
	MediaListing = "application/vnd.statelift.seed.listing.v1+zstd"
	MediaMap     = "application/vnd.statelift.seed.map.v1+zstd"
	MediaPack    = "application/vnd.statelift.seed.pack.v1.tar+zstd"
	MediaPart    = "application/vnd.statelift.seed.part.v1"
	MediaZPart   = "application/vnd.statelift.seed.part.v1+zstd"
)

// Version is of the format.
const Version = 1

// Config is the config document of a seed.
type Config struct {
	Version int    `json:"version"`
	Volume  string `json:"volume"`
	Tree    string `json:"tree"` // digest of the tree: SHA-256 of the listing, hexadecimal
	// Taken says how databases in it were taken consistently while they ran.
	Taken   []string `json:"taken,omitempty"`
	Entries int64    `json:"entries"`
	Files   int64    `json:"files"` // regular files, by path
	Bytes   int64    `json:"bytes"` // logical, a hard-linked inode once
	// Data is what of Bytes is in blobs, that is, without parts of zeros.
	Data    int64  `json:"data"`
	Units   int64  `json:"units"`
	Listing Packed `json:"listing"`
	Map     Packed `json:"map"`
}

// Packed is a blob and how long its content is when it is unpacked.
type Packed struct {
	Digest oci.Digest `json:"digest"`
	Size   int64      `json:"size"` // of the blob
	Raw    int64      `json:"raw"`  // unpacked
}

// Unit is a line of the map: where the content of the next Records lines of the
// listing is. Indices count from 0 within the unit.
type Unit struct {
	Records int     `json:"records"`
	Pack    *Packed `json:"pack,omitempty"`
	Sparse  []int   `json:"sparse,omitempty"` // files with holes, packed or large
	Large   []Large `json:"large,omitempty"`
}

// Large is a file in parts.
type Large struct {
	At    int    `json:"at"` // index of its record
	Parts []Part `json:"parts"`
}

// Part is a piece of a large file. Without a digest it is Raw zeros.
type Part struct {
	Digest oci.Digest `json:"digest,omitempty"`
	Size   int64      `json:"size,omitempty"`
	Raw    int64      `json:"raw"`
	Zstd   bool       `json:"zstd,omitempty"`
}

// The limits of a unit, beyond which a reader refuses a seed.
const (
	maxRecords = 8192
	maxUnit    = 64 << 20 // bytes of a line of the map
	maxRawPack = 1 << 30
)

// Block is the granularity of holes.
const Block = 4096

// Limits say what is packed and what is cut. They are part of what makes the
// digests; the zero value of each is the usual one.
type Limits struct {
	LargeFrom int64 // files of this size and more are large: 8 MiB
	PartSize  int64 // 32 MiB
	PackBytes int64 // a unit may end from here on: 8 MiB; at thrice that it does
	PackPaths int   // or from here on: 2,048; at four times that it does
	PageBlobs int   // layers of one manifest: 4,096, about 900 KiB
}

func (l Limits) orUsual() Limits {
	if l.LargeFrom == 0 {
		l.LargeFrom = 8 << 20
	}
	if l.PartSize == 0 {
		l.PartSize = 32 << 20
	}
	if l.PackBytes == 0 {
		l.PackBytes = 8 << 20
	}
	if l.PackPaths == 0 {
		l.PackPaths = maxRecords / 4
	}
	if l.PageBlobs == 0 {
		l.PageBlobs = 4096
	}
	return l
}
