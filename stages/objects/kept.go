package objects

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// A copy of the index stays in the workspace: the next round is compared with it.
const (
	unfinishedIndex = "objects-index"
	keptIndexes     = "objects-index-*"
)

func keptIndex(w workspace.Workspace, sum string) string {
	return w.Path(workspace.Run, "objects-index-"+sum)
}

// keepOnly removes the copies of all indexes but these.
func keepOnly(w workspace.Workspace, sums ...string) error {
	list, err := filepath.Glob(w.Path(workspace.Run, keptIndexes))
	if err != nil {
		return fmt.Errorf("indexes of objects: %w", err)
	}
	keep := map[string]bool{}
	for _, sum := range sums {
		keep[keptIndex(w, sum)] = true
	}
	var errs []error
	for _, name := range list {
		if !keep[name] {
			errs = append(errs, os.Remove(name))
		}
	}
	return errors.Join(errs...)
}

// forget takes the objects out of the record of the rounds.
func forget(w workspace.Workspace) error {
	made, err := pipeline.Read(w, handoff.RoundsKey)
	if errors.Is(err, pipeline.ErrNoHandoff) {
		return nil
	}
	if err != nil {
		return err
	}
	known := false
	for i := range made.Rounds {
		known = known || made.Rounds[i].Objects != nil
		made.Rounds[i].Objects = nil
	}
	if !known {
		return nil
	}
	return pipeline.Write(w, handoff.RoundsKey, made)
}
