package copyjob

import (
	"context"
	"fmt"
	"slices"

	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Update brings a volume that was filled up to a later round.
type Update struct {
	Plan      handoff.Plan
	Workspace workspace.Workspace
	Manifests handoff.Manifests
	Volume    string
	Seed      string   // digest
	Deltas    []string // digests of all deltas since, in their order
	// Last is the last receipt of this very claim: what it proved, and nobody
	// touched since, is not read back again.
	Last handoff.Receipt
	// Accept is as in [Job].
	Accept func(context.Context, handoff.Receipt) error
}

// Update makes the Job, which is there for this run only.
func (r *Runner) Update(u Update) (Job, error) {
	from, err := Manifest(u.Workspace, u.Manifests, u.Volume, u.Seed)
	if err != nil {
		return Job{}, err
	}
	v := Variant{Plan: u.Plan, Namespace: r.Cluster.Namespace, Part: "sync-" + u.Volume, Args: DeltaArgs(u.Deltas)}
	v.Args = append(v.Args, u.proofArgs()...)
	object, err := v.Of(from)
	return Job{Object: object, Volume: u.Volume, Seed: u.Seed, Deltas: u.Deltas, Accept: u.Accept, Brief: true}, err
}

// DeltaArgs have a copy go on to a round after the seed.
func DeltaArgs(digests []string) []string {
	var out []string
	for _, d := range digests {
		out = append(out, "--delta", d)
	}
	return out
}

// proofArgs tell a copy what the last receipt proved, if that is of the same
// rounds: what a round proved that was cut short counts for nothing.
func (u Update) proofArgs() []string {
	p := delta.ProofOf(u.Last)
	if p.Mark == 0 || string(p.Newest) != u.Seed && !slices.Contains(u.Deltas, string(p.Newest)) {
		return nil
	}
	return []string{"--proved", fmt.Sprintf("%s@%d", p.Newest, p.Mark)}
}
