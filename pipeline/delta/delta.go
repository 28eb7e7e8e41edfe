package delta

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
)

// Source opens directories of the live host without following symlinks;
// [rootfs.Root] is one.
type Source = seed.Source

// MakeOptions say what a delta is made of.
type MakeOptions struct {
	Volume string
	Root   hostpath.Path // the volume's root on the host
	Source Source
	// Dir is where the state of the last confirmed round is kept: rounds/VOLUME.
	// The stage seed makes it.
	Dir    string
	Layout *oci.Layout // of the seeds, which the delta's blobs come to
	// Checksum has every file read, also those that look the same.
	Checksum bool
	Workers  int // at least 1
	// Progress is told the bytes of content that were read; it is called
	// concurrently and may be nil.
	Progress func(bytes int64)
}

// Made is a delta that was made and not confirmed yet.
type Made struct {
	// Round has the figures of the round, without what happens after the source:
	// Send, Apply and Receipt are the caller's to fill in.
	Round handoff.VolumeRound
	// Delta is the manifest in the layout, zero when nothing changed.
	Delta oci.Descriptor

	dir    string
	base   Base
	layout *oci.Layout
	next   string // file with the new state, "" when nothing changed
}

// ApplyOptions say what a directory is to become.
type ApplyOptions struct {
	Dir     string // the volume; it must exist
	Listing string // file, outside of Dir, that gets what was found in the end
	Seed    *seed.Seed
	Deltas  []*Delta // all since the seed, in their order
	// Proof is of the last receipt of this directory; zero has everything read
	// back.
	Proof Proof
	Copy  copier.Options
}

// Proof is what a receipt proved of a directory: that it was as after the delta
// Newest, or as the seed of that digest, at the moment Mark of its file system
// (see [handoff.Receipt]).
type Proof struct {
	Newest oci.Digest
	Mark   int64
}

// String is the form that ParseProof reads: DIGEST@MARK.
func (p Proof) String() string {
	if p.Mark == 0 {
		return ""
	}
	return fmt.Sprintf("%s@%d", p.Newest, p.Mark)
}

// ParseProof reads a proof; "" is the zero one.
func ParseProof(text string) (Proof, error) {
	if text == "" {
		return Proof{}, nil
	}
	digest, mark, ok := strings.Cut(text, "@")
	p := Proof{Newest: oci.Digest(digest)}
	_, err := p.Newest.Hex()
	if err == nil && ok {
		p.Mark, err = strconv.ParseInt(mark, 10, 64)
	}
	if err != nil || !ok || p.Mark <= 0 {
		return Proof{}, errors.Join(fmt.Errorf("%q is not sha256:HEX@NANOSECONDS", text), err)
	}
	return p, nil
}

// ProofOf is the proof in a receipt, zero when there is none.
func ProofOf(r handoff.Receipt) Proof {
	if !r.Proved || r.Mark == 0 {
		return Proof{}
	}
	p := Proof{Newest: oci.Digest(r.Seed), Mark: r.Mark}
	if n := len(r.Deltas); n > 0 {
		p.Newest = oci.Digest(r.Deltas[n-1])
	}
	return p
}
