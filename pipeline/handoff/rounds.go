package handoff

import (
	"time"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Rounds are the sync rounds since the seeds, in their order. Written by sync
// after each round whose receipts are good, read by cutover, verify and status.
type Rounds struct {
	Rounds []Round `json:"rounds"`
}

// Of returns the rounds that go on from these seeds; none when they went on from
// others, which were made anew since.
func (r Rounds) Of(seeds []Seed) Rounds {
	tree := map[string]string{}
	for _, s := range seeds {
		tree[s.Volume] = s.Tree
	}
	for _, round := range r.Rounds {
		for _, v := range round.Volumes {
			if tree[v.Volume] != v.From {
				return Rounds{}
			}
			tree[v.Volume] = v.To
		}
	}
	return r
}

// Newest is the state of a volume after all rounds: the tree digest, the digests
// of the deltas after the seed in their order, and the receipt. Without a round
// the tree is "".
func (r Rounds) Newest(volume string) (tree string, deltas []string, receipt ReceiptFile) {
	for _, round := range r.Rounds {
		for _, v := range round.Volumes {
			if v.Volume != volume {
				continue
			}
			tree, receipt = v.To, v.Receipt
			if v.Delta != "" {
				deltas = append(deltas, v.Delta)
			}
		}
	}
	return tree, deltas, receipt
}

// Objects is what is in the store after all rounds that go on from these objects.
func (r Rounds) Objects(first Objects) Objects {
	for _, round := range r.Rounds {
		if o := round.Objects; o != nil && o.From == first.IndexSHA256 {
			first = o.Objects
		}
	}
	return first
}

// Round brought the volumes up to what the source was at that time.
type Round struct {
	Number int       `json:"number"` // from 1
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
	// Final says that the source was quiesced.
	Final   bool          `json:"final,omitempty"`
	Volumes []VolumeRound `json:"volumes"` // in the order of the plan, also those without a change
	Objects *ObjectRound  `json:"objects,omitempty"`
}

// ObjectRound is what one round did to the objects and their index. An object whose
// path is gone is in the index no more, and stays in the store.
type ObjectRound struct {
	From    string  `json:"from"`    // SHA-256 of the index before
	Objects Objects `json:"objects"` // after

	Looked  int64 `json:"looked"`  // paths of class object
	Added   int64 `json:"added"`   // paths
	Altered int64 `json:"altered"` // paths whose content changed
	Dressed int64 `json:"dressed"` // paths of which only metadata changed
	Removed int64 `json:"removed"` // paths
	// ChangedBytes are those of the files that were read and sent, each as a whole.
	ChangedBytes int64 `json:"changedBytes"`
	// Restless are paths that changed whenever they were read; the index has them as
	// they were, if at all.
	Restless []Restless    `json:"restless,omitempty"`
	Took     time.Duration `json:"tookNanoseconds"`
}

// VolumeRound is what one round did to one volume.
type VolumeRound struct {
	Volume string `json:"volume"`
	From   string `json:"from"` // tree digest before
	To     string `json:"to"`   // tree digest after; From when nothing changed
	// Delta is the digest of the delta's manifest, "" when nothing changed.
	Delta string `json:"delta,omitempty"`

	Looked    int64 `json:"looked"`    // paths that were compared
	Added     int64 `json:"added"`     // paths
	Altered   int64 `json:"altered"`   // paths whose content changed
	Dressed   int64 `json:"dressed"`   // paths of which only metadata changed
	Renamed   int64 `json:"renamed"`   // paths
	Removed   int64 `json:"removed"`   // paths
	ReadBytes int64 `json:"readBytes"` // of content, at the source
	// ChangedBytes are those of the parts that changed, before compression.
	ChangedBytes int64 `json:"changedBytes"`
	// MovedBytes are those of the delta's blobs.
	MovedBytes int64 `json:"movedBytes"`
	// Restless are paths that changed whenever they were read, with the advice
	// that fits; the round is not complete with them.
	Restless []Restless `json:"restless,omitempty"`

	Make  time.Duration `json:"makeNanoseconds"`  // at the source
	Send  time.Duration `json:"sendNanoseconds"`  // to the carrier
	Apply time.Duration `json:"applyNanoseconds"` // in the volume, with the proof
	// Receipt names the receipt of the volume as it is after the round.
	Receipt ReceiptFile `json:"receipt"`
}

// Restless is a path that never held still.
type Restless struct {
	Path   hostpath.Path `json:"path"`
	Advice string        `json:"advice"`
}
