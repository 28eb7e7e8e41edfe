package cutover

import (
	"fmt"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline/handoff"
)

// Report is what a command of the switch did, and how long that took.
type Report struct {
	State handoff.SwitchState `json:"state"`
	Truth handoff.Side        `json:"truth"`
	Says  string              `json:"says"` // one sentence on where the switch stands
	// Before are the checks before anything was stopped, After those of what
	// serves.
	Before []handoff.Check `json:"before,omitempty"`
	After  []handoff.Check `json:"after,omitempty"`
	// Downtime is from the stop of the first service to the first good smoke check
	// (without one, to when all workloads were ready), or, of a switch that came
	// back, to when the source was started; 0 when nothing was stopped yet.
	Downtime  time.Duration        `json:"downtimeNanoseconds,omitempty"`
	Predicted time.Duration        `json:"predictedNanoseconds,omitempty"` // 0 when nothing was known
	Granted   time.Duration        `json:"grantedNanoseconds,omitempty"`   // by --max-downtime
	Steps     []handoff.SwitchStep `json:"steps,omitempty"`
	// Commands are what would be run on the source, of a dry run.
	Commands []string `json:"commands,omitempty"`
	Failure  string   `json:"failure,omitempty"` // why it went back by itself
	// Changes are what the cluster wrote, of a switch that came back.
	Changes []handoff.VolumeChanges `json:"changes,omitempty"`
}

// Of is the report of what the journal says.
func Of(j handoff.Switch) *Report { return (&Report{}).of(j) }

// of fills in what the journal says.
func (r *Report) of(j handoff.Switch) *Report {
	r.State, r.Truth, r.Says = j.State, j.State.Truth(), j.Standing()
	r.Predicted, r.Granted, r.Steps, r.Failure, r.Changes = j.PredictedDowntime, j.Granted, j.Steps, j.Failure, j.Changes
	switch {
	case j.Stopped.IsZero():
	case !j.Served.IsZero():
		r.Downtime = j.Served.Sub(j.Stopped)
	case !j.Returned.IsZero():
		r.Downtime = j.Returned.Sub(j.Stopped)
	}
	return r
}

// faults lists what is wrong, "" when nothing is.
func faults(checks []handoff.Check) string {
	var bad []string
	for _, c := range checks {
		if !c.OK {
			bad = append(bad, fmt.Sprintf("%s %s: %s", c.What, c.Name, c.Detail))
		}
	}
	return strings.Join(bad, "\n  ")
}

func details(checks []handoff.Check) string {
	if len(checks) == 0 {
		return "there is none"
	}
	var all []string
	for _, c := range checks {
		all = append(all, c.Name)
	}
	return strings.Join(all, ", ")
}

// round keeps what a person reads of a duration.
func round(d time.Duration) time.Duration {
	if d > 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Millisecond)
}
