package cluster

import (
	"context"

	"github.com/statelift/statelift/pipeline/handoff"
)

// WorkspaceLabel is on every object that statelift applies; its value is the
// identity of the workspace.
const WorkspaceLabel = "statelift.io/workspace"

// Inspection says how a cluster is looked at.
type Inspection struct {
	Workspace string   // whose own objects do not count as in the way
	Drivers   []Driver // what is known of storage drivers
}

// Inspect reads what decides whether a plan fits: nothing that changes from
// moment to moment is in the result. It writes nothing.
func (c *Cluster) Inspect(ctx context.Context, o Inspection) (handoff.Target, error) {
	t := handoff.Target{Context: c.Context, Namespace: c.Namespace, Server: c.Server}
	version, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return t, Explain(c.Context, err)
	}
	t.Version = version.GitVersion
	return t, ctx.Err()
}
