package main

import (
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/stages"
)

// TestPatience: what is asked for reaches the stages, and nothing negative is
// taken for a default.
func TestPatience(t *testing.T) {
	t.Parallel()
	p := patience{stall: time.Second, attempts: 2, faults: time.Minute}
	var d stages.Deps
	p.give(&d)
	if err := p.check(); err != nil || d.Stall != time.Second || d.Attempts != 2 || d.Patience != time.Minute {
		t.Errorf("%v: stages are told %s, %d, %s", err, d.Stall, d.Attempts, d.Patience)
	}
	for _, args := range [][]string{{"sync"}, {"cutover", "--stopped"}, {"rollback"}} {
		out := attempt(t, nil, append(args, "-w", t.TempDir(), "--patience", "-1s")...)
		out.want(t, exitUsage)
		if !strings.Contains(out.stderr, "--patience -1s") {
			t.Errorf("%v: %s", args, out.stderr)
		}
	}
	for _, args := range [][]string{{"--stall", "-1s"}, {"--attempts", "-1"}, {"--patience", "-1s"}} {
		out := attempt(t, nil, append([]string{"run", tiny(t), "-w", t.TempDir() + "/ws"}, args...)...)
		out.want(t, exitUsage)
		if !strings.Contains(out.stderr, args[0]+" "+args[1]) {
			t.Errorf("%v: %s", args, out.stderr)
		}
	}
}
