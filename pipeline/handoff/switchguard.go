package handoff

import (
	"fmt"

	"github.com/statelift/statelift/pipeline"
)

// Standing says in one sentence on which side the truth is, and what comes next.
func (s Switch) Standing() string {
	switch s.State {
	case "":
		return "the source serves, and no cutover was begun"
	case SwitchStopping, SwitchJudging, SwitchSyncing:
		return fmt.Sprintf("the truth is at the source, which is stopped or being stopped; a cutover was left at %q: statelift cutover goes on, statelift rollback goes back", s.State)
	case SwitchReleasing, SwitchChecking:
		return fmt.Sprintf("the truth is in the cluster, which is being started; a cutover was left at %q: statelift cutover goes on, statelift rollback goes back", s.State)
	case SwitchServing:
		return "the truth is in the cluster, which serves; the source is stopped: statelift rollback goes back, statelift accept makes it final"
	case SwitchAccepted:
		return "the truth is in the cluster, which serves for good"
	case SwitchHolding:
		return "the way back was left while the cluster is being held: until that is done the cluster may serve, and the source is stopped; then the truth is at the source: statelift rollback goes on"
	case SwitchStarting:
		return "the truth is at the source, which is being started; the cluster is held: statelift rollback goes on"
	case SwitchListing:
		return s.home() + "; what was written in the cluster is not listed yet: statelift rollback does that"
	}
	return s.returned()
}

// home is how the sides stand after the way back.
func (s Switch) home() string {
	if !s.Quiesce {
		return "the cluster is held, and the source is yours to start, as you stopped it"
	}
	return "the source serves, and the cluster is held"
}

func (s Switch) returned() string {
	text := s.home()
	if s.Failure != "" {
		text += " (a cutover went back by itself: " + s.Failure + ")"
	}
	return text
}

// WrittenSince reports whether the volumes may have been written to by others since
// the last of these rounds.
func (s Switch) WrittenSince(rounds []Round) bool {
	return s.Written > 0 && (len(rounds) == 0 || rounds[len(rounds)-1].Number <= s.Written)
}

// Guarded is a command that would do harm to a switch at the wrong time.
type Guarded string

// The commands.
const (
	GuardedPlan  Guarded = "plan"  // says anew what is lifted, and to where
	GuardedRun   Guarded = "run"   // fills volumes and applies workloads
	GuardedSync  Guarded = "sync"  // writes to volumes
	GuardedClean Guarded = "clean" // removes what serves
)

// Refuse says why a command must not run now, and what may be done instead; nil
// when it may.
func (s Switch) Refuse(c Guarded) error {
	if s.State == "" || s.State == SwitchReturned {
		return nil
	}
	harm := map[Guarded]string{
		GuardedPlan:  "another plan, or another place, would not be what the switch is of",
		GuardedRun:   "run would fill volumes and apply workloads",
		GuardedSync:  "sync would write into the volumes",
		GuardedClean: "clean would remove what serves",
	}[c]
	where := "statelift cutover or statelift rollback"
	switch {
	case c == GuardedClean && s.State == SwitchListing:
		harm, where = "clean would remove what was written there", "statelift rollback, or statelift clean --serving, when that is what you want"
	case s.State == SwitchListing:
		where = "statelift rollback"
	case c == GuardedClean:
		where = "statelift clean --serving, when that is what you want"
	case s.State == SwitchServing:
		where = "statelift rollback, before"
	case s.State == SwitchAccepted:
		where = "a workspace of its own"
	}
	return &pipeline.Blocked{Question: harm + ", and " + s.Standing(), Where: where}
}
