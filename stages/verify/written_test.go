package verify

import (
	"testing"

	"github.com/statelift/statelift/pipeline/handoff"
)

// The receipt of a volume in a cluster is not about it any more once a cutover let
// applications write to it and was taken back, until the next round.
func TestWritten(t *testing.T) {
	for name, tt := range map[string]struct {
		j      handoff.Switch
		rounds int
		bad    bool
	}{
		"no cutover":               {handoff.Switch{}, 2, false},
		"it serves":                {handoff.Switch{State: handoff.SwitchServing, Written: 2}, 2, false},
		"taken back":               {handoff.Switch{State: handoff.SwitchReturned, Written: 2}, 2, true},
		"taken back, and a round":  {handoff.Switch{State: handoff.SwitchReturned, Written: 2}, 3, false},
		"taken back before it was": {handoff.Switch{State: handoff.SwitchReturned}, 2, false},
		"being held":               {handoff.Switch{State: handoff.SwitchHolding, Written: 2}, 2, true},
	} {
		r := &run{made: Made{Switch: tt.j}}
		for n := range tt.rounds {
			r.made.Rounds.Rounds = append(r.made.Rounds.Rounds, handoff.Round{Number: n + 1})
		}
		if err := r.written(); (err != nil) != tt.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}
