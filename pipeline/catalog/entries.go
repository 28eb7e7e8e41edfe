package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog/pages"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// Rows reads entries depth first, without their classes. It is for one
// goroutine, and needs no closing.
type Rows struct {
	cursor *pages.Cursor
	xattrs bool
	pkg    string // of the last entry that had one
	err    error
}

// Rows reads the entries from the ID on, or the next one that there is. Extended
// attributes cost time, and are read only when asked for.
func (c *Catalog) Rows(from int64, xattrs bool) *Rows {
	return &Rows{cursor: c.entries.From(from), xattrs: xattrs}
}

// Err is what ended Next, other than the last entry.
func (r *Rows) Err() error {
	if r.err != nil {
		return fmt.Errorf("inventory: %w", r.err)
	}
	return nil
}

// Next reads the next entry into e.
func (r *Rows) Next(e *Entry) bool {
	if r.err != nil || !r.cursor.Next() {
		if r.err == nil {
			r.err = r.cursor.Err()
		}
		return false
	}
	k := &r.cursor.Record
	k.Skip(1)
	e.ID = r.cursor.ID
	e.Path = hostpath.Path(k.Bytes())
	e.Type = typeOf(k.Bytes())
	e.Mode, e.UID, e.GID = uint32(k.Int()), uint32(k.Int()), uint32(k.Int())
	e.Size, e.Allocated, e.Mtime, e.Ctime = k.Int(), k.Int(), k.Int(), k.Int()
	e.Dev, e.Ino, e.Nlink, e.Rdev = uint64(k.Int()), uint64(k.Int()), uint32(k.Int()), uint64(k.Int())
	e.Target = string(k.Bytes())
	xattrs := k.Bytes()
	if pkg := k.Bytes(); string(pkg) == r.pkg { // neighbours mostly have the same
		e.Package = r.pkg
	} else {
		e.Package = string(pkg)
		if len(pkg) > 0 {
			r.pkg = e.Package
		}
	}
	e.State = stateOf(k.Bytes())
	e.Problem, e.FS, e.Link = string(k.Bytes()), string(k.Bytes()), k.Int()
	e.Xattrs = nil
	if r.err = k.Err(); r.err == nil && r.xattrs && len(xattrs) > 0 {
		if err := json.Unmarshal(xattrs, &e.Xattrs); err != nil {
			r.err = fmt.Errorf("%s: xattrs: %w", e.Path, err)
		}
	}
	return r.err == nil
}

// typeOf and stateOf spare the memory of what is always the same.
func typeOf(b []byte) tree.Type {
	switch string(b) {
	case "f":
		return tree.Regular
	case "d":
		return tree.Directory
	case "l":
		return tree.Symlink
	}
	return tree.Type(b)
}

func stateOf(b []byte) State {
	switch string(b) {
	case "":
		return ""
	case "same":
		return Same
	case "unchecked":
		return Unchecked
	}
	return State(b)
}

// Filter selects entries. The zero Filter selects all.
type Filter struct {
	Under hostpath.Path // only this path and what is below it
	Class claim.Class   // only this class
}

// Entries streams entries depth first. The caller may write to the catalog while
// it iterates.
func (c *Catalog) Entries(ctx context.Context, f Filter) iter.Seq2[Placed, error] {
	return func(yield func(Placed, error) bool) {
		from, to := int64(1), c.last+1
		if f.Under != "" && f.Under != hostpath.Root {
			e, err := c.Find(f.Under)
			if err == nil {
				from = e.ID
				_, to, err = c.Span(string(f.Under) + "/")
				to = max(to, from+1)
			}
			if errors.Is(err, ErrNoPath) {
				return
			}
			if err != nil {
				yield(Placed{}, err)
				return
			}
		}
		var err error
		if f.Class == "" {
			err = c.all(ctx, from, to, yield)
		} else {
			err = c.ofClass(ctx, f.Class, from, to, yield)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(Placed{}, err)
		}
	}
}

// errEnough says that the caller wants no more entries.
var errEnough = errors.New("enough")

// breath is how many entries are read between two looks at the context.
const breath = 1024

func (c *Catalog) all(ctx context.Context, from, to int64, yield func(Placed, error) bool) error {
	runs := c.runs("", from)
	rows := c.Rows(from, true)
	var p Placed
	for n := 0; rows.Next(&p.Entry) && p.ID < to; n++ {
		if n%breath == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		run, err := runs.at(ctx, p.ID)
		if err != nil {
			return err
		}
		p.Class, p.Claim = run.class, run.claim
		if !yield(p, nil) {
			return errEnough
		}
	}
	return rows.Err()
}

func (c *Catalog) ofClass(ctx context.Context, class claim.Class, from, to int64, yield func(Placed, error) bool) error {
	runs := c.runs(class, from)
	for {
		run, ok, err := runs.next(ctx)
		if err != nil || !ok || run.first >= to {
			return err
		}
		p := Placed{Class: run.class, Claim: run.claim}
		rows := c.Rows(max(run.first, from), true)
		for n := 1; rows.Next(&p.Entry) && p.ID <= run.last && p.ID < to; n++ {
			if n%breath == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if !yield(p, nil) {
				return errEnough
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
}

// Lookup finds one path. ErrNoPath says that there is none.
func (c *Catalog) Lookup(ctx context.Context, p hostpath.Path) (Placed, error) {
	e, err := c.find(p, true)
	if err != nil {
		return Placed{}, err
	}
	run, err := c.runAt(ctx, e.ID)
	return Placed{Entry: e, Class: run.class, Claim: run.claim}, err
}

// Find is Lookup without the class and without extended attributes, which is
// quicker.
func (c *Catalog) Find(p hostpath.Path) (Entry, error) { return c.find(p, false) }

func (c *Catalog) find(p hostpath.Path, xattrs bool) (e Entry, err error) {
	id, err := c.search(func(q hostpath.Path) bool { return hostpath.Compare(q, p) < 0 })
	if err != nil {
		return e, err
	}
	rows := c.Rows(id, xattrs)
	if rows.Next(&e) && e.Path == p {
		return e, nil
	}
	if err := rows.Err(); err != nil {
		return Entry{}, err
	}
	return Entry{}, fmt.Errorf("%s: %w", p, ErrNoPath)
}

// Span is the IDs of the paths that begin with these bytes: from is the first,
// and to the first behind them. With "/etc/" it is what lies below /etc.
func (c *Catalog) Span(prefix string) (from, to int64, err error) {
	before := func(p hostpath.Path) bool { return hostpath.Compare(p, hostpath.Path(prefix)) < 0 }
	if from, err = c.search(before); err == nil {
		to, err = c.search(func(p hostpath.Path) bool { return before(p) || strings.HasPrefix(string(p), prefix) })
	}
	return from, to, err
}

// After is the first ID behind the directory of this ID and path and all that
// is below it.
func (c *Catalog) After(id int64, dir hostpath.Path) (int64, error) {
	within := func(p hostpath.Path) bool { return p.Within(dir) }
	// Most directories are small: begin near.
	for step := int64(1); ; step *= 2 {
		if id+step > c.last {
			return c.searchIn(id+step/2+1, c.last+1, within)
		}
		p, ok, err := c.pathAt(id + step)
		if err != nil {
			return 0, err
		}
		if !ok || !within(p) {
			return c.searchIn(id+step/2+1, id+step, within)
		}
	}
}

// Glob lists the first paths that match the pattern, at most limit. It passes
// over directories below which nothing can match.
func (c *Catalog) Glob(ctx context.Context, pattern claim.Pattern, limit int) (out []hostpath.Path, err error) {
	next, to, err := c.Span(pattern.Prefix())
	for again := true; again && err == nil; {
		again = false
		rows := c.Rows(next, false)
		var e Entry
		for n := 0; len(out) < limit && rows.Next(&e) && e.ID < to; n++ {
			if n%breath == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if pattern.Match(e.Path) {
				out = append(out, e.Path)
			}
			if e.Type != tree.Directory || pattern.Below(e.Path) {
				continue
			}
			if next, err = c.After(e.ID, e.Path); err != nil || next > e.ID+1 {
				again = true
				break
			}
		}
		err = errors.Join(err, rows.Err())
	}
	return out, err
}

// Last is the highest ID.
func (c *Catalog) Last() int64 { return c.last }

// Mounted is the entries where other file systems are mounted.
func (c *Catalog) Mounted(ctx context.Context) ([]Entry, error) {
	rows, err := c.db.QueryContext(ctx, "SELECT entry FROM mounted ORDER BY entry")
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		var e Entry
		if list := c.Rows(id, false); !list.Next(&e) || e.ID != id {
			return nil, fmt.Errorf("inventory: entry %d: %w", id, cmp.Or(list.Err(), ErrNoPath))
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// search is the first ID whose path is not before what is looked for. The order
// of the IDs is that of [hostpath.Compare].
func (c *Catalog) search(before func(hostpath.Path) bool) (int64, error) {
	return c.searchIn(1, c.last+1, before)
}

func (c *Catalog) searchIn(from, to int64, before func(hostpath.Path) bool) (int64, error) {
	for from < to {
		mid := from + (to-from)/2
		path, ok, err := c.pathAt(mid)
		if err != nil {
			return 0, err
		}
		if ok && before(path) {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from, nil
}

// pathAt is the path of an ID, or the next higher one; ok is false when there is
// none.
func (c *Catalog) pathAt(id int64) (_ hostpath.Path, ok bool, err error) {
	row := c.entries.From(id)
	if !row.Next() {
		err = row.Err()
	} else {
		row.Record.Skip(1)
		p := hostpath.Path(row.Record.Bytes())
		if err = row.Record.Err(); err == nil {
			return p, true, nil
		}
	}
	if err != nil {
		err = fmt.Errorf("inventory: %w", err)
	}
	return "", false, err
}
