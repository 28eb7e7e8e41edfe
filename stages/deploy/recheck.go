package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
)

// Recheck says which volume or receipt of an earlier run is not there any more,
// "" when all are. It looks at no file of a volume: that is for verify.
func (s *Stage) Recheck(_ context.Context, env *pipeline.Env, plan handoff.Plan, _ handoff.Copies) (stale string, err error) {
	r := run{Env: env}
	for _, v := range plan.Volumes {
		dir, err := r.place(v.Name)
		if err != nil {
			return "", err
		}
		holds, err := content(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return fmt.Sprintf("volume %s is not at %s any more", v.Name, dir), nil
		case err != nil:
			return "", fmt.Errorf("volume %s: %w", v.Name, err)
		case !v.Seed:
			continue
		case !holds && v.Entries > 1:
			return fmt.Sprintf("volume %s at %s is empty", v.Name, dir), nil
		}
		receipt, err := receipts.Newest(env.Workspace, v.Name)
		switch {
		case errors.Is(err, receipts.ErrOther), err == nil && !receipt.Proved:
			return fmt.Sprintf("the receipt of volume %s is not there any more, or another one", v.Name), nil
		case err != nil:
			return "", err
		}
	}
	return "", nil
}

// content reports whether a directory holds anything.
func content(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	switch _, err := f.Readdirnames(1); err {
	case nil:
		return true, nil
	case io.EOF:
		return false, nil
	default:
		return false, err
	}
}
