package stages

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// A switch goes on and back where it was begun, wherever the workspace leads now.
func TestSwitchStaysWhereItBegan(t *testing.T) {
	begun := &handoff.SwitchPlace{Context: "prod", Namespace: "shop"}
	now := handoff.SwitchPlace{Context: "test", Namespace: "trial"}
	for _, c := range []struct {
		name    string
		journal handoff.Switch
		want    handoff.SwitchPlace
	}{
		{"none was begun", handoff.Switch{}, now},
		{"it serves", handoff.Switch{State: handoff.SwitchServing, Into: begun}, *begun},
		{"it is on its way", handoff.Switch{State: handoff.SwitchReleasing, Into: begun}, *begun},
		{"it is on its way back", handoff.Switch{State: handoff.SwitchHolding, Into: begun}, *begun},
		{"it went back", handoff.Switch{State: handoff.SwitchReturned, Into: begun}, now},
		{"a rehearsal that began without a cluster", handoff.Switch{State: handoff.SwitchServing, Into: &handoff.SwitchPlace{}}, handoff.SwitchPlace{}},
		{"of a version that did not note it", handoff.Switch{State: handoff.SwitchServing}, now},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Deps{}
			d.Context, d.Namespace = now.Context, now.Namespace
			d = d.at(c.journal)
			if diff := cmp.Diff(c.want, handoff.SwitchPlace{Context: d.Context, Namespace: d.Namespace}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
