package sync

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// inCluster has the volumes in a cluster, where Jobs bring them up to date.
type inCluster struct {
	*run
	manifests handoff.Manifests
	owner     *cluster.Owner
	jobs      *copyjob.Runner
	fillings  copyjob.Fillings
	stop      context.CancelFunc // of the watch
}

func newInCluster(r *run) far { return &inCluster{run: r} }

// logsDir is where the logs of what failed are kept.
var logsDir = filepath.Join(workspace.Run, "logs")

func (c *inCluster) begin(ctx context.Context) error {
	c.stop = func() {}
	if !c.options.Hold {
		return &pipeline.Blocked{Question: "this lift is not held: its workloads use the volumes that a sync would write into; statelift run --hold stops them, and keeps them stopped until statelift cutover"}
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	released, err := fence.Released(ctx, c.owner.Cluster, c.plan)
	if err != nil {
		return err
	}
	if released {
		return &pipeline.Blocked{Question: fmt.Sprintf("the workloads of %s serve: a sync would write into the volumes that they use", c.owner)}
	}
	watching, stop := context.WithCancel(ctx)
	c.stop = stop
	view, err := c.owner.Watch(watching, "app.kubernetes.io/managed-by=statelift,app.kubernetes.io/instance="+c.plan.Name)
	if err != nil {
		return cluster.Explain(c.owner.Context, err)
	}
	c.jobs = &copyjob.Runner{Owner: c.owner, Waiter: &await.Waiter{
		Cluster: c.owner.Cluster, View: view, Log: c.Log, Progress: c.Progress, Logs: c.Workspace.Path(logsDir), Patience: c.options.Patience, Began: time.Now(),
	}}
	if err := os.MkdirAll(c.Workspace.Path(logsDir), 0o700); err != nil {
		return err
	}
	for _, v := range c.volumes {
		if err := c.filled(ctx, v); err != nil {
			return err
		}
	}
	held := fence.Fence{Owner: c.owner, Plan: c.plan, Log: c.Log, Waiter: c.jobs.Waiter}
	if err := held.Hold(ctx); err != nil {
		return err
	}
	return c.jobs.GiveCredentials(ctx, c.plan, c.upload.Seeds, c.options.Environment)
}

func (c *inCluster) connect(ctx context.Context) error {
	var err error
	if c.manifests, err = pipeline.Read(c.Workspace, handoff.ManifestsKey); err != nil {
		return err
	}
	identity, err := c.Workspace.Identity()
	if err != nil {
		return err
	}
	made, err := cluster.OpenMade(ctx, c.Ledgers("deploy"))
	if err != nil {
		return err
	}
	to, err := cluster.Connect(cluster.Options{Context: c.options.Context, Namespace: c.options.Namespace})
	if err != nil {
		return cluster.Explain(c.options.Context, err)
	}
	c.owner = &cluster.Owner{Cluster: to, Made: made, Workspace: identity, Log: c.Log, Patience: c.options.Patience}
	c.fillings = copyjob.Fillings{Ledger: c.Ledgers("deploy"), Cluster: to}
	return nil
}

// filled makes sure that the claim is the one that deploy has filled.
func (c *inCluster) filled(ctx context.Context, v *volume) error {
	filling, err := c.fillings.Lookup(ctx, v.Name)
	if err != nil {
		return err
	}
	live, err := c.owner.Live(ctx, cluster.Ref{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.owner.Namespace, Name: c.plan.ObjectName(v.Name)})
	if err != nil {
		return cluster.Explain(c.owner.Context, err)
	}
	if live == nil || live.GetDeletionTimestamp() != nil || live.GetUID() != filling.Claim || filling.Seed != v.seed.Digest || filling.Receipt == nil {
		return &pipeline.Blocked{Question: fmt.Sprintf("volume %s in %s is not the one that was filled: statelift run --hold fills it, from the seed and all rounds", v.Name, c.owner)}
	}
	return nil
}

func (c *inCluster) end(ctx context.Context) error {
	defer c.stop()
	if c.owner == nil {
		return nil
	}
	return c.owner.RemoveBrief(ctx)
}

func (c *inCluster) behind(ctx context.Context, v *volume) (bool, error) {
	filling, err := c.fillings.Lookup(ctx, v.Name)
	return err == nil && !covers(*filling.Receipt, v), err
}

func (c *inCluster) apply(ctx context.Context, v *volume) (handoff.Receipt, error) {
	filling, err := c.fillings.Lookup(ctx, v.Name)
	if err != nil {
		return handoff.Receipt{}, err
	}
	job, err := c.jobs.Update(copyjob.Update{
		Plan: c.plan, Workspace: c.Workspace, Manifests: c.manifests, Volume: v.Name, Seed: v.seed.Digest, Deltas: v.lineage.Digests(), Last: *filling.Receipt,
		Accept: v.lineage.Accept,
	})
	if err != nil {
		return handoff.Receipt{}, err
	}
	// What an earlier Job proved counts no more when somebody wrote since.
	if !c.written {
		job.Known = filling.Round
	}
	job.Started = func(ctx context.Context, uid types.UID) error {
		filling.Round = uid
		return c.fillings.Keep(ctx, v.Name, filling)
	}
	var done int64
	job.Progress = func(_ string, at copyjob.Progress) {
		if at.Phase == "copy" && at.Done > done {
			c.Progress.Add(at.Done - done)
			done = at.Done
		}
	}
	receipt, _, err := c.jobs.Receipt(ctx, job)
	if err != nil {
		return receipt, err
	}
	if !receipt.Proved {
		return receipt, nil
	}
	filling.Receipt = &receipt
	if err := c.fillings.Keep(ctx, v.Name, filling); err != nil {
		return receipt, err
	}
	receipt.Listing = receipts.Listing(v.Name)
	_, err = v.lineage.WriteListing(ctx, c.Workspace.Path(workspace.Receipts, receipt.Listing), receipt.NotCompared)
	return receipt, err
}
