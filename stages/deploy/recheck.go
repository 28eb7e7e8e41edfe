package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Recheck says which volume or receipt of an earlier run is not there any more,
// "" when all are. It looks at no file of a volume: that is for verify.
func (s *Stage) Recheck(_ context.Context, env *pipeline.Env, plan handoff.Plan, copies handoff.Copies) (stale string, err error) {
	r := run{Env: env}
	receipts := map[string]handoff.ReceiptFile{}
	for _, f := range copies.Receipts {
		receipts[f.Volume] = f
	}
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
		f := receipts[v.Name]
		data, err := os.ReadFile(env.Workspace.Path(workspace.Receipts, v.Name+".json"))
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Sprintf("the receipt of volume %s is not there any more", v.Name), nil
		}
		if err != nil {
			return "", fmt.Errorf("volume %s: %w", v.Name, err)
		}
		if oci.Sum(data) != f.SHA256 || !f.Proved {
			return fmt.Sprintf("the receipt of volume %s is another one", v.Name), nil
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
