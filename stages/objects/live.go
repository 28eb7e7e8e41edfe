package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// live are the paths of class object as they are at the source now: a path that
// the scan saw has the class that it got then, one that is new the class that the
// claims give it. What is new in a directory of a volume is the volume's.
func (r *run) live(ctx context.Context, yield func(catalog.Placed) error) error {
	claims, err := r.cat.Claims(ctx)
	if err != nil {
		return err
	}
	resolver, err := claim.NewResolver(claims...)
	if err != nil {
		return err
	}
	where := reachOf(claims)
	for _, top := range where.tops() {
		w := &walk{run: r, where: where, resolver: resolver, top: top, yield: yield}
		if err := w.all(ctx); err != nil {
			return fmt.Errorf("source: %w", err)
		}
	}
	return nil
}

// walk is that of one directory, or the look at one file.
type walk struct {
	*run
	where    reach
	resolver *claim.Resolver
	top      hostpath.Path
	yield    func(catalog.Placed) error

	next  func() (catalog.Placed, error, bool)
	known catalog.Placed // the next path of the inventory
	more  bool
	dirs  []ofDir // that the walk is in
}

// ofDir is a directory; volume says that what is new in it is a volume's.
type ofDir struct {
	path   hostpath.Path
	volume bool
}

func (w *walk) all(ctx context.Context) error {
	// What a symlink leads to is where it is.
	if at, err := w.root.Resolve(w.top); err != nil || at != w.top {
		if err == nil || gone(err) {
			return nil
		}
		return err
	}
	var stop func()
	w.next, stop = iter.Pull2(w.cat.Entries(ctx, catalog.Filter{Under: w.top}))
	defer stop()
	if err := w.advance(); err != nil {
		return err
	}
	if err := w.above(ctx); err != nil {
		return err
	}
	dir, err := w.root.OpenDir(w.top)
	if errors.Is(err, unix.ENOTDIR) {
		return w.one()
	}
	if err != nil {
		if gone(err) {
			return nil
		}
		return err
	}
	defer dir.Close()
	o := tree.WalkOptions{
		Workers: w.workers, Live: true,
		Skip:  func(p hostpath.Path) bool { return !w.where.has(w.at(p)) },
		Cross: func(p hostpath.Path) bool { return w.taken(w.at(p)) },
	}
	look := func(_ int, at tree.Spot, _ struct{}) (*tree.Entry, error) {
		return stat(at.Dir, at.Name, w.at(at.Path))
	}
	return tree.Walk(ctx, dir, o, func(hostpath.Path) (struct{}, error) { return struct{}{}, nil }, look, func(e *tree.Entry) error {
		if e == nil {
			return nil
		}
		return w.found(*e)
	})
}

// at is the path on the host of one below the top.
func (w *walk) at(p hostpath.Path) hostpath.Path {
	switch {
	case w.top == hostpath.Root:
		return p
	case p == hostpath.Root:
		return w.top
	}
	return w.top + p
}

// taken reports whether the scan went into a directory.
func (w *walk) taken(p hostpath.Path) bool {
	from, to, err := w.cat.Span(string(p) + "/")
	return err == nil && to > from
}

// one is the look at a file.
func (w *walk) one() error {
	dir, err := w.root.OpenDir(w.top.Dir())
	if err != nil {
		return err
	}
	defer dir.Close()
	e, err := stat(dir, w.top.Base(), w.top)
	if err != nil || e == nil {
		return err
	}
	return w.found(*e)
}

// stat is the entry, and nil when it is gone.
func stat(dir *os.File, name string, p hostpath.Path) (*tree.Entry, error) {
	e, err := tree.Stat(dir, name, p)
	if err == nil && e.Type == tree.Symlink {
		err = e.Complete(dir, name)
	}
	if err == nil {
		return &e, nil
	}
	if gone(err) {
		return nil, nil //nolint:nilnil // nothing is there, and that is no error
	}
	return nil, err
}

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}

// advance reads the next path of the inventory.
func (w *walk) advance() (err error) {
	w.known, err, w.more = w.next()
	return err
}

// above finds out what the directory of the top is.
func (w *walk) above(ctx context.Context) error {
	for d := w.top; d != hostpath.Root; {
		d = d.Dir()
		e, err := w.cat.Lookup(ctx, d)
		if errors.Is(err, catalog.ErrNoPath) {
			continue
		}
		w.dirs = []ofDir{{hostpath.Root, e.Class == claim.Volume}}
		return err
	}
	w.dirs = []ofDir{{hostpath.Root, false}}
	return nil
}

// found gives a path its class, and yields it when that is object.
func (w *walk) found(e tree.Entry) error {
	for n := len(w.dirs); n > 1 && !e.Path.Within(w.dirs[n-1].path); n = len(w.dirs) {
		w.dirs = w.dirs[:n-1]
	}
	for w.more && hostpath.Compare(w.known.Path, e.Path) < 0 {
		if err := w.advance(); err != nil {
			return err
		}
	}
	p := catalog.Placed{Entry: catalog.Entry{Entry: e}}
	volume := w.dirs[len(w.dirs)-1].volume
	if w.more && w.known.Path == e.Path && w.known.Type == e.Type {
		p.Class = w.known.Class
		volume = p.Class == claim.Volume
		if w.known.Ino == e.Ino {
			p.Link = w.known.Link
		}
	} else if !volume {
		c, _ := w.resolver.Winner(p.Subject())
		// Data in no volume is an object, see the split.
		if p.Class = c.Class; p.Class == claim.Volume && e.Type == tree.Regular {
			p.Class = claim.Object
		}
	}
	if e.Type == tree.Directory {
		w.dirs = append(w.dirs, ofDir{e.Path, volume})
	}
	if p.Class != claim.Object {
		return nil
	}
	return w.yield(p)
}
