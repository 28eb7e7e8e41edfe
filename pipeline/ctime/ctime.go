// Package ctime says how far the ctime of a file can be trusted to tell that
// nobody wrote to it since it was read.
//
// A store through a shared mapping (mmap(2)) sets the times of its file when it is
// the first one into a clean page, and leaves no trace in a page that is dirty
// already. Two writes within one tick of the kernel's clock leave the same ctime.
// So a file may be read, be written to, and look the same. Neither can happen to a
// file whose last change came before a moment after which its file system was
// flushed (syncfs(2)), and which was read after that: each of its pages was clean,
// and whatever comes later has a later ctime.
package ctime

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Mark is such a moment. It may be used by several goroutines.
type Mark struct {
	at    int64
	mu    sync.Mutex
	since map[uint64]int64 // by device: what changed before is trusted
}

// Now begins a tick of the clock that the kernel takes times of files from: all
// that was done before the call has an earlier ctime. That takes some milliseconds.
func Now() (*Mark, error) {
	before, err := clock()
	for at := before; err == nil; at, err = clock() {
		if at != before {
			return &Mark{at: at, since: map[uint64]int64{}}, nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, err
}

// clock is in nanoseconds since the epoch.
func clock() (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &t); err != nil {
		return 0, fmt.Errorf("the clock: %w", err)
	}
	return t.Nano(), nil
}

// Flush flushes the file system of f, once, and returns from when on ctimes there,
// in nanoseconds since the epoch, are not trusted. It is called before what is to
// be trusted is read. With an error nothing there is. An interrupt does not wait
// for its end.
func (m *Mark) Flush(ctx context.Context, f *os.File) (since int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return math.MinInt64, fmt.Errorf("stat: %w", err)
	}
	if since, ok := m.flushed(st.Dev); ok {
		return since, nil
	}
	var is unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &is); err != nil {
		return math.MinInt64, fmt.Errorf("statfs: %w", err)
	}
	if err := syncfs(ctx, f); err != nil {
		return math.MinInt64, fmt.Errorf("flush the file system: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since[st.Dev] = m.from(int64(is.Type))
	return m.since[st.Dev], nil
}

func (m *Mark) flushed(dev uint64) (since int64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	since, ok = m.since[dev]
	return since, ok
}

// syncfs works on a descriptor of its own, since f may be closed while it is still
// under way.
func syncfs(ctx context.Context, f *os.File) error {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer unix.Close(fd)
		done <- unix.Syncfs(fd)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// elsewhere is how long a kernel that cannot be told to flush may keep a page
// dirty: half a minute unless it was set otherwise (proc_sys_vm(5),
// dirty_expire_centisecs), and more when its disk is busy.
const elsewhere = 2 * time.Minute

// from tells from when on ctimes of a file system of this type (statfs(2)) are not
// trusted.
func (m *Mark) from(is int64) int64 {
	switch is {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC: // a store through a mapping never sets them
		return math.MinInt64
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC, unix.NCP_SUPER_MAGIC:
		return m.at - int64(elsewhere)
	}
	return m.at
}

// Trusts reports whether a file of that device with that ctime, in nanoseconds
// since the epoch, which was read after the flush, will have another ctime when
// anybody writes to it.
func (m *Mark) Trusts(dev uint64, ctime int64) bool {
	since, ok := m.flushed(dev)
	return ok && ctime < since
}
