package manifests

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Recheck says which file of an earlier run is not there any more, "" when all
// are. One that somebody edited is left as it is: verify names it.
func (s *Stage) Recheck(ctx context.Context, env *pipeline.Env, out handoff.Manifests) (stale string, err error) {
	for _, f := range out.Files {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		_, err := os.Stat(env.Workspace.Path(out.Directory, f.Name))
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Sprintf("%s/%s is not there any more", out.Directory, f.Name), nil
		}
		if err != nil {
			return "", fmt.Errorf("manifest: %w", err)
		}
	}
	return "", nil
}
