package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/quiesce"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/cutover"
	"github.com/statelift/statelift/stages/rollback"
)

// SwitchOptions say who stops the source.
type SwitchOptions struct {
	Quiesce  bool   // statelift, which was granted [pipeline.Source]
	OnSource string // with what its commands are run
	// Show is told each command that changes the source before it is run.
	Show func(quiesce.Command)
}

// SwitchParts is a switch that is wired and was not begun.
type SwitchParts struct {
	Switcher *cutover.Switcher
	Options  SwitchOptions
	// Source is nil when the user vouches for it.
	Source *quiesce.Source
}

// Switch wires the switch. It asks nobody yet. What watches the cluster ends with
// ctx.
func Switch(ctx context.Context, d Deps, r *pipeline.Runner, o SwitchOptions) (*SwitchParts, error) {
	plan, err := pipeline.Read(r.Env.Workspace, handoff.PlanKey)
	if err != nil {
		return nil, fmt.Errorf("there is no lift that could be switched to (statelift run --hold): %w", err)
	}
	j, err := journal{r.Env.Workspace}.Read()
	if err != nil {
		return nil, err
	}
	f := &far{Deps: d.at(j), runner: r, plan: plan, watching: ctx}
	p := &SwitchParts{Options: o, Switcher: &cutover.Switcher{
		Journal: journal{r.Env.Workspace}, Fence: f, Rounds: &rounder{far: f}, Checks: checks{far: f}, Lister: lister{f},
		Log: r.Env.Log.With("stage", "switch"), Now: time.Now, Predict: f.predict, Place: f.place,
	}}
	if !o.Quiesce {
		return p, nil
	}
	if r.Granted&pipeline.Source == 0 {
		return nil, errors.New("the switch stops services of the source, which was not granted")
	}
	p.Source = &quiesce.Source{Show: o.Show, Note: func(text string) { p.Switcher.Log.Warn(text) }}
	if p.Source.Actions, err = quiesce.For(plan, d.Profiles); err != nil {
		return nil, err
	}
	if p.Source.Runner, err = onSource(r.Env, o.OnSource); err != nil {
		return nil, err
	}
	p.Switcher.Source = p.Source
	return p, nil
}

// Accept makes the switch final.
func Accept(r *pipeline.Runner) (*cutover.Report, error) {
	if r.Granted&pipeline.Irreversible == 0 {
		return nil, errors.New("accept cannot be undone, and that was not granted")
	}
	s := &cutover.Switcher{Journal: journal{r.Env.Workspace}, Log: r.Env.Log.With("stage", "switch"), Now: time.Now}
	return s.Accept()
}

// journal keeps the state in run/switch.json.
type journal struct{ workspace workspace.Workspace }

func (j journal) Read() (handoff.Switch, error) {
	s, err := pipeline.Read(j.workspace, handoff.SwitchKey)
	if errors.Is(err, pipeline.ErrNoHandoff) {
		return handoff.Switch{}, nil
	}
	return s, err
}

func (j journal) Write(s handoff.Switch) error {
	return pipeline.Write(j.workspace, handoff.SwitchKey, s)
}

// far is the cluster of the switch, connected when it is needed first: the way
// back of a cutover that never opened it needs none.
type far struct {
	Deps
	runner   *pipeline.Runner
	plan     handoff.Plan
	watching context.Context //nolint:containedctx // of the whole command, beyond any interrupt
	opened   *fence.Fence
}

func (f *far) env(stage string) *pipeline.Env { return f.runner.EnvOf(stage) }

func (f *far) rehearsal() bool { return f.Context == "" }

func (f *far) connect() (*cluster.Cluster, error) {
	c, err := cluster.Connect(cluster.Options{Context: f.Context, Namespace: cmp.Or(f.Namespace, f.Decisions.Namespace)})
	if err != nil {
		return nil, cluster.Explain(f.Context, err)
	}
	return c, nil
}

// fence connects and watches.
func (f *far) fence(ctx context.Context) (*fence.Fence, error) {
	if f.opened != nil {
		return f.opened, nil
	}
	env := f.env("deploy")
	c, err := f.connect()
	if err != nil {
		return nil, err
	}
	if err := f.same(ctx, c); err != nil {
		return nil, err
	}
	identity, err := env.Workspace.Identity()
	if err != nil {
		return nil, err
	}
	made, err := cluster.OpenMade(ctx, env.Ledger)
	if err != nil {
		return nil, err
	}
	view, err := c.Watch(f.watching, "app.kubernetes.io/managed-by=statelift,app.kubernetes.io/instance="+f.plan.Name)
	if err != nil {
		return nil, cluster.Explain(c.Context, err)
	}
	waits := cmp.Or(f.Patience, await.Patience)
	f.opened = &fence.Fence{
		Owner: &cluster.Owner{Cluster: c, Made: made, Workspace: identity, Log: env.Log, Patience: waits}, Plan: f.plan, Log: env.Log,
		Waiter: &await.Waiter{
			Cluster: c, View: view, Log: env.Log, Progress: env.Progress, Logs: env.Workspace.Path(workspace.Run, "logs"), Patience: waits, Began: time.Now(),
		},
	}
	return f.opened, nil
}

// Hold keeps the cluster from serving. In a rehearsal nothing serves. An API server
// that is away is waited for: until the cluster is held, the source may not serve
// either.
func (f *far) Hold(ctx context.Context) error {
	if f.rehearsal() {
		return nil
	}
	for began := time.Now(); ; {
		err := f.hold(ctx)
		if err == nil || !cluster.Passing(err) || time.Since(began) > cmp.Or(f.Patience, await.Patience) {
			return err
		}
		f.env("deploy").Log.Warn("the cluster does not answer, and is asked again to hold its workloads", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

func (f *far) hold(ctx context.Context) error {
	closed, err := f.fence(ctx)
	if err != nil {
		return err
	}
	return closed.Hold(ctx)
}

// Release lets the cluster serve.
func (f *far) Release(ctx context.Context) error {
	if err := f.env("deploy").Workspace.HandsOver(); err != nil {
		return err
	}
	if f.rehearsal() {
		return nil
	}
	open, err := f.fence(ctx)
	if err != nil {
		return err
	}
	if err := f.moveOut(ctx, open); err != nil {
		return err
	}
	if err := f.tellIndex(open); err != nil {
		return err
	}
	return open.Release(ctx)
}

// lister lists what the cluster, or who had the volumes of a rehearsal, wrote.
type lister struct{ *far }

func (l lister) Kept(ctx context.Context) (bool, error) {
	made, j, err := l.history()
	if err != nil || !j.WrittenSince(made) {
		return false, err
	}
	if err := l.there(ctx, j); err != nil {
		return false, err
	}
	overwritten, err := l.runner.Env.Workspace.Overwritten()
	return !overwritten, err
}

// there reports that the workspace is for another place by now than that in which
// the cluster wrote.
func (l lister) there(ctx context.Context, j handoff.Switch) error {
	if j.Into == nil {
		return nil
	}
	now, err := l.place(ctx)
	if err != nil || now == *j.Into {
		return err
	}
	return &pipeline.Blocked{
		Question: fmt.Sprintf("the cluster wrote in %s/%s, and the workspace is for %s/%s by now", j.Into.Context, j.Into.Namespace, now.Context, now.Namespace),
		Where:    "statelift run --hold --context " + j.Into.Context + " --namespace " + j.Into.Namespace,
	}
}

func (l lister) List(ctx context.Context, archive string) ([]handoff.VolumeChanges, error) {
	env := l.env("rollback")
	found := &rollback.Lister{Workspace: env.Workspace, Plan: l.plan, Progress: env.Progress}
	if l.rehearsal() {
		found.Reader = rollback.Here{Workspace: env.Workspace}
		return found.List(ctx, archive)
	}
	f, err := l.fence(ctx)
	if err != nil {
		return nil, err
	}
	upload, err := pipeline.Read(env.Workspace, handoff.UploadKey)
	if err != nil {
		return nil, err
	}
	found.Reader = rollback.There{Owner: f.Owner, Waiter: f.Waiter, Plan: l.plan, Upload: upload}
	list, err := found.List(ctx, archive)
	if err != nil {
		return nil, err
	}
	outside, err := l.writtenOutside(ctx, f)
	return append(list, outside...), err
}
