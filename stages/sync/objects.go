package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// ObjectRounder brings the object store up to what the source is; before is what it
// has. With checksum every file is read, also those that look as before.
type ObjectRounder interface {
	Round(ctx context.Context, env *pipeline.Env, source handoff.Source, before handoff.Objects, checksum bool) (*handoff.ObjectRound, error)
}

// bringObjects is the round's part of the object store; nil without one. Of a source
// that was stopped, a file that does not hold still is an error.
func (r *run) bringObjects(ctx context.Context, final bool) (*handoff.ObjectRound, error) {
	if r.options.Objects == nil {
		return nil, nil //nolint:nilnil // nothing is wired, as in a test
	}
	first, err := pipeline.Read(r.Workspace, handoff.ObjectsKey)
	if errors.Is(err, pipeline.ErrNoHandoff) {
		return nil, nil //nolint:nilnil // no store
	}
	if err != nil {
		return nil, err
	}
	made, err := r.options.Objects.Round(ctx, r.Env, r.source, r.rounds.Objects(first), r.options.Checksum)
	if err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	if final && len(made.Restless) > 0 {
		var errs []error
		for _, p := range made.Restless {
			errs = append(errs, fmt.Errorf("objects: %s changed whenever it was read, although the source was stopped", p.Path))
		}
		return nil, errors.Join(errs...)
	}
	return made, nil
}
