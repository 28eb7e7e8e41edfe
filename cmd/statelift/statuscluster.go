package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/workspace"
)

// clusterThing is one object that this workspace made in a cluster.
type clusterThing struct {
	Context   string `json:"context"`
	Namespace string `json:"namespace,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	// State is there, leaving, gone or foreign (the name is another object's
	// now); "recorded" when the cluster does not answer.
	State string `json:"state"`
	// Note says what a person should know of it.
	Note string `json:"note,omitempty"`
}

// askCluster bounds how long status waits for a cluster.
const askCluster = 10 * time.Second

// inClusters lists what this workspace made in clusters, and asks those what has
// become of it. A cluster that does not answer is a note, no error.
func inClusters(ctx context.Context, w workspace.Workspace) (things []clusterThing, notes []string, err error) {
	name := w.Path(workspace.Run, "ledger.db")
	if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	ledgers, err := pipeline.OpenLedgers(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, ledgers.Close()) }()
	made, err := cluster.OpenMade(ctx, ledgers.Of("deploy"))
	if err != nil || len(made.All()) == 0 {
		return nil, nil, err
	}
	identity, err := w.Identity()
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := context.WithTimeout(ctx, askCluster)
	defer stop()
	silent, connected := map[string]bool{}, map[cluster.Options]*cluster.Cluster{}
	for _, t := range made.All() {
		state := "recorded"
		if !silent[t.Context] {
			found, err := lookUp(ctx, connected, t, identity)
			if err == nil {
				state = string(found.State)
			} else {
				silent[t.Context] = true
				notes = append(notes, "what is recorded could not be looked up: "+cluster.Explain(t.Context, err).Error())
			}
		}
		things = append(things, clusterThing{Context: t.Context, Namespace: t.Namespace, Kind: t.Kind, Name: t.Name, State: state, Note: noteOn(t)})
	}
	return things, notes, nil
}

// lookUp connects once to each place.
func lookUp(ctx context.Context, connected map[cluster.Options]*cluster.Cluster, t cluster.Thing, identity string) (cluster.Found, error) {
	at := cluster.Options{Context: t.Context, Namespace: t.Namespace}
	if connected[at] == nil {
		c, err := cluster.Connect(at)
		if err != nil {
			return cluster.Found{}, err
		}
		connected[at] = c
	}
	return connected[at].Find(ctx, t, identity)
}

func noteOn(t cluster.Thing) string {
	switch {
	case t.Brief:
		return "credentials of a run that was cut short; the next run or statelift clean removes them"
	case t.Kind == "PersistentVolumeClaim":
		return "holds data"
	}
	return ""
}

func writeThings(w io.Writer, things []clusterThing) error {
	if len(things) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nmade in the cluster (statelift clean removes it):")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range things {
		fmt.Fprintf(tw, "  %s/%s\t%s\t%s\t%s\t%s\n", t.Context, t.Namespace, t.Kind, t.Name, t.State, t.Note)
	}
	return tw.Flush()
}
