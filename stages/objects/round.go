package objects

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/tree"
)

// Round brings the objects and their index up to what the source is now: a file
// whose size, times and inode are as they were when it was stored is not read, any
// other is read and stored as a whole, and what is new, gone or renamed is so in
// the index. Before is what is in the store. An object whose path is gone stays
// there, and nothing names it any more.
//
// A file that changes while it is read is read again; one that never holds still is
// in the round's Restless, and no error. The index in the store is replaced before
// Round returns; a round that was cut short is made up for by the next one.
func (s *Stage) Round(ctx context.Context, env *pipeline.Env, source handoff.Source, before handoff.Objects, checksum bool) (_ *handoff.ObjectRound, err error) {
	began := time.Now()
	own := *env
	own.Ledger = env.Ledgers(Info().Name)
	r, err := s.begin(ctx, &own, source)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if r.round, err = r.openRound(ctx, before); err != nil {
		return nil, err
	}
	defer r.round.close()
	r.entries, r.doubts = r.live, checksum
	env.Progress.Begin("objects", "bytes", 0)
	defer env.Progress.End()
	if err := r.all(ctx); err != nil {
		return nil, err
	}
	out := r.round.ObjectRound
	out.Removed += r.round.vanished
	out.From, out.Objects, out.ChangedBytes, out.Took = before.IndexSHA256, r.out, r.round.sent.Load(), time.Since(began)
	env.Log.Info("objects", "looked", out.Looked, "added", out.Added, "altered", out.Altered, "removed", out.Removed, "changed", out.ChangedBytes)
	return &out, keepOnly(env.Workspace, before.IndexSHA256, r.out.IndexSHA256)
}

// round compares the index that is written with the one before, line by line.
type round struct {
	handoff.ObjectRound
	sent atomic.Int64
	// vanished are paths that were there when they were looked at, and not when they
	// were read. They are removed, too, and counted elsewhere than those.
	vanished int64
	before   *os.File
	lines    *bufio.Scanner
	last     handoff.IndexEntry
	more     bool
}

// openRound opens the index before; one that is nowhere is empty: all is new then,
// and what the ledger knows is not read again for that.
func (r *run) openRound(ctx context.Context, before handoff.Objects) (*round, error) {
	name := keptIndex(r.Workspace, before.IndexSHA256)
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		if err = r.fetchIndex(ctx, before, name); err == nil {
			f, err = os.Open(name)
		}
	}
	out := &round{before: f}
	switch {
	case errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrMismatch):
		out.lines = bufio.NewScanner(eof{})
		r.Log.Info("the index of the objects before is not there any more: all of them count as new", "because", err)
	case err != nil:
		return nil, fmt.Errorf("index of objects: %w", err)
	default:
		out.lines = bufio.NewScanner(f)
	}
	out.lines.Buffer(nil, maxLine)
	return out, out.next()
}

// maxLine bounds a line of the index.
const maxLine = 1 << 20

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// fetchIndex makes a copy of the index in the store.
func (r *run) fetchIndex(ctx context.Context, of handoff.Objects, name string) (err error) {
	in, o, err := r.store.Open(ctx, of.Index)
	if err != nil {
		return err
	}
	defer in.Close()
	if o.SHA256 != of.IndexSHA256 {
		return fmt.Errorf("%s in %s is another one: %w", of.Index, of.Store, store.ErrMismatch)
	}
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in) // the store compares the digest at the end
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, name)
}

func (d *round) close() {
	if d.before != nil {
		d.before.Close()
	}
}

func (d *round) next() error {
	if d.more = d.lines.Scan(); !d.more {
		return d.lines.Err()
	}
	d.last = handoff.IndexEntry{}
	if err := json.Unmarshal(d.lines.Bytes(), &d.last); err != nil {
		return fmt.Errorf("index of objects: %w", err)
	}
	return nil
}

// upTo goes to a path in the index before, and returns its line, nil when it has
// none. It counts what is gone on the way.
func (d *round) upTo(p hostpath.Path) (*handoff.IndexEntry, error) {
	for d.more && hostpath.Compare(d.last.Path, p) < 0 {
		d.Removed++
		if err := d.next(); err != nil {
			return nil, err
		}
	}
	if !d.more || d.last.Path != p {
		return nil, nil //nolint:nilnil // it is new
	}
	line := d.last
	return &line, d.next()
}

// compare counts what a line is beside the one before.
func (d *round) compare(l handoff.IndexEntry, before *handoff.IndexEntry) {
	d.Looked++
	switch {
	case before == nil:
		d.Added++
	case l.SHA256 != before.SHA256 || l.Type != before.Type || l.Target != before.Target:
		d.Altered++
	case l != *before:
		d.Dressed++
	}
}

// rest counts what was behind the last path.
func (d *round) rest() error {
	for d.more {
		d.Removed++
		if err := d.next(); err != nil {
			return err
		}
	}
	return nil
}

// maxRestless is how many are named.
const maxRestless = 1000

// restless keeps a path as it was, if it was there.
func (d *round) restless(r *run, j *job, why *content.Changed) error {
	p := j.entry.Path
	r.Log.Debug("it did not hold still", "path", p.String(), "why", why.What)
	if len(d.Restless) < maxRestless {
		d.Restless = append(d.Restless, handoff.Restless{Path: p, Advice: "its writer stops with --quiesce; the final round of a cutover takes it then"})
	}
	if j.before == nil {
		return nil
	}
	return r.write(*j.before, j.before.Size)
}

// takes is how often a file is looked at and read that changes meanwhile.
const takes = 4

// take stores a file. In a round it is as it is now: one that changes is looked at
// again. Err is a [*content.Changed] when it never held still.
func (r *run) take(ctx context.Context, files *content.Reader, j *job) (sum string, err error) {
	known := ""
	if j.before != nil {
		known = j.before.SHA256
	}
	for n := 1; ; n++ {
		sum, err = r.put(ctx, files, j.entry, known)
		var c *content.Changed
		if r.round == nil || !errors.As(err, &c) || n == takes {
			return sum, err
		}
		again, lookErr := r.lookAgain(j.entry.Path)
		if lookErr != nil {
			return "", lookErr
		}
		if again == nil || again.Type != tree.Regular {
			return "", errVanished
		}
		j.entry.Entry.Entry = *again
	}
}

// errVanished says that a path is not there any more, or is another kind of thing,
// which the next round finds.
var errVanished = errors.New("it vanished")

func (r *run) lookAgain(p hostpath.Path) (*tree.Entry, error) {
	dir, err := r.root.OpenDir(p.Dir())
	if err != nil {
		if gone(err) {
			return nil, nil //nolint:nilnil // as stat says it
		}
		return nil, err
	}
	defer dir.Close()
	return stat(dir, p.Base(), p)
}
