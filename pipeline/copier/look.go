package copier

import (
	"bufio"
	"context"
	"errors"
	"math"
	"os"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// look writes down what the directory is now. Of what was written down in prior
// and has an older ctime than since, nothing but the inode is looked at: whatever
// happens to a file sets its ctime (inode(7)), which nobody can choose. A file
// that is moved along with its directory is the exception: below a directory with
// a younger ctime everything is read, unless prior knows the inodes.
func (r *reconciler) look(ctx context.Context, name, prior string, since int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	l := looker{reconciler: r, out: snapshot.NewWriter(f), since: since, at: newPlace(r.root)}
	defer l.at.close()
	if prior != "" {
		if l.prior, err = snapshot.OpenFile(prior); err != nil {
			return err
		}
		defer l.prior.Close()
	}
	for range r.options.Workers + 1 { // one more for what is looked at again
		l.hashers = append(l.hashers, tree.NewHasher(r.options.Proved))
	}
	l.ctx = ctx
	skip := func(p hostpath.Path) bool { return reservedPath(p) || r.lost && p == lostFound }
	walk := tree.WalkOptions{Workers: r.options.Workers, Skip: skip}
	if l.apart, err = r.newApart(); err != nil {
		return err
	}
	defer l.apart.abort()
	var lines *os.File
	if r.mended {
		if lines, err = os.OpenFile(r.file(linesName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
		defer lines.Close()
		l.lines = bufio.NewWriterSize(lines, 256<<10)
	}
	if err := tree.Walk(ctx, r.root, walk, l.note, l.see, l.add); err != nil {
		return err
	}
	if r.got, err = l.out.Close(); err != nil {
		return err
	}
	r.carry = l.carry
	if l.lines != nil {
		err = errors.Join(l.lines.Flush(), lines.Close())
	}
	return errors.Join(err, l.apart.end(), f.Close())
}

// linesName is the file with the listing as text, which is written beside when
// the look is likely the last one.
const linesName = "lines"

// write writes down one path, and beside it what of it may have to be mended.
func (l *looker) write(i *snapshot.Item) error {
	if err := l.out.Add(i); err != nil {
		return err
	}
	if l.lines != nil {
		if _, err := l.lines.Write(i.Line()); err != nil {
			return err
		}
	}
	return l.apart.found(i)
}

type looker struct {
	*reconciler
	ctx     context.Context
	out     *snapshot.Writer
	prior   *snapshot.Cursor
	since   int64
	hashers []*tree.Hasher
	links   tree.Links
	at      *place
	apart   *apart
	lines   *bufio.Writer // nil for a look that is not the last one
	touched hostpath.Path // a directory whose content may have been moved here
	carry   carried
}

// look at one path: the record, or, when nothing had to be read, the item of
// before.
type sight struct {
	tree.Record
	carried *snapshot.Item
}

func (l *looker) note(p hostpath.Path) (*snapshot.Item, error) {
	if l.prior == nil {
		return nil, nil
	}
	return l.prior.UpTo(p, nil)
}

func (l *looker) see(worker int, at tree.Spot, prior *snapshot.Item) (sight, error) {
	e, err := tree.Stat(at.Dir, at.Name, at.Path)
	if err != nil {
		return sight{}, err
	}
	if prior != nil && at.Path != hostpath.Root && l.untouched(&e, prior) {
		return sight{Record: tree.Record{Entry: e}, carried: prior}, nil
	}
	return l.read(l.hashers[worker], at, e)
}

// untouched reports whether the path is what it was when it was proved.
func (l *looker) untouched(e *tree.Entry, prior *snapshot.Item) bool {
	if prior.Ctime != math.MinInt64 { // the inode was written down
		return e.Ctime < l.since && prior.Unchanged(e)
	}
	return e.Ctime < l.since && e.Type == prior.Type() && e.Mtime == prior.Mtime && (e.Size == prior.Size || e.Type == tree.Symlink)
}

func (l *looker) read(h *tree.Hasher, at tree.Spot, e tree.Entry) (sight, error) {
	if err := e.Complete(at.Dir, at.Name); err != nil {
		return sight{}, err
	}
	e.Xattrs = l.options.compared(e.Xattrs)
	s := sight{Record: tree.Record{Entry: e}}
	if e.Type != tree.Regular {
		return s, nil
	}
	compute := func() ([32]byte, error) {
		if sum, ok := l.known.sumOf(e); ok {
			return sum, nil
		}
		return h.Sum(l.ctx, at.Dir, at.Name, e)
	}
	var err error
	if inode := l.links.Of(e); inode != nil {
		s.SHA256, err = inode.Sum(compute)
	} else {
		s.SHA256, err = compute()
	}
	return s, err
}

// add writes down one path, in order.
func (l *looker) add(s sight) error {
	if l.touched != "" && !s.Path.Within(l.touched) {
		l.touched = ""
	}
	if s.carried != nil && l.touched != "" && s.carried.Ctime == math.MinInt64 {
		var err error
		if s, err = l.again(s); err != nil {
			return err
		}
	}
	if s.Type == tree.Directory && s.carried == nil && l.touched == "" && s.Path != hostpath.Root {
		l.touched = s.Path
	}
	link := l.links.Seen(s.Entry)
	if s.carried == nil {
		s.Link = link
		item := snapshot.Of(s.Record, nil)
		return l.write(&item)
	}
	item := *s.carried
	item.Ctime, item.Ino, item.Nlink = s.Ctime, s.Ino, s.Nlink
	if s.Nlink > 1 && s.Type != tree.Directory || item.Linked() {
		rec, err := s.carried.Record()
		if err != nil {
			return err
		}
		rec.Ctime, rec.Ino, rec.Nlink, rec.Link = s.Ctime, s.Ino, s.Nlink, link
		item = snapshot.Of(rec, nil)
	}
	if s.Type == tree.Regular && link == "" {
		l.carry.files++
		l.carry.bytes += s.Size
	}
	return l.write(&item)
}

// again reads what looked untouched, but may have come here with its directory.
func (l *looker) again(s sight) (sight, error) {
	fd, name, err := l.at.parent(s.Path)
	if err != nil {
		return s, err
	}
	own, err := openat(fd, ".", dirFlags, 0)
	if err != nil {
		return s, pathError("open", s.Path.Dir(), err)
	}
	dir := os.NewFile(uintptr(own), string(s.Path.Dir()))
	defer dir.Close()
	e, err := tree.Stat(dir, name, s.Path)
	if err != nil {
		return s, err
	}
	return l.read(l.hashers[len(l.hashers)-1], tree.Spot{Dir: dir, Name: name, Path: s.Path}, e)
}
