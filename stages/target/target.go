package target

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Info describes the stage. With a context it touches the cluster.
func Info() pipeline.Info {
	return pipeline.Info{
		Name: "target", Summary: "looks at the cluster: storage, quotas, nodes, permissions, what is in the way",
		Effects: pipeline.Local, Resumes: "looks again", Version: 1,
	}
}

// Options is what changes the result.
type Options struct {
	Context   string `json:"context,omitempty"`   // of the kubeconfig; "" is a rehearsal
	Namespace string `json:"namespace,omitempty"` // "" is the one of the context
}

// Stage looks at the cluster.
type Stage struct {
	options Options
	drivers fs.FS
}

// New makes the stage; drivers is the folder with the table of storage drivers
// (cluster.LoadDrivers).
func New(o Options, drivers fs.FS) *Stage { return &Stage{options: o, drivers: drivers} }

// Run looks at the cluster. What it finds bad there is no error: the plan judges.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env) (handoff.Target, error) {
	if s.options.Context == "" {
		return handoff.Target{}, nil
	}
	drivers, err := cluster.LoadDrivers(s.drivers)
	if err != nil {
		return handoff.Target{}, fmt.Errorf("storage drivers: %w", err)
	}
	id, err := env.Workspace.Identity()
	if err != nil {
		return handoff.Target{}, err
	}
	c, err := cluster.Connect(cluster.Options{Context: s.options.Context, Namespace: s.options.Namespace})
	if err != nil {
		return handoff.Target{}, cluster.Explain(s.options.Context, err)
	}
	return c.Inspect(ctx, cluster.Inspection{Workspace: id, Drivers: drivers})
}

// Recheck looks again and says what of the target is not as it was.
func (s *Stage) Recheck(ctx context.Context, env *pipeline.Env, was handoff.Target) (stale string, err error) {
	is, err := s.Run(ctx, env)
	if err != nil {
		return "", err
	}
	parts, err := changed(was, is)
	if err != nil || len(parts) == 0 {
		return "", err
	}
	return "the cluster is not as it was: " + strings.Join(parts, ", "), nil
}

// changed names the parts of two targets that differ in what a hand-off holds.
func changed(was, is handoff.Target) ([]string, error) {
	var docs [2]map[string]json.RawMessage
	for i, t := range []handoff.Target{was, is} {
		data, err := json.Marshal(t)
		if err == nil {
			err = json.Unmarshal(data, &docs[i])
		}
		if err != nil {
			return nil, fmt.Errorf("target: %w", err)
		}
	}
	var out []string
	for _, d := range docs {
		for name := range d {
			if !bytes.Equal(docs[0][name], docs[1][name]) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
