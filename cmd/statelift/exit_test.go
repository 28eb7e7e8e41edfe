package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// The reasons beyond those that a message holds are where it says.
func TestMessageOfManyReasons(t *testing.T) {
	var round handoff.Round
	v := handoff.VolumeRound{Volume: "mail"}
	for n := range 23 {
		v.Restless = append(v.Restless, handoff.Restless{Path: hostpath.Path(fmt.Sprintf("/var/mail/%02d", n)), Advice: "quiesce"})
	}
	round.Volumes = append(round.Volumes, v)
	got := message(restless(round))
	for _, want := range []string{"\n  /var/mail/19 did not hold still", "\n  … and 3 more (all are in run/rounds.json of the workspace)"} {
		if !strings.Contains(got, want) {
			t.Errorf("the message lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "/var/mail/20") {
		t.Errorf("the message has all:\n%s", got)
	}
}
