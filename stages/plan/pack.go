package plan

import (
	"fmt"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
)

// maxSet leaves room below the 1 MiB that a ConfigMap or Secret may hold
// (core/v1, MaxSecretSize), for keys, labels and annotations.
const maxSet = 900 << 10

// maxApplied is what kubectl apply can put into its annotation of the last
// applied object; above it, --server-side is needed.
const maxApplied = 256 << 10

// pack distributes files over sets of at most maxSet bytes, in the order in
// which they come, under keys that are valid and unique in their set. A file
// that is larger than a set is in none, and returned.
func pack(name, owner string, files []handoff.KeyFile) (sets []handoff.FileSet, tooLarge []handoff.KeyFile) {
	var keys kubename.Names
	var set handoff.FileSet
	flush := func() {
		if len(set.Files) == 0 {
			return
		}
		set.Name, set.Owner = name, owner
		if len(sets) > 0 {
			set.Name = fmt.Sprintf("%s-%d", name, len(sets)+1)
		}
		sets = append(sets, set)
		set, keys = handoff.FileSet{}, kubename.Names{}
	}
	for _, f := range files {
		if f.Size+kubename.MaxKey > maxSet {
			tooLarge = append(tooLarge, f)
			continue
		}
		if set.Bytes+f.Size+kubename.MaxKey > maxSet {
			flush()
		}
		f.Key = keys.Unique(kubename.Key(firstOf(f.Key, relativeKey(f.Path))), string(f.Path)+"\x00"+f.Variable+"\x00"+f.Key, kubename.MaxKey)
		set.Files = append(set.Files, f)
		set.Bytes += f.Size + int64(len(f.Key))
	}
	flush()
	return sets, tooLarge
}

// relativeKey drops the /etc that nearly all configuration has in common.
func relativeKey(p hostpath.Path) string {
	if p.Within("/etc") && p != "/etc" {
		return string(p.Below("/etc"))
	}
	return string(p)
}
