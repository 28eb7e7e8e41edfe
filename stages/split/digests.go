package split

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"

	"github.com/statelift/statelift/pipeline/claim"
)

// digests sum up the entries of each class, so that a later stage can tell
// whether what it takes changed.
type digests map[claim.Class]*classDigest

type classDigest struct {
	sum  hash.Hash
	line []byte
}

func (d digests) add(e *node, c claim.Claim) {
	k := d[c.Class]
	if k == nil {
		k = &classDigest{sum: sha256.New()}
		d[c.Class] = k
	}
	k.line = e.appendLine(k.line[:0], c.Serves)
	k.sum.Write(k.line)
}

// appendLine appends what tells the entry from what it was before.
func (n *node) appendLine(b []byte, serves string) []byte {
	for _, s := range []string{string(n.path), string(n.typ), n.pkg, string(n.state), n.fs, n.problem, serves} {
		b = append(append(b, s...), 0)
	}
	for _, v := range []int64{
		int64(n.mode), int64(n.uid), int64(n.gid), n.size, n.allocated,
		n.changed.mtime, n.changed.ctime, n.changed.dev, n.changed.ino,
	} {
		b = append(strconv.AppendInt(b, v, 10), ' ')
	}
	return append(b, '\n')
}

func (d digests) hex() map[claim.Class]string {
	out := make(map[claim.Class]string, len(d))
	for class, k := range d {
		out[class] = hex.EncodeToString(k.sum.Sum(nil))
	}
	return out
}
