package rollback

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/changes"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Reader reads one volume as [changes.Volume.Write] does. Nobody writes to the
// volume meanwhile.
type Reader interface {
	Read(ctx context.Context, of Volume, list, archive io.Writer) error
}

// Volume is what is known of a volume's content before it was written to.
type Volume struct {
	Name string
	// Listing is the file with the newest proved listing, Tree its digest; both are
	// "" for a volume that started empty.
	Listing, Tree string
	// Mark is [handoff.Receipt.Mark].
	Mark        int64
	NotCompared []string
}

// Lister lists the changes of all volumes.
type Lister struct {
	Workspace workspace.Workspace
	Plan      handoff.Plan
	Reader    Reader
	Progress  pipeline.Progress
}

// shown is how many changes a report names.
const shown = 100

// attempts is how often a volume is read whose list or archive did not arrive.
const attempts = 3

// List compares every volume with its newest receipt and writes what differs to
// changes/VOLUME.jsonl, and what was added or changed to ARCHIVE/VOLUME.tar when
// archive is not "". Files are whole or not there.
func (l *Lister) List(ctx context.Context, archive string) ([]handoff.VolumeChanges, error) {
	dir := l.Workspace.Path(workspace.Changes)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("changes: %w", err)
	}
	if archive != "" {
		if err := os.MkdirAll(archive, 0o700); err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
	}
	l.Progress.Begin("changes", "volumes", int64(len(l.Plan.Volumes)))
	defer l.Progress.End()
	out := []handoff.VolumeChanges{}
	for _, v := range l.Plan.Volumes {
		of, err := l.known(v)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		found, err := l.again(ctx, of, archive)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		out = append(out, found)
		l.Progress.Add(1)
	}
	return out, nil
}

// known finds the newest receipt of a volume.
func (l *Lister) known(v handoff.Volume) (Volume, error) {
	of := Volume{Name: v.Name}
	if !v.Seed {
		return of, nil
	}
	r, err := receipts.Newest(l.Workspace, v.Name)
	if err != nil {
		return of, err
	}
	if !r.Proved {
		return of, errors.New("the copy of its newest receipt is not proved")
	}
	of.Listing, of.Tree = l.Workspace.Path(workspace.Receipts, filepath.Base(r.Listing)), r.CopyTree
	of.Mark, of.NotCompared = r.Mark, r.NotCompared
	return of, nil
}

// again lists one volume, once more when it was cut off on its way.
func (l *Lister) again(ctx context.Context, of Volume, archive string) (handoff.VolumeChanges, error) {
	for n := 1; ; n++ {
		found, err := l.one(ctx, of, archive)
		if err == nil || n == attempts || ctx.Err() != nil || !errors.Is(err, changes.ErrCut) {
			return found, err
		}
	}
}

// one lists one volume.
func (l *Lister) one(ctx context.Context, of Volume, archive string) (handoff.VolumeChanges, error) {
	found := handoff.VolumeChanges{Volume: of.Name, File: filepath.Join(workspace.Changes, of.Name+".jsonl")}
	name := l.Workspace.Path(found.File)
	var sums changes.Sums
	err := atomicfile.WriteTo(name, 0o600, func(w io.Writer) (err error) {
		lines := sha256.New()
		sums, err = l.read(ctx, of, io.MultiWriter(w, lines), archive, &found)
		found.SHA256 = hex.EncodeToString(lines.Sum(nil))
		return err
	})
	if err != nil {
		return found, err
	}
	found.Added, found.Altered, found.Dressed, found.Removed, found.Bytes = sums.Added, sums.Altered, sums.Dressed, sums.Removed, sums.Bytes
	return found, nil
}

// read has the volume read, writes the list on, and compares both digests.
func (l *Lister) read(ctx context.Context, of Volume, list io.Writer, archive string, found *handoff.VolumeChanges) (changes.Sums, error) {
	pr, pw := io.Pipe()
	type result struct {
		sums changes.Sums
		err  error
	}
	done := make(chan result, 1)
	go func() {
		sums, err := changes.Read(io.TeeReader(pr, list), func(c handoff.Change) error {
			if len(found.First) < shown {
				found.First = append(found.First, c)
			}
			return nil
		})
		pr.CloseWithError(err)
		done <- result{sums, err}
	}()
	err := l.pack(ctx, of, pw, archive, found)
	pw.CloseWithError(err)
	got := <-done
	if err == nil {
		err = got.err
	}
	if err == nil && archive != "" && got.sums.Archive != found.ArchiveSHA256 {
		err = fmt.Errorf("archive: %w", changes.ErrCut)
	}
	if err != nil && found.Archive != "" {
		err = errors.Join(err, os.Remove(found.Archive))
	}
	return got.sums, err
}

// pack reads the volume, with the archive when one is wanted.
func (l *Lister) pack(ctx context.Context, of Volume, list io.Writer, archive string, found *handoff.VolumeChanges) error {
	if archive == "" {
		return l.Reader.Read(ctx, of, list, nil)
	}
	name := filepath.Join(archive, of.Name+".tar")
	sum := sha256.New()
	err := atomicfile.WriteTo(name, 0o600, func(w io.Writer) error {
		return l.Reader.Read(ctx, of, list, io.MultiWriter(w, sum))
	})
	if err != nil {
		return err
	}
	found.Archive, found.ArchiveSHA256 = name, hex.EncodeToString(sum.Sum(nil))
	return nil
}
