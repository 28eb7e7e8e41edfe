package sync

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/handoff"
)

// window is how many of the newest rounds a prediction goes by: what the source
// and the cluster do changes in the course of days.
const window = 5

// Costs are what a switch takes beside its final round; 0 is not known.
type Costs struct {
	Stop  time.Duration // of the source's services
	Start time.Duration // of the workloads, until they serve
}

// Prediction is how long the final round should take, if the source was stopped
// at the moment that was asked about.
type Prediction struct {
	// Known is false when there was no round to go by.
	Known bool `json:"known"`
	// Final is the final round; Downtime is Stop + Final + Start, with those that
	// are known.
	Final    time.Duration `json:"finalNanoseconds"`
	Downtime time.Duration `json:"downtimeNanoseconds"`
	Stop     time.Duration `json:"stopNanoseconds,omitempty"`  // 0 is not known
	Start    time.Duration `json:"startNanoseconds,omitempty"` // 0 is not known

	// What Final is made of: Fixed + Changed / Throughput.
	Fixed      time.Duration `json:"fixedNanoseconds"`
	Changed    int64         `json:"changedBytes"`             // expected: Rate × the time since the last round began
	Rate       float64       `json:"rateBytesPerSecond"`       // at which the source changes; 0 is not known
	Throughput float64       `json:"throughputBytesPerSecond"` // of changed bytes, from the source into the proved volumes; 0 is not known
	Rounds     string        `json:"rounds"`                   // for people: by what Final is known
	Why        string        `json:"why"`                      // for people: the same of all
}

// Predict says how long a final round should take whose source is stopped at the
// time at, from the rounds so far (the newest five of those that did what a final
// round does). The formula:
//
//	final    = fixed + changed / throughput
//	changed  = rate × (at − begin of the last round)
//	downtime = stop + final + start
//
// The rate is the bytes that the rounds found changed since the begin of the
// round before, by that time. With one round it is not known, and what that round
// moved is expected once more. Fixed cost (the walk over all paths, the Jobs) and
// throughput are the straight line through the durations of the rounds over their
// changed bytes which has the least squares of distances; neither is negative.
// Where all rounds moved about as much, nothing tells the two apart, and the mean
// duration is all fixed cost.
func Predict(rounds []handoff.Round, at time.Time, c Costs) Prediction {
	p := Prediction{Stop: c.Stop, Start: c.Start}
	if len(rounds) == 0 {
		p.Why = "there was no round to go by: statelift sync makes one"
		return p
	}
	p.Known = true
	last, usual := rounds[len(rounds)-1], alike(rounds)
	rounds, usual = newest(rounds), newest(usual)
	p.Rate = rate(rounds)
	p.Changed = changedBytes(last)
	if p.Rate > 0 || len(rounds) > 1 {
		p.Changed = int64(p.Rate * max(0, at.Sub(last.Began).Seconds()))
	}
	fixed, slope := line(usual)
	p.Fixed = seconds(fixed)
	if slope > 0 {
		p.Throughput = 1 / slope
	}
	p.Final = seconds(fixed + slope*float64(p.Changed))
	p.Downtime = p.Stop + p.Final + p.Start
	p.Rounds = p.byRounds(len(usual))
	p.Why = p.Rounds + p.around()
	return p
}

func (p Prediction) byRounds(rounds int) string {
	text := fmt.Sprintf("by the last %d rounds: %s whatever changed", rounds, round(p.Fixed))
	if rounds == 1 {
		text = fmt.Sprintf("by one round only: %s whatever changed", round(p.Fixed))
	}
	if p.Throughput > 0 {
		text += fmt.Sprintf(", and %s at %s/s", bytesize.Text(p.Changed), bytesize.Text(int64(p.Throughput)))
	}
	return text
}

func (p Prediction) around() string {
	switch {
	case p.Stop == 0 && p.Start == 0:
		return "; what stopping the source and starting the workloads takes is not known yet, and comes on top"
	case p.Stop == 0:
		return fmt.Sprintf("; %s to start the workloads; what stopping the source takes is not known yet, and comes on top", round(p.Start))
	case p.Start == 0:
		return fmt.Sprintf("; %s to stop the source; what starting the workloads takes is not known yet, and comes on top", round(p.Stop))
	}
	return fmt.Sprintf("; %s to stop the source, %s to start the workloads", round(p.Stop), round(p.Start))
}

func newest(rounds []handoff.Round) []handoff.Round { return rounds[max(0, len(rounds)-window):] }

// alike leaves out rounds that brought volumes up to date in which nothing had
// changed at the source, since others had written to them (a cutover that was taken
// back): the final round does not. It leaves none out where no other is left.
func alike(rounds []handoff.Round) []handoff.Round {
	out := slices.DeleteFunc(slices.Clone(rounds), func(r handoff.Round) bool {
		return slices.ContainsFunc(r.Volumes, func(v handoff.VolumeRound) bool { return v.Delta == "" && v.Apply > 0 })
	})
	if len(out) == 0 {
		return rounds
	}
	return out
}

// Go reports whether the predicted downtime is within what is granted; 0 grants
// any. What is not known is no go.
func (p Prediction) Go(granted time.Duration) bool {
	return granted == 0 || p.Known && p.Downtime <= granted
}

func changedBytes(r handoff.Round) (n int64) {
	for _, v := range r.Volumes {
		n += v.ChangedBytes
	}
	if r.Objects != nil {
		n += r.Objects.ChangedBytes
	}
	return n
}

// rate is that of the changes, in bytes per second: of all rounds but the first,
// of which it is not known since when its changes are.
func rate(rounds []handoff.Round) float64 {
	first, last := rounds[0], rounds[len(rounds)-1]
	took := last.Began.Sub(first.Began).Seconds()
	if took <= 0 {
		return 0
	}
	var n int64
	for _, r := range rounds[1:] {
		n += changedBytes(r)
	}
	return float64(n) / took
}

// line is fixed cost in seconds and seconds per byte.
func line(rounds []handoff.Round) (fixed, slope float64) {
	n := float64(len(rounds))
	var sumX, sumY float64
	for _, r := range rounds {
		sumX += float64(changedBytes(r))
		sumY += r.Ended.Sub(r.Began).Seconds()
	}
	meanX, meanY := sumX/n, sumY/n
	var xx, xy float64
	for _, r := range rounds {
		dx, dy := float64(changedBytes(r))-meanX, r.Ended.Sub(r.Began).Seconds()-meanY
		xx += dx * dx
		xy += dx * dy
	}
	// A spread of less than a hundredth is none.
	if spread := math.Sqrt(xx / n); spread > meanX/100 && xx > 0 {
		slope = max(0, xy/xx)
	}
	if fixed = meanY - slope*meanX; fixed < 0 {
		// Through the origin.
		return 0, sumY / sumX
	}
	return fixed, slope
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
