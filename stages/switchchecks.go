package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/stages/verify"
)

// checks are those of a switch.
type checks struct{ *far }

// Before looks at all that the switch needs while the source still serves.
func (c checks) Before(ctx context.Context) ([]handoff.Check, error) {
	var out []handoff.Check
	add := func(what, name, detail string, err error) {
		check := handoff.Check{What: what, Name: name, OK: err == nil, Detail: detail}
		if err != nil {
			check.Detail = err.Error()
		}
		out = append(out, check)
	}
	for _, stage := range []string{"images", "upload", "manifests"} {
		detail, err := c.made(ctx, stage)
		add("lift", stage, detail, err)
	}
	for _, v := range c.plan.Volumes {
		if v.Seed {
			detail, err := c.receipt(v)
			add("receipt", v.Name, detail, err)
		}
	}
	detail, err := c.rounds()
	add("rounds", "newest", detail, err)
	detail, err = c.room()
	add("room", "workspace", detail, err)
	if c.rehearsal() {
		return out, ctx.Err()
	}
	in, err := c.connect()
	if err == nil {
		err = cluster.Reach(ctx, cluster.Options{Context: in.Context, Namespace: in.Namespace})
	}
	if err != nil {
		add("cluster", c.Context, "", err)
		return out, ctx.Err()
	}
	detail, err = allowed(ctx, in)
	add("cluster", in.String(), detail, err)
	detail, err = c.held(ctx, in)
	add("fence", fence.ConfigMap(c.plan), detail, err)
	if err == nil {
		for _, w := range c.outside() {
			detail, err := c.beyond(ctx, w)
			add("database", w.Name+" at "+w.External.Host, detail, err)
		}
	}
	for _, v := range c.plan.Volumes {
		detail, err := c.claim(ctx, in, v)
		add("claim", c.plan.ObjectName(v.Name), detail, err)
	}
	return out, ctx.Err()
}

// made looks whether a stage's work is there.
func (c checks) made(ctx context.Context, stage string) (string, error) {
	stale, err := c.runner.Look(ctx, stage)
	if err == nil && stale != "" {
		err = fmt.Errorf("%s: statelift run, then statelift sync", stale)
	}
	return "all of it is there", err
}

func (c checks) receipt(v handoff.Volume) (string, error) {
	r, err := receipts.Newest(c.runner.Env.Workspace, v.Name)
	if errors.Is(err, receipts.ErrOther) {
		return "a round that was cut short left its receipt: the final one proves the volume anew", nil
	}
	if err == nil && !r.Proved {
		err = fmt.Errorf("the copy is not proved: it has %d differences", r.DifferenceCount)
	}
	return fmt.Sprintf("%d paths with %d bytes are proved", r.Entries, r.Bytes), err
}

func (c checks) rounds() (string, error) {
	made, err := pipeline.Read(c.runner.Env.Workspace, handoff.RoundsKey)
	if err != nil && !errors.Is(err, pipeline.ErrNoHandoff) {
		return "", err
	}
	if len(made.Rounds) == 0 {
		return "there was none since the first copy", nil
	}
	last := made.Rounds[len(made.Rounds)-1]
	return fmt.Sprintf("round %d ended %s ago", last.Number, time.Since(last.Ended).Round(time.Second)), nil
}

// spare is what must be free in the workspace beside twice what the largest round
// moved.
const spare = 64 << 20

func (c checks) room() (string, error) {
	made, err := pipeline.Read(c.runner.Env.Workspace, handoff.RoundsKey)
	if err != nil && !errors.Is(err, pipeline.ErrNoHandoff) {
		return "", err
	}
	needed := int64(0)
	for _, r := range made.Rounds {
		moved := int64(0)
		for _, v := range r.Volumes {
			moved += v.MovedBytes
		}
		needed = max(needed, 2*moved)
	}
	needed += spare
	var st unix.Statfs_t
	if err := unix.Statfs(c.runner.Env.Workspace.Dir, &st); err != nil {
		return "", fmt.Errorf("workspace %s: %w", c.runner.Env.Workspace.Dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	if free < needed {
		return "", fmt.Errorf("%s are free at %s, and the final round may need %s", bytesize.Text(free), c.runner.Env.Workspace.Dir, bytesize.Text(needed))
	}
	return bytesize.Text(free) + " are free", nil
}

// allowed asks for every permission that the switch takes.
func allowed(ctx context.Context, in *cluster.Cluster) (string, error) {
	missing, err := in.Missing(ctx, true)
	if err != nil {
		return "", cluster.Explain(in.Context, err)
	}
	var errs []error
	for _, p := range missing {
		// A switch runs commands in Pods: data checks, and the list of a way back.
		if !p.Optional || p.Resource == "pods/exec" {
			errs = append(errs, fmt.Errorf("you may not %s %s (for %s)", p.Verb, p.Resource, p.For))
		}
	}
	return "it answers, and permits all that the switch takes", errors.Join(errs...)
}

// held makes sure that nothing serves there yet.
func (c checks) held(ctx context.Context, in *cluster.Cluster) (string, error) {
	if !c.Deps.Hold {
		return "", errors.New("the lift is not held: its workloads may run beside the source (statelift run --hold)")
	}
	released, err := fence.Released(ctx, in, c.plan)
	if err == nil && released {
		err = errors.New("it is there, though the truth is at the source: statelift run holds the cluster")
	}
	return "the cluster is held", err
}

// claim looks at the claim of a volume: bound, and large enough for what is in it.
func (c checks) claim(ctx context.Context, in *cluster.Cluster, v handoff.Volume) (string, error) {
	claim, err := in.Client.CoreV1().PersistentVolumeClaims(in.Namespace).Get(ctx, c.plan.ObjectName(v.Name), metav1.GetOptions{})
	if err != nil {
		return "", cluster.Explain(in.Context, err)
	}
	if !v.Seed && claim.Status.Phase == corev1.ClaimPending {
		return "it has no seed, and is bound when its workload starts", nil
	}
	if claim.Status.Phase != corev1.ClaimBound {
		return "", fmt.Errorf("it is %s", claim.Status.Phase)
	}
	size := claim.Status.Capacity[corev1.ResourceStorage]
	if r, err := receipts.Newest(c.runner.Env.Workspace, v.Name); err == nil && r.Bytes > size.Value() {
		return "", fmt.Errorf("it has %s, and holds files of %s: make it larger", bytesize.Text(size.Value()), bytesize.Text(r.Bytes))
	}
	return "bound, with " + bytesize.Text(size.Value()), nil
}

// Smoke does the checks of statelift.yaml; there is nothing to be asked in a
// rehearsal.
func (c checks) Smoke(ctx context.Context, good func()) ([]handoff.Check, error) {
	return c.look(func(v *verify.Stage, made verify.Made, in *cluster.Cluster) ([]handoff.Check, error) {
		return v.Smoke(ctx, c.env("verify"), made, in, good)
	})
}

// Data has the applications' tools look at their data.
func (c checks) Data(ctx context.Context) ([]handoff.Check, error) {
	return c.look(func(v *verify.Stage, made verify.Made, in *cluster.Cluster) ([]handoff.Check, error) {
		return v.Data(ctx, c.env("verify"), made, in)
	})
}

func (c checks) look(f func(*verify.Stage, verify.Made, *cluster.Cluster) ([]handoff.Check, error)) ([]handoff.Check, error) {
	if c.rehearsal() {
		return nil, nil
	}
	made, err := verify.ReadMade(c.runner.Env.Workspace)
	if err != nil {
		return nil, err
	}
	in, err := c.connect()
	if err != nil {
		return nil, err
	}
	return f(verify.New(verify.Options{Store: c.Store, Talk: c.talk()}, c.openStore), made, in)
}

// Judge looks at the databases of the stopped source, each from its own files and
// from who has them open: only what was shut down cleanly is copied.
func (c checks) Judge(ctx context.Context) ([]handoff.Check, error) {
	src, err := pipeline.Read(c.runner.Env.Workspace, handoff.SourceKey)
	if err != nil {
		return nil, err
	}
	root, err := rootfs.Open(src.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	list := slices.Clone(c.plan.Databases)
	if err := datastore.Look(ctx, root, list); err != nil {
		return nil, err
	}
	var out []handoff.Check
	for _, d := range list {
		out = append(out, datastore.Check(d))
	}
	return out, nil
}
