package handoff

import (
	"encoding/json"
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
