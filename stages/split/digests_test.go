package split_test

import (
	"testing"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
)

// A change of one entry shows in the digest of its class, and in no other: the
// stages that take the class along depend on that.
func TestClassesTellOfChanges(t *testing.T) {
	of := func(ctime int64) map[claim.Class]string {
		w := newWorld(t)
		w.file("/boot/vmlinuz-6.1", "kernel", func(e *catalog.Entry) { e.Ctime = ctime })
		w.file("/var/lib/thing/data", "state")
		return w.split().split.Classes
	}
	before, again, after := of(1), of(1), of(2)
	for _, c := range []claim.Class{claim.Drop, claim.Volume} {
		if before[c] == "" || before[c] != again[c] {
			t.Errorf("%s: %q, and of the same host %q", c, before[c], again[c])
		}
		if changed := before[c] != after[c]; changed != (c == claim.Drop) {
			t.Errorf("%s changed: %v", c, changed)
		}
	}
}
