package copyjob

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// TestProofArgs: a copy is told of a proof of the rounds that it is of, and of no
// other.
func TestProofArgs(t *testing.T) {
	proved := func(deltas ...string) handoff.Receipt {
		return handoff.Receipt{Seed: "sha256:s", Deltas: deltas, Proved: true, Mark: 7}
	}
	for _, tt := range []struct {
		name string
		last handoff.Receipt
		want []string
	}{
		{"of the seed", proved(), []string{"--proved", "sha256:s@7"}},
		{"of the round before", proved("sha256:1"), []string{"--proved", "sha256:1@7"}},
		{"of a round that was cut short", proved("sha256:1", "sha256:x"), nil},
		{"of another seed", handoff.Receipt{Seed: "sha256:t", Proved: true, Mark: 7}, nil},
		{"without a mark", handoff.Receipt{Seed: "sha256:s", Proved: true}, nil},
		{"not proved", handoff.Receipt{Seed: "sha256:s", Mark: 7}, nil},
	} {
		u := Update{Seed: "sha256:s", Deltas: []string{"sha256:1", "sha256:2"}, Last: tt.last}
		if diff := cmp.Diff(tt.want, u.proofArgs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
