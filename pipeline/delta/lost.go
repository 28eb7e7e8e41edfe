package delta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline/oci"
)

// Lost says what the layout does not have of the deltas that the directory of a
// volume counts on; "" when all is there, or there are none. It does not read the
// blobs of content.
func Lost(ctx context.Context, layout *oci.Layout, dir string) (string, error) {
	base, err := ReadBase(dir)
	if errors.Is(err, ErrNoBase) {
		return "", nil
	}
	if err != nil {
		return err.Error(), nil //nolint:nilerr // the answer, not a failure
	}
	for n, d := range base.Deltas {
		open, err := Open(ctx, layout, d)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			return err.Error(), nil //nolint:nilerr // the answer, not a failure
		}
		for _, b := range open.Blobs() {
			if ok, err := layout.Has(ctx, b.Digest, b.Size); err != nil || !ok {
				return fmt.Sprintf("blob %s of delta %d is not there as a whole", b.Digest, n+1), err
			}
		}
	}
	return "", nil
}

// Forget drops the rounds that were made since the seed: Commit then begins with
// the seed again. Volumes that had them are brought up to date from any state.
func (r *Recorder) Forget() error {
	err := os.Remove(filepath.Join(r.dir, baseFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
