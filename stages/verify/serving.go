package verify

import (
	"context"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Smoke does the smoke checks of the plan in the cluster, and calls good after
// each that did well.
func (s *Stage) Smoke(ctx context.Context, env *pipeline.Env, made Made, c *cluster.Cluster, good func()) ([]handoff.Check, error) {
	r := &run{Env: env, Stage: s, made: made}
	err := r.smokes(ctx, c, good)
	return r.checks, err
}

// Data has the tools of the applications check their data in the running
// containers.
func (s *Stage) Data(ctx context.Context, env *pipeline.Env, made Made, c *cluster.Cluster) ([]handoff.Check, error) {
	r := &run{Env: env, Stage: s, made: made}
	err := r.data(ctx, c)
	return r.checks, err
}
