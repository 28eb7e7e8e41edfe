package copier

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// follower reads a large file back close behind the workers that write it, part
// by part from its start, while the kernel still has it in memory: a Pod's memory
// holds no large file whole. The proof then reads it again only if it was changed
// since.
type follower struct {
	mu    sync.Mutex
	size  []int64 // of each part
	there []bool  // is written
	next  int     // to be read back
	at    int64
	busy  bool
	sum   hash.Hash
}

func newFollower(sizes []int64) *follower {
	return &follower{size: sizes, there: make([]bool, len(sizes)), sum: sha256.New()}
}

// wrote tells that part k is there. A worker that finds no other one at it reads
// back whatever can be; what becomes ready meanwhile is its too.
func (f *follower) wrote(ctx context.Context, file *largeFile, k int, buf []byte) error {
	f.mu.Lock()
	f.there[k] = true
	if f.busy {
		f.mu.Unlock()
		return nil
	}
	f.busy = true
	f.mu.Unlock()
	for {
		f.mu.Lock()
		if f.next == len(f.there) || !f.there[f.next] {
			f.busy = false
			f.mu.Unlock()
			return nil
		}
		size := f.size[f.next]
		f.mu.Unlock()
		if err := f.read(ctx, file, size, buf); err != nil {
			return err
		}
		f.mu.Lock()
		f.next++
		f.mu.Unlock()
	}
}

func (f *follower) read(ctx context.Context, file *largeFile, size int64, buf []byte) error {
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Pread(file.fd, buf[:min(size, int64(len(buf)))], f.at)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return pathError("read", file.r.Path, fmt.Errorf("back: %w", err))
		}
		f.sum.Write(buf[:n])
		f.at += int64(n)
		size -= int64(n)
	}
	return nil
}

// whole is the digest of the file, if all of it was read back.
func (f *follower) whole() (sum [32]byte, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Sum(sum[:0])
	return sum, f.next == len(f.there) && !f.busy
}

// known are the files that were read back, as they were then. It is safe for
// concurrent use.
type known struct {
	mu    sync.Mutex
	files map[hostpath.Path]knownFile
}

type knownFile struct {
	dev, ino           uint64
	size, mtime, ctime int64
	sum                [32]byte
}

// maxKnown bounds what is remembered: some 20 MiB.
const maxKnown = 100_000

// add remembers an open file that is finished.
func (k *known) add(fd int, p hostpath.Path, sum [32]byte) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("stat", p, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.files == nil {
		k.files = map[hostpath.Path]knownFile{}
	}
	if len(k.files) < maxKnown {
		k.files[p] = knownFile{dev: st.Dev, ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), sum: sum}
	}
	return nil
}

// sumOf is for [tree.ReadOptions]: whatever happens to a file changes its ctime
// (inode(7)), which nobody can set.
func (k *known) sumOf(e tree.Entry) ([32]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f, ok := k.files[e.Path]
	ok = ok && f.dev == e.Dev && f.ino == e.Ino && f.size == e.Size && f.mtime == e.Mtime && f.ctime == e.Ctime
	return f.sum, ok
}
