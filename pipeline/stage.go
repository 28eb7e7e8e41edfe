// Package pipeline runs stages in order. A stage is a typed function from the
// hand-offs that it reads to the one that it writes; the engine knows nothing
// about hosts, images or clusters.
package pipeline

import (
	"context"
	"log/slog"
	"strings"

	"github.com/statelift/statelift/pipeline/workspace"
)

// Effect says what a stage may touch. The runner refuses what was not granted.
type Effect uint8

// The effects.
const (
	Local        Effect = 1 << iota // the workspace, and nothing else on this machine
	Registry                        // a container registry
	Bucket                          // an object store
	Cluster                         // a Kubernetes cluster
	Source                          // changes something on the legacy host
	Irreversible                    // cannot be undone by this program
)

var effectNames = []string{"local", "registry", "bucket", "cluster", "source", "irreversible"}

// String lists the effects, comma separated.
func (e Effect) String() string {
	var names []string
	for i, name := range effectNames {
		if e&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Info describes a stage; listing the stages runs nothing.
type Info struct {
	Name    string // as in --until
	Summary string // one sentence
	Effects Effect
	Resumes string // by what it goes on after a stop, one sentence
	Version int    // of its logic: a change makes what an older one wrote stale
}

// Env is what every stage gets beside its hand-offs.
type Env struct {
	Log       *slog.Logger
	Workspace workspace.Workspace
	Ledger    Ledger
	Progress  Progress
	// Ledgers are those of the other stages, by name.
	Ledgers func(stage string) Ledger
}

// Ledger remembers what the far side confirmed, by stage. It survives kills:
// what Commit returned for is there again. It is safe for concurrent use.
type Ledger interface {
	// Lookup returns the mark that was committed for the item.
	Lookup(ctx context.Context, item string) (mark string, ok bool, err error)
	// Commit stores the mark. It is called only after the far side confirmed
	// the item by digest.
	Commit(ctx context.Context, item, mark string) error
}

// Progress is told how far a stage is. It never fails and never blocks. It is
// safe for concurrent use.
type Progress interface {
	// Begin starts a phase of the stage with a total in bytes (or in items when
	// unit is not "bytes"); 0 is an unknown total.
	Begin(phase, unit string, total int64)
	// Add says that n more are done.
	Add(n int64)
	// End closes the phase.
	End()
}
