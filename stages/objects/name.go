package objects

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/store"
)

// IndexName is the name of the index in the store: one line of JSON for every
// path of class object, a [handoff.IndexEntry], depth first.
const IndexName = "index.jsonl"

// Name is the object that holds the file at p: "objects" and the path in the
// escape of package hostpath. A path too long for a store goes by its SHA-256
// under "long-paths"; the index tells which it is.
func Name(p hostpath.Path) string {
	name := "objects" + p.String()
	if store.ValidName(name) == nil {
		return name
	}
	sum := sha256.Sum256([]byte(p))
	return "long-paths/" + hex.EncodeToString(sum[:])
}
