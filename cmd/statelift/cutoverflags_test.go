package main

import (
	"errors"
	"testing"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// A cutover goes on as it was begun: a flag that says otherwise is not ignored.
func TestCutoverGoesOnAsBegun(t *testing.T) {
	for name, tt := range map[string]struct {
		o       cutoverOptions
		j       handoff.Switch
		blocked bool
	}{
		"without a flag":            {cutoverOptions{}, handoff.Switch{State: handoff.SwitchStopping, Quiesce: true}, false},
		"the same":                  {cutoverOptions{quiesce: true}, handoff.Switch{State: handoff.SwitchStopping, Quiesce: true}, false},
		"--quiesce of --stopped":    {cutoverOptions{quiesce: true}, handoff.Switch{State: handoff.SwitchStopping}, true},
		"--stopped of --quiesce":    {cutoverOptions{stopped: true}, handoff.Switch{State: handoff.SwitchChecking, Quiesce: true}, true},
		"a new one, the other way":  {cutoverOptions{stopped: true}, handoff.Switch{State: handoff.SwitchReturned, Quiesce: true}, false},
		"one that serves, either":   {cutoverOptions{stopped: true}, handoff.Switch{State: handoff.SwitchServing, Quiesce: true}, false},
		"a new one without a flag":  {cutoverOptions{}, handoff.Switch{}, true},
		"on its way back, the same": {cutoverOptions{quiesce: true}, handoff.Switch{State: handoff.SwitchHolding, Quiesce: true}, false},
	} {
		got, err := tt.o.with(tt.j)
		var blocked *pipeline.Blocked
		if errors.As(err, &blocked) != tt.blocked {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if !tt.blocked && !tt.j.State.Settled() && got.Quiesce != tt.j.Quiesce {
			t.Errorf("%s: it goes on with --quiesce=%v", name, got.Quiesce)
		}
	}
}
