package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
)

// Recheck asks the far side for every blob that an earlier run brought there,
// and says which is not there any more as a whole; "" when all are. It reads
// none.
func (s *Stage) Recheck(ctx context.Context, env *pipeline.Env, seeds handoff.Seeds, out handoff.Upload) (stale string, err error) {
	if out.Carrier == "" {
		return "", nil
	}
	place, err := carrier.ParsePlace(out.Seeds)
	if err != nil {
		return err.Error(), nil //nolint:nilerr // a hand-off that this version did not write
	}
	if stale, err := s.imageGone(ctx, out.Copier); stale != "" || err != nil {
		return stale, err
	}
	what, err := contents(ctx, env, seeds)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return err.Error(), nil //nolint:nilerr // the seeds here are others by now
	}
	from, err := carrier.Open(ctx, place, s.options.Talk)
	if err != nil {
		return "", err
	}
	defer from.Close()
	return what.Gone(ctx, from)
}

// imageGone looks for the image's manifest and for everything that it names.
func (s *Stage) imageGone(ctx context.Context, ref string) (string, error) {
	if ref == "" {
		return "", nil
	}
	_, digest, _ := strings.Cut(ref, "@")
	r, err := s.registry()
	if err != nil {
		return "", err
	}
	repo, err := r.Repository(imageName)
	if err != nil {
		return "", err
	}
	data, err := repo.Manifest(ctx, digest)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("%s is not there any more", ref), nil
	}
	if err != nil {
		return "", err
	}
	var m oci.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("%s: %w", ref, err)
	}
	for _, d := range append(m.Layers, m.Config) {
		size, err := repo.SizeOf(ctx, string(d.Digest))
		if errors.Is(err, fs.ErrNotExist) || err == nil && size != d.Size {
			return fmt.Sprintf("blob %s of %s is not there any more", d.Digest, ref), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}
