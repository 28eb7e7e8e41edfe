package delta_test

import (
	"testing"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/seed"
)

// TestContentThatCameBack has a large file become what it was in an earlier round:
// the patches of its contents then go in a circle, which must not hide where a
// content came from in the beginning.
func TestContentThatCameBack(t *testing.T) {
	write := map[string]string{
		"A": `printf A | dd of=large bs=1 seek=5000000 conv=notrunc status=none`,
		"B": `printf B | dd of=large bs=1 seek=5000000 conv=notrunc status=none`,
		"S": `printf S | dd of=large bs=1 seek=5000000 conv=notrunc status=none`,
	}
	for _, rounds := range []string{"ABA", "ASA", "ABAB", "ASASA", "ABSBA"} {
		t.Run(rounds, func(t *testing.T) {
			source, target := t.TempDir(), t.TempDir()
			sh.Run(t, source, `head -c 9000000 /dev/urandom > large; echo small > small; `+write["S"])
			l := begin(t, source, seed.Limits{})
			for _, content := range rounds {
				sh.Run(t, source, write[string(content)])
				if l.round().Delta == "" {
					t.Fatalf("no delta for %c", content)
				}
			}
			l.apply(target)
			equal(t, source, target)
			// A volume that lost all contents of the file is made from the blobs.
			sh.Run(t, target, `echo other > large`)
			l.receipt = handoff.Receipt{}
			l.apply(target)
			equal(t, source, target)
		})
	}
}
