package split

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
)

// digests sum up the entries of each class, so that a later stage can tell
// whether what it takes changed.
type digests map[claim.Class]*classDigest

type classDigest struct {
	sum  hash.Hash
	line []byte
}

func (d digests) add(e catalog.Entry, c claim.Claim) {
	k := d[c.Class]
	if k == nil {
		k = &classDigest{sum: sha256.New()}
		d[c.Class] = k
	}
	k.line = append(append(e.AppendLine(k.line[:0]), c.Serves...), '\n')
	k.sum.Write(k.line)
}

func (d digests) hex() map[claim.Class]string {
	out := make(map[claim.Class]string, len(d))
	for class, k := range d {
		out[class] = hex.EncodeToString(k.sum.Sum(nil))
	}
	return out
}
