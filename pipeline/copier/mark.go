package copier

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// markOf reads the clock of the file system that root is on, and waits until it
// has moved on: every write that was made before the call has an earlier ctime
// than the result, and every write after it has not. (Timestamps of files are as
// coarse as the kernel's tick, time(7).) To read it, root is given the times that
// it has, which sets its ctime. The mark is 0 where that is refused.
func markOf(ctx context.Context, root *os.File) (int64, error) {
	fd := int(root.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, pathError("stat", hostpath.Root, err)
	}
	mtime := st.Mtim.Nano()
	for first := int64(0); ; {
		if err := futimens(fd, mtime); err != nil {
			return 0, pathError("utimens", hostpath.Root, tolerate(err))
		}
		if err := unix.Fstat(fd, &st); err != nil {
			return 0, pathError("stat", hostpath.Root, err)
		}
		switch now := st.Ctim.Nano(); {
		case first == 0:
			first = now
		case now > first:
			return now, nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
