package copier

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// markOf reads the clock of the file system that root is on, and waits until it
// has moved on: every write that was made before the call has an earlier ctime
// than the result, and every write after it has not. (Timestamps of files are as
// coarse as the kernel's tick, time(7).) Where files without a name cannot be
// made (open(2), O_TMPFILE), there is one for a moment in the root, whose time the
// caller sets last anyway.
func markOf(ctx context.Context, root *os.File) (int64, error) {
	fd, err := openat(int(root.Fd()), ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		const name = Marker + ".mark"
		f, nerr := openOwn(root, name, unix.O_RDWR|unix.O_CREAT)
		if nerr != nil {
			return 0, fmt.Errorf("the clock of the file system: %w", nerr)
		}
		defer unix.Unlinkat(int(root.Fd()), name, 0)
		fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		f.Close()
		if err != nil {
			return 0, fmt.Errorf("the clock of the file system: %w", err)
		}
	}
	defer unix.Close(fd)
	first := int64(0)
	for n := 0; ; n++ {
		if err := futimens(fd, int64(n)); err != nil {
			return 0, pathError("utimens", hostpath.Root, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return 0, pathError("stat", hostpath.Root, err)
		}
		switch now := st.Ctim.Nano(); {
		case n == 0:
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
