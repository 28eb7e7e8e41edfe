package delta

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// Make compares the volume at the source with the state that was confirmed last,
// reads what changed and makes the delta. What does not hold still while it is
// read is among the round's Restless: the state after the delta has it as it was
// before, or not at all. The result is not confirmed: until it is, Make begins at
// the same state again. A volume that did not change costs no write at all.
//
// An error names the path; it wraps ErrNoBase when the seed was not recorded.
func Make(ctx context.Context, o MakeOptions) (_ Made, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("delta of volume %s: %w", o.Volume, err)
		}
	}()
	m, err := newMaker(o)
	if err != nil {
		return Made{}, err
	}
	began := time.Now()
	changed, err := m.find(ctx)
	if err != nil {
		return Made{}, err
	}
	out := Made{dir: o.Dir, base: m.base, layout: o.Layout}
	m.round.To = m.base.Tree
	if changed {
		if err := m.decide(ctx); err != nil {
			return Made{}, err
		}
		if err := m.take(ctx); err != nil {
			return Made{}, err
		}
		if out.next, err = m.merge(ctx); err != nil {
			return Made{}, err
		}
		if out.Delta, err = m.store(ctx); err != nil {
			return Made{}, err
		}
	}
	m.round.ReadBytes = m.read.Load()
	m.round.Make = time.Since(began)
	m.round.Delta = string(out.Delta.Digest)
	out.Round = m.round
	return out, nil
}

// maker makes one delta.
type maker struct {
	MakeOptions
	base  Base
	scope Scope
	round handoff.VolumeRound
	read  atomic.Int64

	devices map[uint64]hostpath.Path // of what may be read, with a file on each
	trusted int64                    // ctimes before it; see package ctime
	known   map[uint64]*before       // by inode
	patches map[hostpath.Path]*Patch
	// What the walk found, and how much is to be packed of it.
	found, lost bool
	pending     int64
	takes       int // content seeds, each with its list
	product     product
}

func newMaker(o MakeOptions) (*maker, error) {
	m := &maker{MakeOptions: o, devices: map[uint64]hostpath.Path{}, known: map[uint64]*before{}, patches: map[hostpath.Path]*Patch{}}
	m.Workers = max(o.Workers, 1)
	var err error
	if m.base, err = ReadBase(o.Dir); err != nil {
		return nil, err
	}
	if m.base.Volume != o.Volume {
		return nil, fmt.Errorf("%s is of volume %s", o.Dir, m.base.Volume)
	}
	if m.scope, err = readScope(o.Dir); err != nil {
		return nil, err
	}
	m.round = handoff.VolumeRound{Volume: o.Volume, From: m.base.Tree}
	return m, clean(o.Dir, m.base.State)
}

func (m *maker) progress(n int64) {
	m.read.Add(n)
	if m.Progress != nil {
		m.Progress(n)
	}
}

// What the items of the list of changes say beside their lines.
const (
	gone     uint32 = 1 << iota // the path is not there any more; the line is of before
	pending                     // the content has to be packed
	settled                     // the sum in the line is right
	unsteady                    // the content never held still
)

// The list of changes, before and after it is known which content has to travel,
// and what was packed.
const (
	foundList   = "found"
	goneList    = "gone"
	decidedList = "decided"
	takenList   = "taken"
)

// seen is one path as the walk found it.
type seen struct {
	old   *snapshot.Item // nil for a new path
	entry tree.Entry
	state byte
}

const (
	same     = iota // as before
	differs         // or new
	vanished        // since its directory was listed
)

// find walks the volume beside its last state and lists what is not the same,
// and what is gone. It reports whether there is anything.
func (m *maker) find(ctx context.Context) (changed bool, err error) {
	root, err := m.Source.OpenDir(m.Root)
	if err != nil {
		return false, err
	}
	defer root.Close()
	old, err := openState(m.Dir, m.base.State)
	if err != nil {
		return false, err
	}
	defer old.Close()
	found, lost := lazyState{dir: m.Dir, name: foundList}, lazyState{dir: m.Dir, name: goneList}
	defer found.abort()
	defer lost.abort()
	note := func(p hostpath.Path) (*snapshot.Item, error) { return old.UpTo(p, lost.gone) }
	each := func(s seen) error {
		m.round.Looked++
		switch {
		case s.state == differs:
			m.meet(&s)
			item := snapshot.Of(tree.Record{Entry: s.entry}, nil)
			return found.add(&item)
		case s.state == vanished && s.old != nil:
			return found.gone(s.old)
		}
		return nil
	}
	walk := tree.WalkOptions{Workers: m.Workers, Live: true, Skip: func(p hostpath.Path) bool { return !m.scope.Has(p) }}
	if err := tree.Walk(ctx, root, walk, note, m.look, each); err != nil {
		return false, err
	}
	if _, err := old.UpTo("", lost.gone); err != nil {
		return false, err
	}
	m.round.Looked += lost.count
	if m.lost, err = lost.end(); err != nil {
		return false, err
	}
	m.found, err = found.end()
	return m.found || m.lost, err
}

// look says what became of one path.
func (m *maker) look(_ int, at tree.Spot, old *snapshot.Item) (seen, error) {
	s := seen{old: old}
	var err error
	s.entry, err = tree.Stat(at.Dir, at.Name, at.Path)
	if err == nil && old != nil && old.Unchanged(&s.entry) && (!m.Checksum || s.entry.Type != tree.Regular) {
		return s, nil
	}
	s.state = differs
	if err == nil {
		err = s.entry.Complete(at.Dir, at.Name)
	}
	if isGone(err) {
		s.state, err = vanished, nil
	}
	return s, err
}

func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}

// lazyState is a state that is begun when something comes into it.
type lazyState struct {
	dir, name string
	state     *stateWriter
	count     int64
	done      bool
}

func (l *lazyState) add(i *snapshot.Item) (err error) {
	if l.state == nil {
		if l.state, err = newState(l.dir, l.name); err != nil {
			return err
		}
	}
	l.count++
	return l.state.Add(i)
}

func (l *lazyState) gone(i *snapshot.Item) error {
	item := *i
	item.Flags, item.Blocks = gone, nil
	return l.add(&item)
}

// end finishes what was begun, and reports whether anything was.
func (l *lazyState) end() (bool, error) {
	if l.state == nil {
		return false, nil
	}
	l.done = true
	_, err := l.state.Close()
	return true, errors.Join(err, l.state.file.Close())
}

func (l *lazyState) abort() {
	if l.state != nil && !l.done {
		l.state.abort()
	}
}

// openState opens a state, or a list, along whose paths one can go.
func openState(dir, name string) (*snapshot.Cursor, error) {
	return snapshot.OpenFile(filepath.Join(dir, name))
}

// Confirm makes the state that was made the base of the next round. It is called
// when the receipt of the volume is good.
func (m Made) Confirm() error {
	if m.next == "" {
		return nil
	}
	base := m.base
	base.Tree, base.State = m.Round.To, m.next
	if m.Delta.Digest != "" {
		base.Deltas = append(base.Deltas[:len(base.Deltas):len(base.Deltas)], m.Delta)
		if err := name(m.layout, m.Delta); err != nil {
			return fmt.Errorf("delta of volume %s: %w", base.Volume, err)
		}
	}
	return base.commit(m.dir)
}

// name puts the delta into the layout's index.
func name(layout *oci.Layout, d oci.Descriptor) error {
	index, err := layout.Index()
	if err != nil {
		return err
	}
	list := []oci.Descriptor{}
	for _, have := range index.Manifests {
		if have.Annotations[oci.RefName] != d.Annotations[oci.RefName] {
			list = append(list, have)
		}
	}
	return layout.SetIndex(append(list, d))
}

// refName is how the layout calls the delta of a round.
func refName(volume string, number int) string { return fmt.Sprintf("%s+%d", volume, number) }

// below is the path on the host of a path of the volume.
func (m *maker) below(p hostpath.Path) hostpath.Path {
	switch {
	case m.Root == hostpath.Root:
		return p
	case p == hostpath.Root:
		return m.Root
	}
	return m.Root + p
}

// number is that of the delta that is made.
func (b *Base) number() int { return len(b.Deltas) + 1 }

// maxRestless is how many are named.
const maxRestless = 1000

func (m *maker) restless(p hostpath.Path) {
	if len(m.round.Restless) < maxRestless {
		m.round.Restless = append(m.round.Restless, handoff.Restless{
			Path: m.below(p), Advice: advice,
		})
	}
}
