package rollback

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/statelift/statelift/pipeline/changes"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Here reads the volumes of a rehearsal.
type Here struct {
	Workspace workspace.Workspace
}

// Read reads volumes/VOLUME.
func (h Here) Read(ctx context.Context, of Volume, list, archive io.Writer) error {
	v, err := changes.Open(h.Workspace.Path(workspace.Volumes, of.Name))
	if err != nil {
		return err
	}
	defer v.Close()
	var listing *tree.Reader
	if of.Listing != "" {
		f, err := os.Open(of.Listing)
		if err != nil {
			return fmt.Errorf("listing: %w", err)
		}
		defer f.Close()
		listing = tree.NewReader(bufio.NewReaderSize(f, 256<<10))
	}
	return v.Write(ctx, listing, changes.Options{Tree: of.Tree, Since: of.Mark, NotCompared: of.NotCompared}, list, archive)
}
