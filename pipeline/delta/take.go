package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// attempts is how often a file that changes while it is read is read again.
const attempts = 3

// take packs the content of all files whose content has to travel, as a seed of
// its own with nothing but them and the way to them. What changed since it was
// looked at is looked at once more, and packed in another one.
func (m *maker) take(ctx context.Context) error {
	for n := 0; n < attempts && m.pending > 0; n++ {
		list := lazyState{dir: m.Dir, name: takenName(n)}
		taken := func(r tree.Record, blocks []byte) error {
			if r.Type != tree.Regular {
				return nil
			}
			item := snapshot.Of(r, blocks)
			return list.add(&item)
		}
		built, err := seed.Build(ctx, m.Layout, m.Source, m.wanted(n), seed.Options{
			Volume: m.Volume, Root: m.Root, Workers: m.Workers, Taken: taken, Progress: m.progress,
		})
		if err != nil {
			list.abort()
			return err
		}
		any, err := list.end()
		if err != nil {
			return err
		}
		if !any {
			return nil // nothing of it held still, or is there any more
		}
		m.product.contents = append(m.product.contents, built.Manifest)
		m.product.data += built.Config.Data
		m.round.ChangedBytes += built.Config.Bytes
		m.pending -= built.Config.Files
		m.takes++
	}
	return nil
}

func takenName(n int) string { return fmt.Sprintf("%s-%d", takenList, n) }

// wanted are the files to pack, with the directories that they are in. In a
// repetition they are those that were not packed yet, as they are now.
func (m *maker) wanted(attempt int) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		done, err := m.openTaken()
		if err != nil {
			yield(tree.Entry{}, err)
			return
		}
		defer done.close()
		at := opener{source: m.Source}
		defer at.close()
		w := way{m: m, yield: yield}
		err = m.each(decidedList, func(i *snapshot.Item) error {
			if i.Flags&pending == 0 {
				return nil
			}
			r, err := i.Record()
			if err != nil {
				return err
			}
			if attempt > 0 {
				had, err := done.find(r.Path)
				if err != nil || had != nil {
					return err
				}
				now, ok := at.look(m.below(r.Path), r.Path)
				if !ok {
					return nil
				}
				r.Entry = now
			}
			return w.to(r.Entry)
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(tree.Entry{}, err)
		}
	}
}

// errStopped says that the consumer of an iterator wants no more.
var errStopped = errors.New("stopped")

// way yields files and, before each, the directories on the way to it that were
// not yielded yet. What they are like says the list of changes, not the pack.
type way struct {
	m     *maker
	yield func(tree.Entry, error) bool
	above []hostpath.Path
}

func (w *way) to(e tree.Entry) error {
	for n := len(w.above); n > 0 && !e.Path.Within(w.above[n-1]); n = len(w.above) {
		w.above = w.above[:n-1]
	}
	var missing []hostpath.Path
	for dir := e.Path.Dir(); len(w.above) == 0 || w.above[len(w.above)-1] != dir; dir = dir.Dir() {
		missing = append(missing, dir)
		if dir == hostpath.Root {
			break
		}
	}
	for _, dir := range slices.Backward(missing) {
		if !w.yield(tree.Entry{Path: w.m.below(dir), Type: tree.Directory, Mode: 0o700, Nlink: 2}, nil) {
			return errStopped
		}
		w.above = append(w.above, dir)
	}
	e.Path = w.m.below(e.Path)
	if !w.yield(e, nil) {
		return errStopped
	}
	return nil
}

// look describes a regular file as it is now.
func (o *opener) look(p, name hostpath.Path) (tree.Entry, bool) {
	f, err := o.enter(p)
	if err != nil {
		return tree.Entry{}, false
	}
	e, err := tree.Lstat(f, p.Base(), name)
	return e, err == nil && e.Type == tree.Regular
}

// taken are the lists of what was packed.
type taken []*snapshot.Cursor

func (m *maker) openTaken() (taken, error) {
	var out taken
	for n := range m.takes {
		s, err := openState(m.Dir, takenName(n)+stateSuffix)
		if err != nil {
			out.close()
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (t taken) close() {
	for _, s := range t {
		s.Close()
	}
}

// find returns what was packed of a path, nil when nothing was. Paths ascend.
func (t taken) find(p hostpath.Path) (*snapshot.Item, error) {
	var out *snapshot.Item
	for _, s := range t {
		i, err := s.UpTo(p, nil)
		if err != nil {
			return nil, err
		}
		if i != nil {
			out = i
		}
	}
	return out, nil
}
