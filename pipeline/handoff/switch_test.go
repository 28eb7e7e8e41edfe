package handoff

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestSwitchStateUnknown: what another version wrote is not taken for the beginning.
func TestSwitchStateUnknown(t *testing.T) {
	for text, want := range map[string]bool{`{"state":""}`: true, `{"state":"serving"}`: true, `{}`: true, `{"state":"paused"}`: false} {
		var s Switch
		if err := json.Unmarshal([]byte(text), &s); (err == nil) != want {
			t.Errorf("%s: %+v, %v", text, s, err)
		}
	}
}

// In no state does the sentence say that a side serves which does not.
func TestStanding(t *testing.T) {
	const source, held, yours = "the source serves", "the cluster is held", "the source is yours to start"
	for name, tt := range map[string]struct {
		s         Switch
		says, not []string
	}{
		"none":                 {Switch{}, []string{source, "no cutover"}, []string{"held"}},
		"stopping":             {Switch{State: SwitchStopping, Quiesce: true}, []string{"truth is at the source", "stopped"}, []string{source}},
		"syncing":              {Switch{State: SwitchSyncing, Quiesce: true}, []string{"truth is at the source"}, []string{source}},
		"releasing":            {Switch{State: SwitchReleasing, Quiesce: true}, []string{"truth is in the cluster", "being started"}, []string{source, "which serves"}},
		"serving":              {Switch{State: SwitchServing, Quiesce: true}, []string{"in the cluster, which serves", "rollback", "accept"}, []string{source}},
		"accepted":             {Switch{State: SwitchAccepted, Quiesce: true}, []string{"serves for good"}, []string{source, "rollback"}},
		"holding":              {Switch{State: SwitchHolding, Quiesce: true}, []string{"the cluster may serve", "rollback goes on"}, []string{source, held}},
		"starting":             {Switch{State: SwitchStarting, Quiesce: true}, []string{"being started", held}, []string{source}},
		"listing":              {Switch{State: SwitchListing, Quiesce: true}, []string{source, held, "not listed"}, nil},
		"listing, vouched for": {Switch{State: SwitchListing}, []string{yours, held, "not listed"}, []string{source}},
		"returned":             {Switch{State: SwitchReturned, Quiesce: true, Failure: "smoke"}, []string{source, held, "by itself: smoke"}, nil},
		"returned, vouched":    {Switch{State: SwitchReturned}, []string{yours, held}, []string{source}},
	} {
		got := tt.s.Standing()
		for _, text := range tt.says {
			if !strings.Contains(got, text) {
				t.Errorf("%s: %q does not say %q", name, got, text)
			}
		}
		for _, text := range tt.not {
			if strings.Contains(got, text) {
				t.Errorf("%s: %q says %q", name, got, text)
			}
		}
	}
}

// What was written in the cluster and is not listed yet is not cleaned away by the
// way, nor anything that serves.
func TestRefuseClean(t *testing.T) {
	for state, refused := range map[SwitchState]bool{"": false, SwitchReturned: false, SwitchListing: true, SwitchServing: true, SwitchChecking: true, SwitchHolding: true} {
		if err := (Switch{State: state}).Refuse(GuardedClean); (err != nil) != refused {
			t.Errorf("%q: %v", state, err)
		}
	}
}
