package copier

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/maphash"
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
	err := readBack(ctx, file.fd, Range{At: f.at, Raw: size}, buf, f.sum)
	if err != nil {
		return pathError("read", file.r.Path, fmt.Errorf("back: %w", err))
	}
	f.at += size
	return nil
}

// whole is the digest of the file, if all of it was read back.
func (f *follower) whole() (sum [32]byte, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Sum(sum[:0])
	return sum, f.next == len(f.there) && !f.busy
}

// known are the contents of files that were read back, each under a hash of what
// the file was then. (Two files with one hash would get one content, which is the
// wrong one for one of them: that spoils a proof, and makes none.) It is safe for
// concurrent use.
type known struct {
	mu   sync.Mutex
	seed maphash.Seed
	sums map[uint64][32]byte
}

// knownFile is what a file was: whatever happens to it changes its ctime
// (inode(7)), which nobody can set.
type knownFile struct {
	path               hostpath.Path
	dev, ino           uint64
	size, mtime, ctime int64
}

// maxKnown bounds what is remembered: some 60 MiB. What does not fit is read
// once more by the proof.
const maxKnown = 1_000_000

// knownAs is what an open file is now.
func knownAs(fd int, p hostpath.Path) (knownFile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return knownFile{}, pathError("stat", p, err)
	}
	return knownFile{path: p, dev: st.Dev, ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}, nil
}

// add remembers an open file that is finished.
func (k *known) add(fd int, p hostpath.Path, sum [32]byte) error {
	as, err := knownAs(fd, p)
	if err == nil {
		k.put(as, sum)
	}
	return err
}

func (k *known) put(as knownFile, sum [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sums == nil {
		k.seed, k.sums = maphash.MakeSeed(), map[uint64][32]byte{}
	}
	if len(k.sums) < maxKnown {
		k.sums[maphash.Comparable(k.seed, as)] = sum
	}
}

// sumOf is for [tree.ReadOptions].
func (k *known) sumOf(e tree.Entry) (sum [32]byte, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sums == nil {
		return sum, false
	}
	as := knownFile{path: e.Path, dev: e.Dev, ino: e.Ino, size: e.Size, mtime: e.Mtime, ctime: e.Ctime}
	sum, ok = k.sums[maphash.Comparable(k.seed, as)]
	return sum, ok
}
