package copier

import (
	"bytes"
	"errors"

	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// apart picks from what is wanted and what is found, while it is found, what may
// make a difference: paths that are not alike, all directories, since changes in
// them spoil their times, and all paths of inodes that have several. It goes to
// the lists "want" and "have", which [mender.pairs] goes along.
type apart struct {
	wanted     *snapshot.Cursor
	want, have *list
}

func (r *reconciler) newApart() (_ *apart, err error) {
	a := &apart{}
	defer func() {
		if err != nil {
			a.abort()
		}
	}()
	if a.wanted, err = snapshot.OpenFile(r.file("wanted")); err != nil {
		return nil, err
	}
	if a.want, err = r.newList("want"); err != nil {
		return nil, err
	}
	a.have, err = r.newList("have")
	return a, err
}

// found takes the next path that is there.
func (a *apart) found(h *snapshot.Item) error {
	w, err := a.wanted.UpTo(h.Path(), a.missing)
	if err != nil {
		return err
	}
	if w != nil && w.Type() != tree.Directory && h.Nlink < 2 && bytes.Equal(w.Line(), h.Line()) {
		return nil
	}
	if w != nil {
		err = a.want.Add(w)
	}
	return errors.Join(err, a.have.Add(h))
}

func (a *apart) missing(w *snapshot.Item) error { return a.want.Add(w) }

// end completes the lists.
func (a *apart) end() error {
	_, err := a.wanted.UpTo("", a.missing)
	_, werr := a.want.close()
	_, herr := a.have.close()
	return errors.Join(err, werr, herr)
}

// abort closes the files; it may be called after end.
func (a *apart) abort() {
	if a.wanted != nil {
		a.wanted.Close()
	}
	for _, l := range []*list{a.want, a.have} {
		if l != nil {
			l.file.Close()
		}
	}
}
