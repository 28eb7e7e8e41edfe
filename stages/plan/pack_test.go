package plan

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
)

// TestPack: whatever files there are, no set is above the limit, every file is
// in exactly one set or too large for any, and the keys of a set are valid and
// unique.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var files []handoff.KeyFile
		for i := range rapid.IntRange(0, 80).Draw(t, "n") {
			f := handoff.KeyFile{
				// Few letters, so that keys collide: a slash and an underscore become the same.
				Path: hostpath.Clean(rapid.StringMatching(`/(etc/)?[a/_\xff]{1,6}`).Draw(t, "path") + fmt.Sprintf("/%d", i%7)),
				Size: rapid.OneOf(rapid.Int64Range(0, 5000), rapid.Int64Range(0, 2<<20)).Draw(t, "size"),
			}
			if rapid.Bool().Draw(t, "variable") {
				f.Variable = fmt.Sprintf("V%d", i)
				f.Key = "box." + f.Variable
			}
			files = append(files, f)
		}
		sets, tooLarge := pack("web-config", "web", files)
		type id struct {
			path     hostpath.Path
			variable string
			size     int64
		}
		count := map[id]int{}
		for _, f := range files {
			count[id{f.Path, f.Variable, f.Size}]++
		}
		names := map[string]bool{}
		for _, set := range sets {
			if names[set.Name] || set.Owner != "web" || len(set.Files) == 0 {
				t.Fatalf("set %q of %q with %d files", set.Name, set.Owner, len(set.Files))
			}
			names[set.Name] = true
			keys := map[string]bool{}
			var bytes int64
			for _, f := range set.Files {
				if keys[f.Key] && !duplicate(files, f) || !kubename.ValidKey(f.Key) {
					t.Fatalf("key %q of %s in %s", f.Key, f.Path, set.Name)
				}
				keys[f.Key] = true
				bytes += f.Size + int64(len(f.Key))
				count[id{f.Path, f.Variable, f.Size}]--
			}
			if bytes > 900<<10 || bytes != set.Bytes {
				t.Fatalf("%s has %d bytes, says %d", set.Name, bytes, set.Bytes)
			}
		}
		for _, f := range tooLarge {
			if f.Size+kubename.MaxKey <= 900<<10 {
				t.Fatalf("%s with %d bytes is not too large", f.Path, f.Size)
			}
			count[id{f.Path, f.Variable, f.Size}]--
		}
		for f, n := range count {
			if n != 0 {
				t.Fatalf("%v: %d times too few", f, n)
			}
		}
	})
}

// duplicate reports whether the same file is there twice: a host never has that,
// the generator may.
func duplicate(files []handoff.KeyFile, f handoff.KeyFile) bool {
	n := 0
	for _, g := range files {
		if g.Path == f.Path && g.Variable == f.Variable {
			n++
		}
	}
	return n > 1
}
