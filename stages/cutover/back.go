package cutover

import (
	"context"
	"errors"
	"fmt"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// BackOptions say what becomes of what the cluster wrote.
type BackOptions struct {
	// Archive is a directory for tar archives of it, "" for none.
	Archive string
	// NoList leaves it unlisted.
	NoList bool
}

// Rollback goes back to the source, or goes on with that: the cluster is held,
// the source unfenced and started, and then what the cluster wrote is listed.
func (s *Switcher) Rollback(ctx context.Context, o BackOptions) (*Report, error) {
	j, err := s.Journal.Read()
	if err != nil {
		return nil, err
	}
	r := &Report{}
	switch j.State {
	case "":
		return r.of(j), nil
	case handoff.SwitchAccepted:
		return r.of(j), &pipeline.Blocked{Question: "the switch was accepted: the source is out of date for good, and there is no way back", Where: "statelift accept"}
	case handoff.SwitchReturned:
		if o.Archive == "" || j.Written == 0 {
			return r.of(j), nil
		}
		kept, err := s.Lister.Kept(ctx)
		if err == nil && !kept {
			err = &pipeline.Blocked{Question: "a round or a run may have overwritten what the cluster wrote: it is not brought back from there any more; what was listed, and brought back, before is as it was", Where: "statelift rollback"}
		}
		if err != nil {
			return r.of(j), err
		}
		j.State = handoff.SwitchListing // once more, with the archive
	case handoff.SwitchListing:
	case handoff.SwitchHolding, handoff.SwitchStarting:
	default:
		if j.Opened && j.Touched {
			// The cluster is not held for a source that cannot be started.
			if err := s.answers(ctx); err != nil {
				return r.of(j), fmt.Errorf("nothing was changed: %w", err)
			}
		}
		j.Failure = ""
	}
	if j.State != handoff.SwitchListing {
		// The way back is not left half done by an interrupt.
		if err := s.home(context.WithoutCancel(ctx), &j); err != nil {
			return r.of(j), err
		}
	}
	err = s.list(ctx, &j, o)
	if j.Opened {
		// Where it was never opened, the cluster is asked nothing: it may be out of reach.
		err = errors.Join(err, s.close(ctx))
	}
	return r.of(j), err
}

// back takes a cutover back, with a list of what the cluster wrote meanwhile.
func (s *Switcher) back(ctx context.Context, j *handoff.Switch) error {
	if err := s.home(ctx, j); err != nil {
		return err
	}
	return s.list(ctx, j, BackOptions{})
}

// home holds the cluster and has the source serve again. A journal that cannot be
// written (a full disk) keeps no cutover from going back: what it says then is
// that one is under way, which asks for the fence of the source before it opens the
// cluster again.
func (s *Switcher) home(ctx context.Context, j *handoff.Switch) error {
	serving := j.State == handoff.SwitchServing
	var journal error
	if j.State != handoff.SwitchStarting {
		began := s.Now()
		if journal = s.enter(j, handoff.SwitchHolding); journal != nil && serving {
			return journal
		}
		// One that was never opened is held: no Pod of it has the fence's ConfigMap.
		if j.Opened {
			if err := s.Fence.Hold(ctx); err != nil {
				return errors.Join(fmt.Errorf("hold the cluster, without which the source stays stopped and fenced (statelift rollback goes on): %w", err), journal)
			}
			s.did(j, began, handoff.SwitchStep{Name: stepHold, Down: true})
		}
		if journal != nil && s.Source == nil {
			return journal // nobody would be asked before the cluster is opened again
		}
	}
	began := s.Now()
	journal = errors.Join(journal, s.enter(j, handoff.SwitchStarting))
	if j.Touched && s.Source != nil {
		if err := s.Source.Unfence(ctx); err != nil {
			return errors.Join(fmt.Errorf("unfence the source (the cluster is held; statelift rollback goes on): %w", err), journal)
		}
		if err := s.Source.Start(ctx); err != nil {
			return errors.Join(fmt.Errorf("start the source (the cluster is held; statelift rollback goes on): %w", err), journal)
		}
		s.did(j, began, handoff.SwitchStep{Name: stepStart, Down: true})
	}
	j.Touched, j.Returned = false, s.Now()
	if !j.Opened {
		return errors.Join(journal, s.enter(j, handoff.SwitchReturned))
	}
	return errors.Join(journal, s.enter(j, handoff.SwitchListing))
}

// list lists what the cluster wrote; there is nothing where it was never opened.
func (s *Switcher) list(ctx context.Context, j *handoff.Switch, o BackOptions) error {
	if j.State == handoff.SwitchReturned {
		return nil
	}
	if !o.NoList {
		began := s.Now()
		changes, err := s.Lister.List(ctx, o.Archive)
		if err != nil {
			return fmt.Errorf("the source serves, and what the cluster wrote is not listed yet (statelift rollback does it, --no-list leaves it): %w", err)
		}
		j.Changes = changes
		s.did(j, began, handoff.SwitchStep{Name: stepList})
	}
	return s.enter(j, handoff.SwitchReturned)
}

// Accept makes the switch final: there is no way back after it.
func (s *Switcher) Accept() (*Report, error) {
	j, err := s.Journal.Read()
	if err != nil {
		return nil, err
	}
	r := &Report{}
	switch j.State {
	case handoff.SwitchAccepted:
		return r.of(j), nil
	case handoff.SwitchServing:
		err := s.enter(&j, handoff.SwitchAccepted)
		return r.of(j), err
	}
	return r.of(j), &pipeline.Blocked{Question: fmt.Sprintf("only a cutover that came to its end can be accepted; %s", j.Standing()), Where: "statelift cutover"}
}
