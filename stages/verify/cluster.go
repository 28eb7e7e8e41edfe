package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/stages/verify/smoke"
)

// What a check in a cluster is about.
const (
	aCluster  = "cluster"
	aWorkload = "workload"
	someData  = "data"
	aSmoke    = "smoke"
	aFence    = "fence"
)

// dataTime is how long a data check may take: it reads every row.
const dataTime = 30 * time.Minute

// inCluster looks at what runs in the cluster, when there is one: the workloads
// with their probes, their data by their own tools, and what the user wants to
// see. With volumes asked for it proves those instead, which takes workloads that
// are stopped.
func (r *run) inCluster(ctx context.Context) error {
	target := r.made.Target
	if target.Context == "" {
		return nil
	}
	c, err := cluster.Connect(cluster.Options{Context: target.Context, Namespace: target.Namespace})
	if err == nil {
		_, err = c.Pods(ctx, r.made.Plan.Selector("")) // whether it answers at all
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.check(aCluster, target.Context+"/"+target.Namespace, cluster.Explain(target.Context, err), "")
		return nil
	}
	if r.options.Volumes {
		return r.volumesAgain(ctx, c)
	}
	if held, err := r.held(ctx, c); held || err != nil {
		return err
	}
	if err := r.workloads(ctx, c); err != nil {
		return err
	}
	if err := r.data(ctx, c); err != nil {
		return err
	}
	return r.smokes(ctx, c, func() {})
}

// data has the tools of the applications check their data in the running
// containers.
func (r *run) data(ctx context.Context, far smoke.Far) error {
	for _, v := range r.made.Plan.Volumes {
		if len(v.Check) == 0 || v.CheckIn == "" {
			continue
		}
		detail, err := r.checkData(ctx, far, v)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.check(someData, v.Name, err, "%s", detail)
	}
	return nil
}

func (r *run) checkData(ctx context.Context, far smoke.Far, v handoff.Volume) (string, error) {
	workload, container, _ := strings.Cut(v.CheckIn, "/")
	limited, stop := context.WithTimeout(ctx, dataTime)
	defer stop()
	out, err := far.ExecIn(limited, r.made.Plan.Selector(workload), container, v.Check)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "", fmt.Errorf("%s in %s was not done after %s", v.Check[0], v.CheckIn, dataTime)
	case err != nil:
		return "", fmt.Errorf("%s: %w", v.CheckIn, err)
	case out.Code != 0:
		return "", fmt.Errorf("the data check in %s ends with exit code %d%s", v.CheckIn, out.Code, smoke.Ends(out))
	}
	return fmt.Sprintf("the data check in %s ends well%s", v.CheckIn, smoke.Ends(out)), nil
}

// smokes does the checks of statelift.yaml, and calls good after each that did
// well.
func (r *run) smokes(ctx context.Context, far smoke.Far, good func()) error {
	for _, s := range r.made.Plan.Smoke {
		detail, err := smoke.Run(ctx, far, r.made.Plan.Selector, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.check(aSmoke, s.Name, err, "%s", detail)
		if err == nil {
			good()
		}
	}
	return nil
}
