package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/ctime"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// The files of a volume's directory. The one that the base names holds the
// state; the others with its suffix are left over or not finished.
const (
	baseFile    = "base.json"
	stateSuffix = ".snapshot"
)

// ErrNoBase is wrapped when nothing is kept of a volume's seed: the stage seed
// has to run again.
var ErrNoBase = errors.New("no state of the volume is kept here")

// ReadBase reads which state the directory of a volume keeps.
func ReadBase(dir string) (Base, error) {
	var b Base
	data, err := os.ReadFile(filepath.Join(dir, baseFile))
	if errors.Is(err, fs.ErrNotExist) {
		return b, fmt.Errorf("%s: %w: run the stage seed again", dir, ErrNoBase)
	}
	if err == nil {
		err = json.Unmarshal(data, &b)
	}
	if err != nil {
		return b, fmt.Errorf("state of a volume: %w", err)
	}
	if b.State != filepath.Base(b.State) {
		return b, fmt.Errorf("state of a volume: %q is not a name: %w", b.State, snapshot.ErrDamaged)
	}
	return b, nil
}

// newest is the digest that the next delta follows, "" after the seed.
func (b *Base) newest() oci.Digest {
	if n := len(b.Deltas); n > 0 {
		return b.Deltas[n-1].Digest
	}
	return ""
}

// commit makes b the base, and removes what is not of it.
func (b *Base) commit(dir string) error {
	data, err := json.MarshalIndent(b, "", "  ")
	if err == nil {
		err = atomicfile.Write(filepath.Join(dir, baseFile), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("state of volume %s: %w", b.Volume, err)
	}
	return clean(dir, b.State)
}

// clean removes the states that are not the one to keep.
func clean(dir, keep string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), stateSuffix) && e.Name() != keep {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// stateWriter is a snapshot that is being written.
type stateWriter struct {
	*snapshot.Writer
	file *os.File
	dir  string
	name string
}

// unknown is the ctime in a state of a file that has to be read again in the next
// round, whatever it looks like then: see package ctime.
const unknown = 0

// newState begins the snapshot NAME.snapshot.
func newState(dir, name string) (*stateWriter, error) {
	name += stateSuffix
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &stateWriter{Writer: snapshot.NewWriter(f), file: f, dir: dir, name: name}, nil
}

// finish flushes it.
func (s *stateWriter) finish() (tree.Totals, error) {
	totals, err := s.Close()
	return totals, errors.Join(err, s.file.Sync(), s.file.Close())
}

// abort removes it; it may be called after finish, and then does nothing.
func (s *stateWriter) abort() {
	if s.file.Close() == nil {
		os.Remove(s.file.Name())
	}
}

// Recorder keeps what a seed was made of, as the base of the first round.
type Recorder struct {
	dir   string
	state *stateWriter
	mark  *ctime.Mark
	Scope Scope // the caller's to fill in
}

// Record begins to keep a seed in the directory of its volume, which it makes. It
// is called before the seed is built, with the source that it is built from and
// the volume's root there, whose file system is flushed. The caller closes the
// recorder.
func Record(ctx context.Context, dir string, source Source, root hostpath.Path) (*Recorder, error) {
	mark, err := ctime.Now()
	if err != nil {
		return nil, err
	}
	// What cannot be flushed is not trusted, and read again in the first round. Of a
	// root that cannot be opened the seed tells.
	if top, err := source.OpenDir(root); err == nil {
		_, _ = mark.Flush(ctx, top)
		top.Close()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	state, err := newState(dir, "seed")
	if err != nil {
		return nil, err
	}
	return &Recorder{dir: dir, state: state, mark: mark}, nil
}

// Taken is for [seed.Options].
func (r *Recorder) Taken(rec tree.Record, blocks []byte) error {
	if rec.Type == tree.Regular && !r.mark.Trusts(rec.Dev, rec.Ctime) {
		rec.Ctime = unknown
	}
	item := snapshot.Of(rec, blocks)
	return r.state.Add(&item)
}

// Commit keeps the seed as the base. A base with rounds since the same seed stays
// what it is.
func (r *Recorder) Commit(s seed.Built) error {
	totals, err := r.state.finish()
	if err != nil {
		return err
	}
	if totals.Digest != s.Config.Tree {
		return fmt.Errorf("state of volume %s: the tree %s was recorded, and the seed is of %s", s.Config.Volume, totals.Digest, s.Config.Tree)
	}
	if err := r.Scope.write(r.dir); err != nil {
		return err
	}
	old, err := ReadBase(r.dir)
	if err == nil && old.Seed == s.Manifest.Digest && len(old.Deltas) > 0 {
		return clean(r.dir, old.State)
	}
	base := Base{Volume: s.Config.Volume, Seed: s.Manifest.Digest, Deltas: []oci.Descriptor{}, Tree: s.Config.Tree}
	base.State = "seed-" + s.Config.Tree[:16] + stateSuffix
	if err := os.Rename(filepath.Join(r.dir, r.state.name), filepath.Join(r.dir, base.State)); err != nil {
		return err
	}
	return base.commit(r.dir)
}

// Close drops what was not committed.
func (r *Recorder) Close() { r.state.abort() }
