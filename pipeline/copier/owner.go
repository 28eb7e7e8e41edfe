package copier

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// ErrOwners is wrapped when files cannot be given the owners that the seed says.
var ErrOwners = errors.New("this process may not give files to other owners there")

// nobodyElse is an owner that no squashing server makes of root (exports(5)
// takes 65534).
const nobodyElse = 65533

// mayOwn tries to give the journal away, and looks whether the seed needs that.
func (f *filler) mayOwn(ctx context.Context) error {
	fd := int(f.journal.file.Fd())
	refusal := unix.Fchown(fd, nobodyElse, nobodyElse)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("stat", markerPath, err)
	}
	if refusal == nil && st.Uid == nobodyElse && st.Gid == nobodyElse {
		return pathError("chown", markerPath, unix.Fchown(fd, 0, 0))
	}
	if refusal == nil {
		refusal = errors.New("chown has no effect")
	}
	listing, err := f.seed.Listing(ctx)
	if err != nil {
		return err
	}
	defer listing.Close()
	lines := tree.NewReader(listing)
	for {
		r, err := lines.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if r.Path != hostpath.Root && (r.UID != st.Uid || r.GID != st.Gid) {
			return fmt.Errorf("%w (%w), and the seed needs it, first for %s of %d:%d; whatever it makes there is %d:%d", ErrOwners, refusal, r.Path, r.UID, r.GID, st.Uid, st.Gid)
		}
	}
}
