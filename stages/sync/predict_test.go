package sync

import (
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/handoff"
)

// TestPredictAlike: a round that made up for what others wrote says nothing of the
// final one, but when there is no other.
func TestPredictAlike(t *testing.T) {
	zero := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	round := func(took time.Duration, delta string) handoff.Round {
		return handoff.Round{Began: zero, Ended: zero.Add(took), Volumes: []handoff.VolumeRound{{Delta: "sha256:1", Apply: 1}, {Delta: delta, Apply: 1}, {}}}
	}
	usual, others := round(4*time.Second, "sha256:2"), round(40*time.Second, "")
	for _, tt := range []struct {
		name   string
		rounds []handoff.Round
		want   time.Duration
	}{
		{"both", []handoff.Round{usual, others}, 4 * time.Second},
		{"no other", []handoff.Round{others}, 40 * time.Second},
	} {
		if got := Predict(tt.rounds, zero, Costs{}).Final; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestPredict: by hand. A round is what it moved and when it began and ended, in
// seconds.
func TestPredict(t *testing.T) {
	const mib = 1 << 20
	zero := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return zero.Add(time.Duration(s * float64(time.Second))) }
	round := func(began, took float64, changed int64) handoff.Round {
		return handoff.Round{Began: at(began), Ended: at(began + took), Volumes: []handoff.VolumeRound{{ChangedBytes: changed / 2}, {ChangedBytes: changed - changed/2}}}
	}
	for _, tt := range []struct {
		name   string
		rounds []handoff.Round
		at     float64
		costs  Costs
		want   Prediction // Why is for the next table
	}{
		{"no round", nil, 0, Costs{Stop: time.Second}, Prediction{Stop: time.Second}},
		{"one round is expected once more", []handoff.Round{round(0, 30, 100*mib)}, 600, Costs{},
			Prediction{Known: true, Final: 30 * time.Second, Downtime: 30 * time.Second, Fixed: 30 * time.Second, Changed: 100 * mib}},
		// 10 s and 10 MiB/s: 1,000 MiB took 110 s, 100 MiB 20 s. The second round found
		// 100 MiB of 1,000 s; 500 s later there are 50 MiB: 10 s + 5 s.
		{"fixed cost and throughput", []handoff.Round{round(0, 110, 1000*mib), round(1000, 20, 100*mib)}, 1500, Costs{Stop: 3 * time.Second, Start: 12 * time.Second},
			Prediction{Known: true, Final: 15 * time.Second, Downtime: 30 * time.Second, Stop: 3 * time.Second, Start: 12 * time.Second,
				Fixed: 10 * time.Second, Changed: 50 * mib, Rate: 0.1 * mib, Throughput: 10 * mib}},
		{"right after the round that began", []handoff.Round{round(0, 110, 1000*mib), round(1000, 20, 100*mib)}, 1000, Costs{},
			Prediction{Known: true, Final: 10 * time.Second, Downtime: 10 * time.Second, Fixed: 10 * time.Second, Rate: 0.1 * mib, Throughput: 10 * mib}},
		{"nothing ever changed", []handoff.Round{round(0, 4, 0), round(100, 6, 0)}, 200, Costs{},
			Prediction{Known: true, Final: 5 * time.Second, Downtime: 5 * time.Second, Fixed: 5 * time.Second}},
		{"all moved the same", []handoff.Round{round(0, 8, 10*mib), round(100, 12, 10*mib)}, 200, Costs{},
			Prediction{Known: true, Final: 10 * time.Second, Downtime: 10 * time.Second, Fixed: 10 * time.Second, Changed: 10 * mib, Rate: 0.1 * mib}},
		{"more was faster", []handoff.Round{round(0, 10, 200*mib), round(100, 20, 100*mib)}, 200, Costs{},
			Prediction{Known: true, Final: 15 * time.Second, Downtime: 15 * time.Second, Fixed: 15 * time.Second, Changed: 100 * mib, Rate: mib}},
		// The line through (1, 1) and (10, 12) MiB, s would be below zero at nothing:
		// through the origin it is 13 s for 11 MiB.
		{"no cost below nothing", []handoff.Round{round(0, 12, 10*mib), round(110, 1, mib)}, 110 + 110*11, Costs{},
			Prediction{Known: true, Final: 13 * time.Second, Downtime: 13 * time.Second, Changed: 11 * mib, Rate: mib / 110.0, Throughput: 11 * mib / 13.0}},
		{"only the newest five count", append([]handoff.Round{round(-5000, 4000, 0)}, round(0, 10, 0), round(10, 10, 0), round(20, 10, 0), round(30, 10, 0), round(40, 10, 0)), 50, Costs{},
			Prediction{Known: true, Final: 10 * time.Second, Downtime: 10 * time.Second, Fixed: 10 * time.Second}},
		{"a clock that was set back", []handoff.Round{round(100, 5, mib), round(50, 5, mib)}, 40, Costs{},
			Prediction{Known: true, Final: 5 * time.Second, Downtime: 5 * time.Second, Fixed: 5 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Predict(tt.rounds, at(tt.at), tt.costs)
			if got.Why == "" {
				t.Error("nothing is said for people")
			}
			got.Why = ""
			for name, pair := range map[string][2]float64{
				"final":      {got.Final.Seconds(), tt.want.Final.Seconds()},
				"downtime":   {got.Downtime.Seconds(), tt.want.Downtime.Seconds()},
				"fixed":      {got.Fixed.Seconds(), tt.want.Fixed.Seconds()},
				"changed":    {float64(got.Changed), float64(tt.want.Changed)},
				"rate":       {got.Rate, tt.want.Rate},
				"throughput": {got.Throughput, tt.want.Throughput},
			} {
				if diff := pair[0] - pair[1]; diff > 1e-3*pair[1]+1e-6 || diff < -1e-3*pair[1]-1e-6 {
					t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
				}
			}
			if got.Known != tt.want.Known || got.Stop != tt.want.Stop || got.Start != tt.want.Start {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestGo(t *testing.T) {
	minute := Prediction{Known: true, Downtime: time.Minute}
	for _, tt := range []struct {
		p       Prediction
		granted time.Duration
		want    bool
	}{
		{minute, 0, true}, {minute, time.Minute, true}, {minute, 59 * time.Second, false}, {Prediction{}, time.Hour, false}, {Prediction{}, 0, true},
	} {
		if got := tt.p.Go(tt.granted); got != tt.want {
			t.Errorf("%v within %v: %v", tt.p.Downtime, tt.granted, got)
		}
	}
}

// TestWhy: what is not known is said.
func TestWhy(t *testing.T) {
	one := []handoff.Round{{Ended: time.Time{}.Add(time.Second)}}
	for _, tt := range []struct {
		costs Costs
		want  string
	}{
		{Costs{}, "stopping the source and starting the workloads takes is not known yet"},
		{Costs{Stop: time.Second}, "what starting the workloads takes is not known yet"},
		{Costs{Start: time.Second}, "what stopping the source takes is not known yet"},
		{Costs{Stop: time.Second, Start: 2 * time.Second}, "1s to stop the source, 2s to start the workloads"},
	} {
		if got := Predict(one, time.Time{}, tt.costs).Why; !strings.Contains(got, tt.want) {
			t.Errorf("%+v: %q", tt.costs, got)
		}
	}
}
