package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/selfimage"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/stages"
)

// patience is how far sides are talked to. It is no part of the request: it
// decides about no result.
type patience struct {
	stall    time.Duration
	attempts int
	faults   time.Duration // in a cluster
}

func (p *patience) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.DurationVar(&p.stall, "stall", 0, "how long a store or registry may say nothing before a request has failed (default 2m0s)")
	f.IntVar(&p.attempts, "attempts", 0, "how often one request is tried before its fault is final (default 8 at a store, 6 at a registry)")
}

// registerCluster is for the commands that wait for what they start in a cluster.
func (p *patience) registerCluster(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&p.faults, "patience", 0, "how long a fault in the cluster that may pass by itself is waited for; one that cannot ends the run at once (default "+await.Patience.String()+")")
}

func (p patience) check() error {
	switch {
	case p.stall < 0 || p.attempts < 0:
		return errUsage{fmt.Errorf("--stall %s and --attempts %d: neither can be negative", p.stall, p.attempts)}
	case p.faults < 0:
		return errUsage{fmt.Errorf("--patience %s: it cannot be negative", p.faults)}
	}
	return nil
}

func (p patience) give(d *stages.Deps) {
	d.Stall, d.Attempts, d.Patience = p.stall, p.attempts, p.faults
}

// farFlags are of the far sides that a run may touch.
func farFlags(cmd *cobra.Command, r *request) {
	f := cmd.Flags()
	f.StringVar(&r.Registry, "registry", "", "push images to this registry, as HOST/PREFIX")
	f.StringVar(&r.Store, "store", "", "put objects there: a directory, or s3://BUCKET/PREFIX?endpoint=URL")
	targetFlags(cmd, r)
	f.StringVar(&r.Carrier, "carrier", "", "what brings the seeds to the cluster: registry or bucket (default the bucket when --store names one)")
	f.IntVar(&r.Shards, "shards", 0, "how many Pods fill one large volume side by side (default 1)")
	// It fails for a flag that is not there; the test of the completion sees that.
	_ = cmd.RegisterFlagCompletionFunc("carrier", cobra.FixedCompletions([]string{"registry", "bucket"}, cobra.ShellCompDirectiveNoFileComp))
}

// targetFlags name the cluster.
func targetFlags(cmd *cobra.Command, r *request) {
	f := cmd.Flags()
	f.StringVar(&r.Context, "context", "", "the cluster to lift into, a context of the kubeconfig; without it nothing leaves this machine for a cluster")
	f.StringVar(&r.Copier, "copier", "", "statelift itself as a static program for the cluster's nodes, when those are of another architecture (default the program that runs)")
	f.StringVar(&r.Namespace, "namespace", "", "in the cluster (default that of statelift.yaml, then that of the context)")
}

// maxShards keeps a typing error from asking for a Pod per file.
const maxShards = 64

// checkFar refuses, before any work, far sides that are none. Its errors hold no
// credentials, also not those that somebody put into a URL.
func checkFar(r request) error {
	if r.Store != "" {
		if _, err := store.ParseSpec(r.Store); err != nil {
			return errUsage{fmt.Errorf("--store: %w", err)}
		}
	}
	if r.Registry != "" {
		if _, err := registry.Open(r.Registry, registry.Options{}); err != nil {
			return errUsage{fmt.Errorf("--registry: %w", err)}
		}
	}
	if r.Copier != "" {
		if _, err := selfimage.Architecture(r.Copier); err != nil {
			return errUsage{fmt.Errorf("--copier: %w", err)}
		}
	}
	switch {
	case r.Carrier != "" && r.Carrier != "registry" && r.Carrier != "bucket":
		return errUsage{fmt.Errorf("--carrier %s: it is registry or bucket", r.Carrier)}
	case r.Shards < 0 || r.Shards > maxShards:
		return errUsage{fmt.Errorf("--shards %d: from 1 to %d", r.Shards, maxShards)}
	}
	return nil
}

// reach asks, before any work, whether the cluster of the request answers. until
// is the last stage that is to run, "" for all: those before the target ask no
// cluster.
func (l *lift) reach(ctx context.Context, until string) error {
	names := stageNames()
	last := slices.Index(names, until)
	if l.request.Context == "" || last >= 0 && last < slices.Index(names, "target") {
		return nil
	}
	err := cluster.Reach(ctx, cluster.Options{Context: l.request.Context, Namespace: l.request.Namespace})
	if unreachable := (*cluster.Unreachable)(nil); errors.As(err, &unreachable) {
		return fmt.Errorf("%w (kubeconfig %s); nothing was begun", err, cluster.Kubeconfig())
	}
	return err
}
