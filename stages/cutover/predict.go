package cutover

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Prediction is how long the switch should take.
type Prediction struct {
	Known    bool
	Steps    []handoff.SwitchCost // in which nobody serves
	Downtime time.Duration        // of all of them
	Why      string               // why nothing is known
}

// Basis is what a prediction goes by.
type Basis struct {
	// Learnt is what earlier cutovers of the workspace took.
	Learnt handoff.SwitchCosts
	// Known says that there were rounds to go by; Final is the final round, and
	// FinalBy by what, or why nothing is known.
	Known   bool
	Final   time.Duration
	FinalBy string
	// Quiesce says that the source is stopped by the switch. Ask is what one question
	// to it took, 0 when it was not asked, and Running how many services it stops.
	Quiesce bool
	Ask     time.Duration
	Running int
	// Cluster says that workloads are started. Pod is what a Pod of theirs took to
	// start, and PodBy how that is known; 0 when nothing is.
	Cluster bool
	Pod     time.Duration
	PodBy   string
	// MovesOut is how many bytes of volumes are of databases that move to servers
	// outside the cluster before the workloads start.
	MovesOut int64
	// Smoke says that there are smoke checks.
	Smoke bool
}

// What is supposed as long as no cutover of the workspace has shown it.
const (
	// questions are asked of the source beside the stops: before and after each tier
	// of services, and for the fence.
	questions       = 8
	supposedAsk     = 200 * time.Millisecond
	supposedService = 300 * time.Millisecond // a service ends, beside the questions
	supposedRunning = 4                      // services
	supposedPod     = 3 * time.Second
	supposedReady   = 4 * time.Second // from the start of a Pod until its services are ready
	supposedSmoke   = 500 * time.Millisecond
	supposedMove    = 10 * time.Second // Pods that dump, restore and compare a database
	supposedRate    = 4 << 20          // bytes per second of it
)

// Predict adds up what the steps should take: what an earlier cutover took, else
// what was measured for this one, and what is supposed of the rest.
func Predict(b Basis) Prediction {
	p := Prediction{Known: b.Known, Why: b.FinalBy}
	add := func(name string, took time.Duration, by string) {
		if took > 0 {
			p.Steps = append(p.Steps, handoff.SwitchCost{Name: name, Took: took, By: by})
			p.Downtime += took
		}
	}
	const earlier = "an earlier cutover"
	switch {
	case !b.Quiesce:
	case b.Learnt.Stop > 0:
		add(stepStop, b.Learnt.Stop, earlier)
	default:
		add(stepStop, b.stop(), b.stopBy())
	}
	add(stepJudge, b.Learnt.Judge, earlier)
	if b.Known {
		add(stepFinal, b.Final, b.FinalBy)
	}
	switch {
	case !b.Cluster:
	case b.Learnt.Start > 0:
		add(stepRelease, b.Learnt.Start, earlier)
	default:
		by := fmt.Sprintf("%s for the Pods: %s; %s supposed until their services are ready", round(cmp.Or(b.Pod, supposedPod)), cmp.Or(b.PodBy, "supposed"), supposedReady)
		if b.MovesOut > 0 {
			by += fmt.Sprintf("; %s supposed to move %s to databases outside", round(b.move()), bytesize.Text(b.MovesOut))
		}
		add(stepRelease, cmp.Or(b.Pod, supposedPod)+supposedReady+b.move(), by)
	}
	switch {
	case !b.Cluster || !b.Smoke:
	case b.Learnt.Smoke > 0:
		add(stepSmoke, b.Learnt.Smoke, earlier)
	default:
		add(stepSmoke, supposedSmoke, "supposed")
	}
	return p
}

// Around is what is predicted before the final round, and after it.
func (p Prediction) Around() (before, after time.Duration) {
	for _, s := range p.Steps {
		switch s.Name {
		case stepStop, stepJudge:
			before += s.Took
		case stepRelease, stepSmoke:
			after += s.Took
		}
	}
	return before, after
}

func (b Basis) stop() time.Duration {
	if b.Ask == 0 {
		return questions*supposedAsk + supposedRunning*supposedService
	}
	return questions*b.Ask + time.Duration(b.Running)*supposedService
}

// move is 0 when no database moves out.
func (b Basis) move() time.Duration {
	if b.MovesOut == 0 {
		return 0
	}
	return supposedMove + time.Duration(float64(b.MovesOut)/supposedRate*float64(time.Second))
}

func (b Basis) stopBy() string {
	if b.Ask == 0 {
		return "supposed"
	}
	return fmt.Sprintf("%d questions to the source, one of which took %s; %s supposed for each of %d services to end", questions, round(b.Ask), supposedService, b.Running)
}

// explain is the prediction for people.
func (p Prediction) explain() string {
	var parts []string
	for _, s := range p.Steps {
		parts = append(parts, fmt.Sprintf("%s to %s", round(s.Took), s.Name))
	}
	return fmt.Sprintf("%s: %s", round(p.Downtime), strings.Join(parts, ", "))
}

// costOf is what a step was predicted to take, and by what.
func costOf(j *handoff.Switch, name string) (took time.Duration, by string) {
	for _, c := range j.Predicted {
		if c.Name == name {
			return c.Took, c.By
		}
	}
	return 0, ""
}
