package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// Wanted is what a directory is to become.
type Wanted struct {
	Volume string
	Seed   string   // digest, for the receipt
	Deltas []string // digests, for the receipt
	// Listing calls each with the paths of the wanted state, in order, and
	// fails unless they are what its digest says.
	// proved, unless it is nil, is called with those of the state that the
	// directory was proved to be in at the moment Mark of its file system. It fills
	// in Names.
	Listing func(ctx context.Context, each, proved func(*snapshot.Item) error) error
	Mark    int64 // 0 when there was no proof
	Content Content
	// Names are those right in the root that the volume had at any time: a
	// directory with none of them is one of something else.
	Names map[string]bool
}

// Content tells where the contents of files come from, by their SHA-256.
type Content interface {
	// Fetch calls small or large for each content that is wanted, as far as it is
	// anywhere, until there is no more. They may be called concurrently. What small reads counts only when
	// Fetch returns nil.
	Fetch(ctx context.Context, more func() bool, wanted func(sum [32]byte) bool,
		small func(sum [32]byte, size int64, sparse bool, content io.Reader) error,
		large func(sum [32]byte, size int64, sparse bool, parts []seed.Part) error) error
	// Steps are the ways to make a content from others, the last step first: that
	// content is what the step before makes, or what is to be fetched or found.
	// There are none for a content that is stored as a whole.
	Steps(sum [32]byte) []Step
	// Open opens what a part holds.
	Open(ctx context.Context, p seed.Part) (io.ReadCloser, error)
}

// Step makes a content from another one.
type Step struct {
	From  [32]byte
	Size  int64 // of the result
	Blobs []StepBlob
}

// StepBlob holds what comes to some places of the file, one after the other;
// zeros when the part has no digest.
type StepBlob struct {
	Part   seed.Part
	Places []Range
}

// Range is a part of a file.
type Range struct{ At, Raw int64 }

// Reconcile makes the directory what is wanted, whatever it is now, as long as it
// is of this volume: what is as wanted stays, what differs is made again, what is
// not wanted is removed. It can be called again after it was interrupted anywhere.
// What the proved state had, and what has an older ctime than its mark since, is
// not read; everything else is, before and after. The receipt and the listing are
// as those of [Copy].
//
// Nobody else may write into the directory meanwhile.
func Reconcile(ctx context.Context, w Wanted, dir, listing string, o Options) (_ handoff.Receipt, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("reconcile volume %s in %s: %w", w.Volume, dir, err)
		}
	}()
	r, done, err := newReconciler(w, dir, listing, o)
	if err != nil {
		return handoff.Receipt{}, err
	}
	defer done()
	return r.run(ctx, listing)
}

// Begun reports whether the directory holds more than nothing, or than an
// interrupted copy of the seed.
func Begun(dir string, seed oci.Digest) (bool, error) {
	root, err := openRoot(dir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	found, err := inspect(root, seed)
	if err != nil || found != empty {
		return found == occupied, err
	}
	// The stage alone: a reconciliation of nothing was interrupted.
	return false, nil
}

// Check reads the directory as a whole and compares it with what is wanted, as
// Reconcile does at its end; it changes nothing but the file listing. A difference
// is no error, the receipt says it.
func Check(ctx context.Context, w Wanted, dir, listing string, o Options) (handoff.Receipt, error) {
	w.Mark = 0
	r, done, err := newReconciler(w, dir, listing, o)
	if err == nil {
		defer done()
		var receipt handoff.Receipt
		if receipt, err = r.check(ctx, listing); err == nil {
			return receipt, nil
		}
	}
	return handoff.Receipt{}, fmt.Errorf("proof of volume %s in %s: %w", w.Volume, dir, err)
}

func (r *reconciler) check(ctx context.Context, listing string) (handoff.Receipt, error) {
	if err := r.lists(ctx); err != nil {
		return handoff.Receipt{}, err
	}
	r.found = r.file("found")
	if err := r.look(ctx, r.found, "", 0); err != nil {
		return handoff.Receipt{}, err
	}
	return r.receipt(ctx, listing)
}

// newReconciler opens the directory. done closes it.
func newReconciler(w Wanted, dir, listing string, o Options) (_ *reconciler, done func(), err error) {
	if o, err = o.check(); err != nil {
		return nil, nil, err
	}
	root, err := openRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	r := &reconciler{wanted: w, root: root, options: o, known: &known{}}
	// Always of the same name, so that what a kill left is gone now.
	r.temp = filepath.Join(filepath.Dir(listing), ".reconcile-"+filepath.Base(listing))
	if err = errors.Join(os.RemoveAll(r.temp), os.Mkdir(r.temp, 0o700)); err != nil {
		root.Close()
		return nil, nil, err
	}
	return r, func() {
		root.Close()
		os.RemoveAll(r.temp)
	}, nil
}

// reconciler works on one directory.
type reconciler struct {
	wanted  Wanted
	root    *os.File
	temp    string
	options Options
	known   *known
	lost    bool // lost+found is there, and not of the volume

	tree   tree.Totals // as wanted
	got    tree.Totals // as found the last time
	carry  carried
	found  string // file with the snapshot of the last look
	marked int64
	mended bool // so that the last look wrote the listing, too
}

// carried counts what was not read.
type carried struct{ files, bytes int64 }

func (r *reconciler) file(name string) string { return filepath.Join(r.temp, name) }

// tries is how often everything is mended: what turned out wrong is made anew
// once.
const tries = 2

func (r *reconciler) run(ctx context.Context, listing string) (handoff.Receipt, error) {
	if err := r.lists(ctx); err != nil {
		return handoff.Receipt{}, err
	}
	if err := r.ours(); err != nil {
		return handoff.Receipt{}, err
	}
	prior, since := "", int64(0)
	if r.wanted.Mark != 0 {
		prior, since = r.file("proved"), r.wanted.Mark
	}
	for n, tried := 0, 0; ; n++ {
		mark, err := markOf(ctx, r.root)
		if err != nil {
			return handoff.Receipt{}, err
		}
		found := r.file(fmt.Sprintf("found-%d", n%2))
		if err := r.look(ctx, found, prior, since); err != nil {
			return handoff.Receipt{}, err
		}
		r.found, r.marked = found, mark
		prior, since = found, mark
		if r.got.Digest == r.tree.Digest || tried == tries {
			break
		}
		more, err := r.mend(ctx, tried > 0)
		if err != nil {
			return handoff.Receipt{}, err
		}
		r.mended = true
		if !more {
			tried++
		}
	}
	if err := r.tidy(); err != nil {
		return handoff.Receipt{}, err
	}
	if err := unix.Syncfs(int(r.root.Fd())); err != nil {
		return handoff.Receipt{}, fmt.Errorf("flush: %w", err)
	}
	return r.receipt(ctx, listing)
}

// tidy removes the lists that are not needed any more, before everything is
// flushed: they may be on the same file system, and are not worth writing.
func (r *reconciler) tidy() error {
	list, err := os.ReadDir(r.temp)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := r.file(e.Name())
		if name == r.found || e.Name() == linesName || name == r.file("wanted") && r.got.Digest != r.tree.Digest {
			continue
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// lists writes down what is wanted and what was proved, without what is not
// compared.
func (r *reconciler) lists(ctx context.Context) (err error) {
	wanted, err := r.newList("wanted")
	if err != nil {
		return err
	}
	defer wanted.file.Close()
	var prior *list
	var proved func(*snapshot.Item) error
	if r.wanted.Mark != 0 {
		if prior, err = r.newList("proved"); err != nil {
			return err
		}
		defer prior.file.Close()
		proved = prior.add
	}
	if err := r.wanted.Listing(ctx, wanted.add, proved); err != nil {
		return err
	}
	if r.tree, err = wanted.close(); err == nil && prior != nil {
		_, err = prior.close()
	}
	r.lost = !wanted.lost && untouched(r.root, lostFound.Rel())
	return err
}

// list is one of them.
type list struct {
	*snapshot.Writer
	options Options
	file    *os.File
	lost    bool // has lost+found
}

func (r *reconciler) newList(name string) (*list, error) {
	f, err := os.OpenFile(r.file(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &list{Writer: snapshot.NewWriter(f), options: r.options, file: f}, nil
}

func (l *list) add(i *snapshot.Item) error {
	l.lost = l.lost || i.Path() == lostFound
	if reservedPath(i.Path()) {
		return fmt.Errorf("%s: a copy under way needs this name: %w", i.Path(), seed.ErrFormat)
	}
	item := *i
	if len(l.options.NotCompared) > 0 {
		rec, err := i.Record()
		if err != nil {
			return err
		}
		rec.Xattrs = l.options.compared(rec.Xattrs)
		item = snapshot.Of(rec, nil)
	}
	item.Ctime, item.Nlink = math.MinInt64, 2 // whether it is one of several, the line says
	return l.Add(&item)
}

func (l *list) close() (tree.Totals, error) {
	totals, err := l.Close()
	return totals, errors.Join(err, l.file.Close())
}

// ours makes sure that the directory is one of this volume: at least one name in
// it is. (A directory of something else would be emptied.)
func (r *reconciler) ours() error {
	filled, ours := false, len(r.wanted.Names) == 0
	err := eachName(r.root, func(name string) error {
		if r.lost && name == lostFound.Rel() {
			return nil
		}
		filled = true
		ours = ours || r.wanted.Names[name] || reserved(name)
		return nil
	})
	if err == nil && filled && !ours {
		err = fmt.Errorf("%w: nothing in it is of the volume", ErrOccupied)
	}
	return err
}

// list puts the listing of what was found the last time to its place.
func (r *reconciler) list(listing string) error {
	if r.mended {
		return os.Rename(r.file(linesName), listing)
	}
	return replace(listing, func(w io.Writer) error {
		lines, err := snapshot.Lines(r.found)
		if err != nil {
			return err
		}
		defer lines.Close()
		_, err = io.Copy(w, lines)
		return err
	})
}

// receipt says what was found.
func (r *reconciler) receipt(ctx context.Context, listing string) (handoff.Receipt, error) {
	notCompared := slices.Clone(r.options.NotCompared)
	if r.lost && !slices.Contains(notCompared, string(lostFound)) {
		notCompared = append(notCompared, string(lostFound))
	}
	out := handoff.Receipt{
		Version: ReceiptVersion, Volume: r.wanted.Volume, Seed: r.wanted.Seed, Deltas: r.wanted.Deltas,
		SourceTree: r.tree.Digest, CopyTree: r.got.Digest, Proved: r.tree.Digest == r.got.Digest,
		Entries: r.got.Entries, Files: r.got.Files, Bytes: r.got.Bytes,
		Listing: filepath.Base(listing), ListingSHA: r.got.Digest,
		Differences: []handoff.Difference{}, NotCompared: notCompared,
		Carried: r.carry.files, CarriedBytes: r.carry.bytes, Mark: r.marked,
	}
	if err := r.list(listing); err != nil || out.Proved {
		return out, err
	}
	want, err := snapshot.Lines(r.file("wanted"))
	if err != nil {
		return out, err
	}
	defer want.Close()
	have, err := snapshot.Lines(r.found)
	if err != nil {
		return out, err
	}
	defer have.Close()
	return out, tree.Diff(ctx, tree.NewReader(want), tree.NewReader(have), func(d tree.Difference) {
		out.DifferenceCount++
		if len(out.Differences) < maxDifferences {
			out.Differences = append(out.Differences, handoff.Difference(d))
		}
	})
}
