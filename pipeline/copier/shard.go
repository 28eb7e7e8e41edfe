package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
)

// CopyShard does one of the shares of a copy, side by side with the others, on
// this machine or on another one that has the same directory. It writes files,
// and flushes them. What is left is for [Copy], which comes when no shard runs
// any more: hard links, files of several shards, the metadata of directories,
// whatever shards did not get to, and the proof.
//
// It may be stopped and run again at any time. It returns false when the
// directory was full before any shard began: then only Copy can tell of what,
// and nothing was done.
func CopyShard(ctx context.Context, s *seed.Seed, dir string, shard Shard, o Options) (did bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("shard %s of the copy of volume %s to %s: %w", shard, s.Config.Volume, dir, err)
		}
	}()
	if shard.Of < 1 || shard.Of > MaxShards || shard.Index < 0 || shard.Index >= shard.Of {
		return false, errors.New("there is no such shard")
	}
	if o, err = o.check(); err != nil {
		return false, err
	}
	root, err := openRoot(dir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	f := newFiller(s, root, o)
	// What another shard, or this one before, may have made is there already.
	f.again, f.share = true, newShare(shard)
	found, err := inspect(root, s.Manifest.Digest)
	if err != nil || found == occupied {
		return false, err
	}
	if found == empty {
		marker, err := begin(root, s.Manifest.Digest, shard)
		if err != nil {
			return false, err
		}
		marker.close()
	}
	if f.journal, err = joinShards(ctx, root, s.Manifest.Digest, shard); err != nil {
		return false, err
	}
	defer f.journal.close()
	if o.MustOwn {
		if err := f.mayOwn(ctx); err != nil {
			return false, err
		}
	}
	if err := f.fill(ctx); err != nil {
		return false, err
	}
	if err := unix.Syncfs(int(root.Fd())); err != nil {
		return false, fmt.Errorf("flush: %w", err)
	}
	return true, nil
}

const journalPrefix = Marker + ".shard"

// joinShards opens the journal of a shard, and reads what all list.
func joinShards(ctx context.Context, root *os.File, seed oci.Digest, shard Shard) (*journal, error) {
	name := journalPrefix + shard.suffix()
	f, err := openOwn(root, name, unix.O_RDWR|unix.O_CREAT|unix.O_APPEND)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f, done: map[hostpath.Path]map[int]bool{}}
	own, err := firstLine(f)
	switch {
	case err != nil:
	case own == string(seed):
		// What comes next starts a line, even after a torn one.
		_, err = f.WriteString("\n")
	default: // new, torn, or of another seed
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteString(string(seed) + "\n")
		}
	}
	if err != nil {
		err = pathError("write", hostpath.Path("/"+name), err)
	} else if err = j.readShards(ctx, root, seed); err == nil {
		err = j.readMarker(ctx, root)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// firstLine reads which seed a marker or journal is of.
func firstLine(f *os.File) (string, error) {
	buf := make([]byte, 128)
	n, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	line, _, ok := strings.Cut(string(buf[:n]), "\n")
	if !ok {
		return "", nil
	}
	return line, nil
}

func (j *journal) readMarker(ctx context.Context, root *os.File) error {
	f, err := openOwn(root, Marker, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	return j.read(ctx, f)
}

// readShards adds what the journals of all shards of this seed list.
func (j *journal) readShards(ctx context.Context, root *os.File, seed oci.Digest) error {
	return eachName(root, func(name string) error {
		if !strings.HasPrefix(name, journalPrefix) {
			return nil
		}
		f, err := openOwn(root, name, unix.O_RDONLY)
		if err != nil {
			return err
		}
		defer f.Close()
		if own, err := firstLine(f); err != nil || own != string(seed) {
			return pathError("read", hostpath.Path("/"+name), err)
		}
		return j.read(ctx, f)
	})
}

// unmark removes the marker and all that belongs to it, the marker last: a run
// that is killed before goes on.
func unmark(root *os.File) error {
	var names []string
	err := eachName(root, func(name string) error {
		if reserved(name) && name != Marker {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range append(names, Marker) {
		if err := unix.Unlinkat(int(root.Fd()), name, 0); err != nil && err != unix.ENOENT {
			return pathError("unlink", hostpath.Path("/"+name), err)
		}
	}
	return nil
}
