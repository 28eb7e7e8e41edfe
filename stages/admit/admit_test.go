package admit

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

func TestAdmit(t *testing.T) {
	blocks := []handoff.Block{
		{About: "volume", Text: "too small", Choices: []string{"more", "less"}},
		{About: "object", Text: "taken", Choices: []string{"another name"}},
	}
	there := handoff.Target{Context: "prod", Namespace: "shop"}
	for _, tt := range []struct {
		name   string
		plan   handoff.Plan
		target handoff.Target
		want   string // of the admission
		err    string
	}{
		{"rehearsal", handoff.Plan{}, handoff.Target{}, "rehearsal", ""},
		{"a cluster", handoff.Plan{}, there, "prod/shop", ""},
		{"blocked", handoff.Plan{Blocks: blocks}, there, "", `blocked: prod/shop cannot serve this plan as it is, and nothing was begun:
1. too small
   - more
   - less
2. taken
   - another name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := New().Run(t.Context(), nil, tt.plan, tt.target)
			if got.Target != tt.want {
				t.Errorf("admitted to %q, want %q", got.Target, tt.want)
			}
			var blocked *pipeline.Blocked
			if errors.As(err, &blocked) != (tt.err != "") {
				t.Fatalf("error %v", err)
			}
			if blocked != nil {
				if diff := cmp.Diff(tt.err, blocked.Error()); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}
