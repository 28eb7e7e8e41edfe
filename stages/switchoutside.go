package stages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/cluster/transferjob"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// moveOut moves the databases that live outside the cluster, from the volumes as
// the last round left them, before anything that asks them starts.
func (f *far) moveOut(ctx context.Context, in *fence.Fence) (err error) {
	if len(f.outside()) == 0 {
		return nil
	}
	env := f.env("deploy")
	manifests, err := pipeline.Read(env.Workspace, handoff.ManifestsKey)
	if err != nil {
		return err
	}
	seeds, err := pipeline.Read(env.Workspace, handoff.SeedsKey)
	if err != nil {
		return err
	}
	rounds, err := lineage.Rounds(env.Workspace, seeds)
	if err != nil {
		return err
	}
	// The credentials of the transfer do not outlive it.
	defer func() { err = errors.Join(err, in.Owner.RemoveBrief(context.WithoutCancel(ctx))) }()
	mover := f.mover(in)
	for _, w := range f.outside() {
		job, err := f.transferOf(w, manifests, in)
		if err != nil {
			return err
		}
		receipt, err := mover.Move(ctx, job, stateOf(w, seeds, rounds))
		if err != nil {
			return err
		}
		if _, err := receipts.WriteTransfer(env.Workspace.Path(workspace.Receipts), receipt); err != nil {
			return err
		}
		if !receipt.Proved {
			return fmt.Errorf("what is at %s is not what %s has:\n  %s", receipt.Server, w.Name, strings.Join(receipt.Differences, "\n  "))
		}
	}
	return nil
}

// outside are the workloads whose databases live outside the cluster.
func (f *far) outside() []handoff.Workload { return outside(f.plan) }

func outside(plan handoff.Plan) (out []handoff.Workload) {
	for _, w := range plan.Workloads {
		if w.External != nil {
			out = append(out, w)
		}
	}
	return out
}

// movesOut is how many bytes the volumes of their databases have.
func movesOut(plan handoff.Plan) (n int64) {
	for _, w := range outside(plan) {
		for _, m := range w.Mounts {
			i := slices.IndexFunc(plan.Volumes, func(v handoff.Volume) bool { return v.Name == m.Of })
			if m.Origin == handoff.FromVolume && i >= 0 {
				n += plan.Volumes[i].Bytes
			}
		}
	}
	return n
}

func (f *far) mover(in *fence.Fence) *transferjob.Mover {
	return &transferjob.Mover{
		Runner: &copyjob.Runner{Waiter: in.Waiter, Owner: in.Owner}, Ledger: f.env("deploy").Ledger, Plan: f.plan, Environment: os.Getenv,
	}
}

// transferOf is the Job that moves the databases of a workload.
func (f *far) transferOf(w handoff.Workload, m handoff.Manifests, in *fence.Fence) (*unstructured.Unstructured, error) {
	job, err := transferManifest(f.env("deploy").Workspace, m, f.plan.ObjectName(transferjob.Part(w.Name)))
	if err == nil {
		job.SetNamespace(in.Owner.Namespace)
	}
	return job, err
}

// tellIndex has the Pods fetch the objects as the last round left them.
func (f *far) tellIndex(open *fence.Fence) error {
	w := f.runner.Env.Workspace
	first, err := pipeline.Read(w, handoff.ObjectsKey)
	if err != nil {
		return err
	}
	now, err := lineage.Objects(w, first)
	if err != nil {
		return err
	}
	open.Data = map[string]string{fence.IndexKey: now.IndexSHA256}
	return nil
}

// stateOf says from what the workload's volumes are: their seeds, and the trees
// that rounds have made of them since. It is the manifests' own text while there
// was no round.
func stateOf(w handoff.Workload, seeds handoff.Seeds, rounds handoff.Rounds) string {
	var out []string
	for _, m := range w.Mounts {
		i := slices.IndexFunc(seeds.Seeds, func(s handoff.Seed) bool { return s.Volume == m.Of })
		if m.Origin != handoff.FromVolume || i < 0 {
			continue
		}
		state := m.Of + "=" + seeds.Seeds[i].Digest
		for _, r := range slices.Backward(rounds.Rounds) {
			v := slices.IndexFunc(r.Volumes, func(v handoff.VolumeRound) bool { return v.Volume == m.Of })
			if v >= 0 {
				if to := r.Volumes[v].To; to != seeds.Seeds[i].Tree {
					state += "+" + to
				}
				break
			}
		}
		out = append(out, state)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// transferManifest reads the Job of that name as it was written.
func transferManifest(ws workspace.Workspace, m handoff.Manifests, name string) (*unstructured.Unstructured, error) {
	i := slices.IndexFunc(m.Files, func(f handoff.ManifestFile) bool { return f.Kind == "Job" && f.Object == name })
	if i < 0 {
		return nil, fmt.Errorf("the manifests have no Job %s: statelift run makes it", name)
	}
	file := ws.Path(m.Directory, m.Files[i].Name)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if oci.Sum(data) != m.Files[i].SHA256 {
		return nil, fmt.Errorf("%s was changed by hand: say it in statelift.yaml, remove the file and run again", file)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, &u.Object); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return u, nil
}
