package source

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// ledgerItem is under what the stage notes that an archive is unpacked whole.
const ledgerItem = "unpacked"

// note is what the ledger holds: which file it was, and what came out.
type note struct {
	Mark     string          `json:"mark"`
	Checksum string          `json:"checksum"` // that was asked for, and so was right
	Archive  handoff.Archive `json:"archive"`
}

// unpacked tells whether the very same file was unpacked before, and what was
// made of it is still there.
func unpacked(ctx context.Context, env *pipeline.Env, mark, checksum string) (handoff.Archive, bool, error) {
	text, ok, err := env.Ledger.Lookup(ctx, ledgerItem)
	if err != nil || !ok {
		return handoff.Archive{}, false, err
	}
	var n note
	if json.Unmarshal([]byte(text), &n) != nil || n.Mark != mark || n.Checksum != checksum {
		return handoff.Archive{}, false, nil
	}
	if _, err := os.Lstat(env.Workspace.Path(workspace.Unpacked)); err != nil {
		return handoff.Archive{}, false, nil
	}
	return n.Archive, true, nil
}

func remember(ctx context.Context, env *pipeline.Env, n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	return env.Ledger.Commit(ctx, ledgerItem, string(text))
}

// Changed looks again at the source outside: a directory that is gone or is no
// root any more, an archive with another size or time, a tree that was removed
// from the workspace. It reads no content; whether files below a directory
// changed is for the scan to tell.
func Changed(_ context.Context, s handoff.Source) (bool, error) {
	if looksLikeRoot(s.Root) != nil {
		return true, nil
	}
	if s.Archive == nil {
		return false, nil
	}
	fi, err := os.Stat(s.Archive.Path)
	if os.IsNotExist(err) {
		// What was unpacked is all that is needed.
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("source: %w", err)
	}
	return fi.Size() != s.Archive.Size || !fi.ModTime().Equal(s.Archive.ModTime), nil
}
