package walk

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/rootfs"
)

// handle is the open directory of a dir, guarded by handles.mu.
type handle struct {
	file  *os.File
	users int // are using it at this moment
	due   int // uses that are still to come, those of this moment included
}

// handles keeps directories open while something in them is still to be looked
// at: usually about as many as the tree is deep. When there are too many, those
// that nobody uses at the moment are closed, and opened again by their path.
type handles struct {
	mu   sync.Mutex
	open map[*dir]struct{}
}

// hold hands over the open directory of d for a number of uses.
func (h *handles) hold(d *dir, f *os.File, uses int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.due = uses
	d.file = f
	if h.open == nil {
		h.open = map[*dir]struct{}{}
	}
	h.open[d] = struct{}{}
	h.tidy(d)
}

// add announces more uses, from within one.
func (h *handles) add(d *dir, uses int) {
	h.mu.Lock()
	d.due += uses
	h.mu.Unlock()
}

// use returns the open directory. Whether it fails or not, done ends the use.
func (h *handles) use(root *rootfs.Root, d *dir) (*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.users++
	if d.file != nil {
		return d.file, nil
	}
	f, err := root.OpenDir(d.path)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, err
	}
	if st.Dev != d.dev || st.Ino != d.ino {
		f.Close()
		return nil, errReplaced
	}
	d.file = f
	h.open[d] = struct{}{}
	return f, nil
}

// done ends a use.
func (h *handles) done(d *dir) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.users--
	d.due--
	h.tidy(d)
}

func (h *handles) tidy(d *dir) {
	if d.file != nil && d.users == 0 && (d.due == 0 || len(h.open) > openDirs) {
		d.file.Close()
		d.file = nil
		delete(h.open, d)
	}
}

// closeAll closes what a walk that was ended early left open.
func (w *walker) closeAll() {
	w.handles.mu.Lock()
	defer w.handles.mu.Unlock()
	for d := range w.handles.open {
		d.file.Close()
		d.file = nil
	}
	clear(w.handles.open)
}
