package hotbackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// Overlay is a source on which copies of databases lie above their live directories:
// what a copy has is taken from there, anything else from the source itself.
type Overlay struct {
	Source seed.Source
	Copies []Copy
	// Accounts are filled by Entries, one for each copy.
	Accounts []handoff.BackupAccount
}

var _ seed.Layered = (*Overlay)(nil)

// NewOverlay lays the copies above the source.
func NewOverlay(source seed.Source, copies []Copy) *Overlay {
	return &Overlay{Source: source, Copies: copies, Accounts: make([]handoff.BackupAccount, len(copies))}
}

// OpenDir opens a directory of a copy in the place of the live one.
func (o *Overlay) OpenDir(p hostpath.Path) (*os.File, error) {
	if _, d, ok := o.copied(p); ok {
		return o.Source.OpenDir(d.at(p))
	}
	return o.Source.OpenDir(p)
}

// Under is the source without the copies.
func (o *Overlay) Under() seed.Source { return o.Source }

// copied finds the copy that has the live path.
func (o *Overlay) copied(p hostpath.Path) (int, Dir, bool) {
	for i, c := range o.Copies {
		for _, d := range c.Dirs {
			if p.Within(d.Live) {
				return i, d, true
			}
		}
	}
	return 0, Dir{}, false
}

// at is where the copy has a live path.
func (d Dir) at(p hostpath.Path) hostpath.Path { return d.Copy.Join(string(p.Below(d.Live))) }

// Homeless are the directories of the copies that lie in none of the volumes: the
// scan did not know them.
func (o *Overlay) Homeless(volumes []handoff.Volume) (out []hostpath.Path) {
	for _, c := range o.Copies {
		for _, d := range c.Dirs {
			if !slices.ContainsFunc(volumes, func(v handoff.Volume) bool { return v.Seed && d.Live.Within(v.Path) }) {
				out = append(out, d.Live)
			}
		}
	}
	return out
}

// Of are the copies of which a volume has a part; none for a nil overlay.
func (o *Overlay) Of(volume hostpath.Path) (out []Copy) {
	if o == nil {
		return nil
	}
	for _, c := range o.Copies {
		if slices.ContainsFunc(c.Dirs, func(d Dir) bool { return d.Live.Within(volume) }) {
			out = append(out, c)
		}
	}
	return out
}

// Entries puts the paths of the copies in the places of the live ones. The entries
// are those of a volume, depth first; has reports whether a path that only a copy
// has is of the volume. Owners, modes and extended attributes are those of the live
// path, for a new one those of the directory that it is in.
func (o *Overlay) Entries(ctx context.Context, entries iter.Seq2[tree.Entry, error], has func(hostpath.Path) bool) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		next, stop := iter.Pull2(entries)
		defer stop()
		live := &peeked{next: next}
		for {
			e, err, ok := live.peek()
			switch {
			case !ok:
				return
			case err != nil:
				yield(tree.Entry{}, err)
				return
			}
			i, d, in := o.copied(e.Path)
			if !in {
				live.skip()
				if !yield(e, nil) {
					return
				}
				continue
			}
			m := merge{overlay: o, n: i, dir: d, live: live, has: has, yield: yield}
			if err := m.run(ctx); err != nil {
				if !errors.Is(err, errStopped) {
					yield(tree.Entry{}, err)
				}
				return
			}
		}
	}
}

// errStopped says that the consumer of an iterator wants no more.
var errStopped = errors.New("stopped")

// peeked is an iterator that can be looked ahead in.
type peeked struct {
	next  func() (tree.Entry, error, bool)
	entry tree.Entry
	err   error
	ok    bool
	had   bool
}

func (p *peeked) peek() (tree.Entry, error, bool) { //nolint:revive // as iter.Pull2
	if !p.had {
		p.entry, p.err, p.ok = p.next()
		p.had = true
	}
	return p.entry, p.err, p.ok
}

func (p *peeked) skip() { p.had = false }

// merge goes along one directory of a copy and its live one.
type merge struct {
	overlay *Overlay
	n       int // of the copy
	dir     Dir
	live    *peeked
	has     func(hostpath.Path) bool
	yield   func(tree.Entry, error) bool
	above   []tree.Entry // directories that were yielded, as they are in the volume
}

func (m *merge) account() *handoff.BackupAccount { return &m.overlay.Accounts[m.n] }

func (m *merge) run(ctx context.Context) error {
	root, err := m.overlay.Source.OpenDir(m.dir.Copy)
	if err != nil {
		return fmt.Errorf("copy of %s: %w", m.dir.Live, err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(ctx)
	found, failed := walk(ctx, root)
	defer func() {
		cancel()
		for range found { // the walk ends
		}
	}()
	for e := range found {
		e.Path = m.dir.Live.Join(string(e.Path))
		if err := m.upTo(e.Path); err != nil {
			return err
		}
		if err := m.copied(e); err != nil {
			return err
		}
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("copy of %s: %w", m.dir.Live, err)
	}
	return m.upTo("")
}

// walk lists a tree on a goroutine of its own, which has ended when the channel of
// entries is closed; then the other one has its error.
func walk(ctx context.Context, root *os.File) (<-chan tree.Entry, <-chan error) {
	found, failed := make(chan tree.Entry, 64), make(chan error, 1)
	go func() {
		defer close(found)
		failed <- tree.Walk(ctx, root, tree.WalkOptions{Workers: 1}, nil,
			func(_ int, at tree.Spot, _ struct{}) (tree.Entry, error) { return tree.Lstat(at.Dir, at.Name, at.Path) },
			func(e tree.Entry) error {
				select {
				case found <- e:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
	}()
	return found, failed
}

// upTo handles what only the live directory has before the path; "" is its end.
func (m *merge) upTo(p hostpath.Path) error {
	for {
		e, err, ok := m.live.peek()
		if err != nil {
			return err
		}
		if !ok || !e.Path.Within(m.dir.Live) || p != "" && hostpath.Compare(e.Path, p) >= 0 {
			return nil
		}
		m.live.skip()
		m.account().Scanned++
		if err := m.lacking(e); err != nil {
			return err
		}
	}
}

// copied yields a path of the copy.
func (m *merge) copied(e tree.Entry) error {
	e.Xattrs = nil
	was, err, ok := m.live.peek()
	if err != nil {
		return err
	}
	if ok && was.Path == e.Path {
		m.live.skip()
		m.account().Scanned++
		m.account().Replaced++
		return m.send(dressed(e, was))
	}
	if !m.has(e.Path) {
		return nil
	}
	m.account().Made++
	for n := len(m.above); n > 0 && !e.Path.Within(m.above[n-1].Path); n = len(m.above) {
		m.above = m.above[:n-1]
	}
	if n := len(m.above); n > 0 {
		e.UID, e.GID = m.above[n-1].UID, m.above[n-1].GID
		if e.Type == tree.Directory {
			e.Mode = m.above[n-1].Mode
		}
	}
	return m.send(m.overlay.home(e))
}

// dressed is a path of the copy as the live one: what is in it is the copy's.
func dressed(e, was tree.Entry) tree.Entry {
	switch {
	case e.Type != was.Type:
		e.UID, e.GID = was.UID, was.GID
		return e
	case e.Type != tree.Regular:
		return was // a link of the copy leads into the copy
	}
	e.Mode, e.UID, e.GID, e.Xattrs = was.Mode, was.UID, was.GID, was.Xattrs
	return e
}

// home has a link that leads into a copy lead where the live one is.
func (o *Overlay) home(e tree.Entry) tree.Entry {
	if e.Type != tree.Symlink {
		return e
	}
	for _, c := range o.Copies {
		for _, d := range c.Dirs {
			if to := hostpath.Path(e.Target); to.Within(d.Copy) {
				e.Target = string(d.Live.Join(string(to.Below(d.Copy))))
				e.Size = int64(len(e.Target))
				return e
			}
		}
	}
	return e
}

// lacking is a path that the copy does not have.
func (m *merge) lacking(e tree.Entry) error {
	size := e.Size
	if e.Type != tree.Regular {
		size = 0
	}
	why := m.overlay.Copies[m.n].Method.Omitted(e.Path.Below(m.dir.Live))
	if why == "" && e.Type == tree.Socket {
		why = "a socket, which the server makes when it starts"
	}
	if why != "" {
		m.account().Left++
		m.omit(e.Path, size, why)
		return nil
	}
	gone, err := m.gone(e.Path)
	if err != nil {
		return err
	}
	if gone {
		m.account().Gone++
		m.omit(e.Path, size, "it is not there any more")
		return nil
	}
	m.account().Kept++
	return m.send(e)
}

func (m *merge) gone(p hostpath.Path) (bool, error) {
	dir, err := m.overlay.Source.OpenDir(p.Dir())
	if err == nil {
		defer dir.Close()
		_, err = tree.Lstat(dir, p.Base(), p)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// maxOmitted is how many paths are named.
const maxOmitted = 1000

func (m *merge) omit(p hostpath.Path, size int64, why string) {
	if a := m.account(); len(a.Omitted) < maxOmitted {
		a.Omitted = append(a.Omitted, handoff.Omitted{Path: p, Bytes: size, Why: why})
	}
}

func (m *merge) send(e tree.Entry) error {
	if e.Type == tree.Directory {
		for n := len(m.above); n > 0 && !e.Path.Within(m.above[n-1].Path); n = len(m.above) {
			m.above = m.above[:n-1]
		}
		m.above = append(m.above, e)
	}
	if !m.yield(e, nil) {
		return errStopped
	}
	return nil
}
