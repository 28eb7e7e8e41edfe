package unpack

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Limits bound what an archive may make. The zero Limits are those of the disk.
type Limits struct {
	Bytes   int64 // of file content; the free space of the disk when 0
	Entries int64 // the free inodes of the disk when 0
	// Ratio bounds the unpacked size by the packed one, from 1 GiB on; 2000 when
	// 0, which gzip cannot exceed and real data does not.
	Ratio int64
	// Packed is the size of the archive, 0 when it is not known: no entry can say
	// that it is larger than that allows.
	Packed int64

	disk, inodes bool // whether Bytes and Entries are what the disk has
}

// Result is what was unpacked.
type Result struct {
	Format  Format
	SHA256  string // of the archive as it was read, in hexadecimal
	Entries int64
	Bytes   int64 // of file content
}

// EntryError is a fault of the archive, not of this machine: it is damaged,
// hostile, or has what cannot be kept.
type EntryError struct {
	Name string // of the entry, escaped; "" for the archive as a whole
	Err  error
}

func (e *EntryError) Error() string {
	if e.Name == "" {
		return e.Err.Error()
	}
	return "entry " + e.Name + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// Archive unpacks r, to its end, into the existing empty directory dir. Faults
// of the archive are an *EntryError; all other errors are of this machine. After
// an error the directory holds a part of the archive, and is to be thrown away.
//
// The caller is root: owners can be given by nobody else.
func Archive(ctx context.Context, r io.Reader, dir string, l Limits) (Result, error) {
	top, err := os.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Result{}, fmt.Errorf("unpack: %w", err)
	}
	defer top.Close()
	if err := l.fill(top); err != nil {
		return Result{}, err
	}
	sum := sha256.New()
	packed := &counter{ctx: ctx, r: io.TeeReader(r, sum)}
	content, format, err := Open(packed)
	if err != nil {
		return Result{}, fault(ctx, "", err)
	}
	defer content.Close()
	u, err := newUnpacker(ctx, top, l)
	if err != nil {
		return Result{}, err
	}
	defer u.close()
	if err := u.entries(&gauge{packed: packed, r: content, ratio: l.Ratio}); err != nil {
		return Result{}, err
	}
	if err := u.finish(); err != nil {
		return Result{}, err
	}
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return Result{}, fault(ctx, "", err)
	}
	return Result{Format: format, SHA256: hex.EncodeToString(sum.Sum(nil)), Entries: u.count, Bytes: u.bytes}, nil
}

// fill replaces zeros by what the disk has.
func (l *Limits) fill(dir *os.File) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &s); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if l.Bytes == 0 {
		l.Bytes, l.disk = int64(s.Bavail)*s.Bsize, true
	}
	if l.Entries == 0 {
		l.Entries, l.inodes = int64(s.Ffree), true
		if s.Files == 0 { // a file system that makes inodes as it needs them
			l.Entries = 1 << 40
		}
	}
	if l.Ratio == 0 {
		l.Ratio = 2000
	}
	return nil
}

// largest is the size above which an entry of the archive is a lie.
func (l *Limits) largest() int64 {
	if l.Packed <= 0 || l.Packed > math.MaxInt64/l.Ratio {
		return math.MaxInt64
	}
	return max(l.Packed*l.Ratio, freely)
}

// fault makes an EntryError of what a reader of the archive returned, unless the
// context ended or the disk could not be read.
func fault(ctx context.Context, name string, err error) error {
	var errno unix.Errno
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &errno):
		return fmt.Errorf("read the archive: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errTruncated
	}
	return &EntryError{Name: name, Err: err}
}

var errTruncated = errors.New("the archive is truncated")

// entries makes everything that the archive lists.
func (u *unpacker) entries(g *gauge) error {
	t := tar.NewReader(g)
	last := "" // for errors between entries
	for {
		before := g.n
		hdr, err := t.Next()
		if err == io.EOF {
			// The end is marked by a block of zeros. Without it, the archive may
			// have been cut between two entries.
			if g.n-roundUp(before) < blockSize || !allZero(g.last[:]) {
				return &EntryError{Name: last, Err: fmt.Errorf("%w: it has no end mark", errTruncated)}
			}
			if err := g.drain(); err != nil {
				return fault(u.ctx, "", err)
			}
			return nil
		}
		if err != nil {
			if last != "" {
				err = fmt.Errorf("after it: %w", unexpected(err))
			}
			return fault(u.ctx, last, err)
		}
		last = hostpath.Quote(hdr.Name)
		if u.count++; u.count > u.limits.Entries {
			if u.limits.inodes {
				return noRoom(last, "more than %d files and directories, which is all that the disk of the workspace has room for", u.limits.Entries)
			}
			return &EntryError{Name: last, Err: fmt.Errorf("more than %d entries, which is the limit", u.limits.Entries)}
		}
		if err := u.entry(hdr, t); err != nil {
			return err
		}
	}
}

// unexpected keeps a truncation recognisable through a wrapping.
func unexpected(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errTruncated
	}
	return err
}

func roundUp(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }
