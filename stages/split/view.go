package split

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"strings"
	"sync"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// view looks at parts of the tree without reading all of it: entries are
// numbered depth first, so what follows a directory's last entry is found by
// bisection.
type view struct {
	cat  *catalog.Catalog
	last int64 // the highest ID

	mu     sync.Mutex
	listed map[hostpath.Path][]node // directories that were listed whole
	held   int                      // nodes in listed
}

// maxHeld bounds the listings that are kept: every service asks for those of
// /etc, /var/lib and the like.
const maxHeld = 20_000

// node is what the judgements of this stage need of an entry.
type node struct {
	id        int64
	path      hostpath.Path
	typ       tree.Type
	mode      uint32
	uid, gid  uint32
	size      int64
	allocated int64
	link      int64 // as in catalog.Entry
	changed   change
	pkg       string
	state     catalog.State
	fs        string
	problem   string
}

// change is what cannot stay the same when anything of an inode changes, its
// content included: the time of the inode cannot be set (stat(2), ctime).
type change struct{ mtime, ctime, dev, ino int64 }

// bytes is what the entry adds to a balance.
func (n *node) bytes() int64 {
	if n.typ != tree.Regular || n.link != 0 {
		return 0
	}
	return n.size
}

func (n node) subject() claim.Subject {
	return claim.Subject{Path: n.path, Type: n.typ, Package: n.pkg, State: string(n.state), Problem: n.problem, FS: n.fs}
}

// shipped is true for a file that is as its package shipped it.
func (n node) shipped() bool { return n.state == catalog.Same || n.state == catalog.ConffileSame }

func newView(cat *catalog.Catalog) *view {
	return &view{cat: cat, last: cat.Last(), listed: map[hostpath.Path][]node{}}
}

func nodeOf(e *catalog.Entry) node {
	return node{
		id: e.ID, path: e.Path, typ: e.Type, mode: e.Mode, uid: e.UID, gid: e.GID, size: e.Size, allocated: e.Allocated, link: e.Link,
		changed: change{e.Mtime, e.Ctime, int64(e.Dev), int64(e.Ino)}, pkg: e.Package, state: e.State, fs: e.FS, problem: e.Problem,
	}
}

// from yields the entries from the ID on.
func (v *view) from(ctx context.Context, id int64) iter.Seq2[node, error] {
	return func(yield func(node, error) bool) {
		rows := v.cat.Rows(id, false)
		var e catalog.Entry
		for n := 1; rows.Next(&e); n++ {
			if n%streamBatch == 0 && ctx.Err() != nil {
				yield(node{}, ctx.Err())
				return
			}
			if !yield(nodeOf(&e), nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(node{}, err)
		}
	}
}

// streamBatch is how many entries are read ahead of those who judge them.
const streamBatch = 1024

// stream visits all entries depth first, in batches that are read ahead.
func (v *view) stream(ctx context.Context, visit func([]node) error) error {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan []node, 2)
	failed := make(chan error, 1)
	go func() {
		defer close(batches)
		failed <- v.read(ctx, batches)
	}()
	var err error
	for b := range batches {
		if err == nil {
			if err = visit(b); err != nil {
				cancel()
			}
		}
	}
	cancel()
	return cmp.Or(err, <-failed)
}

func (v *view) read(ctx context.Context, batches chan<- []node) error {
	send := func(b []node) error {
		select {
		case batches <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	batch := make([]node, 0, streamBatch)
	for n, err := range v.from(ctx, 1) {
		if err != nil {
			return err
		}
		if batch = append(batch, n); len(batch) == cap(batch) {
			if err := send(batch); err != nil {
				return err
			}
			batch = make([]node, 0, streamBatch)
		}
	}
	return send(batch)
}

// at finds one path.
func (v *view) at(_ context.Context, p hostpath.Path) (node, bool, error) {
	e, err := v.cat.Find(p)
	switch {
	case errors.Is(err, catalog.ErrNoPath):
		return node{}, false, nil
	case err != nil:
		return node{}, false, err
	}
	return nodeOf(&e), true, nil
}

// after is the ID of the first entry behind the subtree of n.
func (v *view) after(_ context.Context, n node) (int64, error) {
	if n.typ != tree.Directory {
		return n.id + 1, nil
	}
	if n.path == hostpath.Root {
		return v.last + 1, nil
	}
	return v.cat.After(n.id, n.path)
}

// children lists at most limit entries that lie directly in dir; more tells
// whether there are others.
// The list is shared: it is not to be changed.
func (v *view) children(ctx context.Context, dir hostpath.Path, limit int) (list []node, more bool, err error) {
	v.mu.Lock()
	list, ok := v.listed[dir]
	v.mu.Unlock()
	if ok {
		return list[:min(len(list), limit):min(len(list), limit)], len(list) > limit, nil
	}
	if list, more, err = v.list(ctx, dir, limit); err != nil || more {
		return list, more, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held+len(list) <= maxHeld {
		v.listed[dir] = list
		v.held += len(list) + 1
	}
	return list, false, nil
}

// list reads what children returns.
func (v *view) list(ctx context.Context, dir hostpath.Path, limit int) (list []node, more bool, err error) {
	d, ok, err := v.at(ctx, dir)
	if err != nil || !ok {
		return nil, false, err
	}
	for next := d.id + 1; ; {
		skipped := false
		for n, err := range v.from(ctx, next) {
			switch {
			case err != nil:
				return nil, false, err
			case !n.path.Within(dir):
				return list, false, nil
			case len(list) == limit:
				return list, true, nil
			}
			list = append(list, n)
			if n.typ == tree.Directory {
				if next, err = v.after(ctx, n); err != nil {
					return nil, false, err
				}
				if skipped = next > n.id+1; skipped {
					break
				}
			}
		}
		if !skipped {
			return list, false, nil
		}
	}
}

// walk visits the entries below dir depth first, at most limit of them. visit
// says whether to descend into a directory.
func (v *view) walk(ctx context.Context, dir hostpath.Path, limit int, visit func(node) (descend bool)) error {
	d, ok, err := v.at(ctx, dir)
	if err != nil || !ok {
		return err
	}
	for next := d.id + 1; ; {
		skipped := false
		for n, err := range v.from(ctx, next) {
			if err != nil {
				return err
			}
			if !n.path.Within(dir) || limit == 0 {
				return nil
			}
			limit--
			if !visit(n) && n.typ == tree.Directory {
				if next, err = v.after(ctx, n); err != nil {
					return err
				}
				if skipped = next > n.id+1; skipped {
					break
				}
			}
		}
		if !skipped {
			return nil
		}
	}
}

// glob lists at most limit entries that match a pattern without **.
func (v *view) glob(ctx context.Context, pattern hostpath.Path, limit int) ([]node, error) {
	elems := strings.Split(strings.TrimPrefix(string(pattern), "/"), "/")
	level := []hostpath.Path{hostpath.Root}
	var out []node
	for i, elem := range elems {
		var next []hostpath.Path
		for _, dir := range level {
			found, err := v.matching(ctx, dir, elem)
			if err != nil {
				return nil, err
			}
			for _, n := range found {
				if i == len(elems)-1 {
					if out = append(out, n); len(out) == limit {
						return out, nil
					}
				} else if n.typ == tree.Directory {
					next = append(next, n.path)
				}
			}
		}
		level = next
	}
	return out, nil
}

func (v *view) matching(ctx context.Context, dir hostpath.Path, elem string) ([]node, error) {
	if !claim.IsGlob(hostpath.Path(elem)) {
		n, ok, err := v.at(ctx, dir.Join(elem))
		if err != nil || !ok {
			return nil, err
		}
		return []node{n}, nil
	}
	list, _, err := v.children(ctx, dir, maxChildren)
	if err != nil {
		return nil, err
	}
	var out []node
	for _, n := range list {
		if claim.MatchGlob(hostpath.Root.Join(elem), hostpath.Root.Join(n.path.Base())) {
			out = append(out, n)
		}
	}
	return out, nil
}

// maxChildren bounds what one directory can make a judgement read.
const maxChildren = 100_000
