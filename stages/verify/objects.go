package verify

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/tree"
)

// objects reads the index and every object back from the store, and compares
// the index with the inventory.
func (r *run) objects(ctx context.Context) error {
	st, err := r.open(ctx, r.storeSpec())
	if err != nil {
		r.check(anObject, r.made.Objects.Store, err, "")
		return ctx.Err()
	}
	defer st.Close()
	o := &objects{run: r, store: st, name: st.String()}
	r.Progress.Begin("verify objects", "bytes", r.made.Objects.Bytes)
	defer r.Progress.End()
	err = o.all(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		o.fault(r.made.Objects.Index, err)
	}
	for _, f := range o.faults {
		r.check(anObject, f.name, f.err, "")
	}
	var whole error
	if o.count > 0 {
		whole = fmt.Errorf("%d faults, the first %d of them are named", o.count, len(o.faults))
	}
	like := "what the inventory says"
	if r.made.ObjectsSynced {
		like = "that of the last sync round"
	}
	r.check(anObject, o.name, whole, "%d objects with %d bytes read back, the index is %s", o.files, o.bytes, like)
	return nil
}

type objects struct {
	*run
	store store.Store
	name  string
	files int64
	bytes int64

	mu     sync.Mutex
	faults []namedFault
	count  int
}

type namedFault struct {
	name string
	err  error
}

// maxFaults is how many objects are named.
const maxFaults = 100

func (o *objects) fault(name string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	if len(o.faults) < maxFaults {
		o.faults = append(o.faults, namedFault{name, err})
	}
}

// all walks the index beside the inventory, and reads objects meanwhile. An
// error is one of the index itself.
func (o *objects) all(ctx context.Context) error {
	rc, _, err := o.store.Open(ctx, o.made.Objects.Index)
	if err != nil {
		return err
	}
	defer rc.Close()
	sum := sha256.New()
	body := io.TeeReader(rc, sum)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(4 * o.workers)
	if o.made.ObjectsSynced {
		err = o.alone(gctx, group, body)
	} else {
		err = o.walk(gctx, group, body)
	}
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != o.made.Objects.IndexSHA256 {
		return fmt.Errorf("the index has SHA-256 %s, not %s", got, o.made.Objects.IndexSHA256)
	}
	// The index of a round does not say which paths are of one inode.
	if o.files != o.made.Objects.Count || o.bytes != o.made.Objects.Bytes && !o.made.ObjectsSynced {
		return fmt.Errorf("the index has %d files with %d bytes, not %d with %d", o.files, o.bytes, o.made.Objects.Count, o.made.Objects.Bytes)
	}
	return nil
}

func (o *objects) walk(ctx context.Context, group *errgroup.Group, body io.Reader) error {
	missing := map[hostpath.Path]bool{}
	for _, m := range o.made.Objects.Missing {
		missing[m.Path] = true
	}
	next, stop := iter.Pull2(o.cat.Entries(ctx, catalog.Filter{Class: claim.Object}))
	defer stop()
	// want is the next path of the inventory that the index must have.
	want := func() (catalog.Placed, bool, error) {
		for {
			e, err, ok := next()
			if !ok || err != nil || !missing[e.Path] {
				return e, ok, err
			}
		}
	}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	e, more, err := want()
	for lines.Scan() {
		if err != nil {
			return err
		}
		var l handoff.IndexEntry
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("the index: %w", err)
		}
		for more && hostpath.Compare(e.Path, l.Path) < 0 {
			o.fault(e.Path.String(), errors.New("it is not in the index"))
			if e, more, err = want(); err != nil {
				return err
			}
		}
		if !more || e.Path != l.Path {
			o.fault(l.Path.String(), errors.New("it is in the index, and no path of class object"))
			continue
		}
		o.entry(ctx, group, l, e)
		e, more, err = want()
	}
	for ; more && err == nil && lines.Err() == nil; e, more, err = want() {
		o.fault(e.Path.String(), errors.New("it is not in the index"))
	}
	return errors.Join(err, lines.Err())
}

// alone has every object read that the index of a sync round names: since the scan
// the source has gone on, and the digest of the index is what the round wrote.
func (o *objects) alone(ctx context.Context, group *errgroup.Group, body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l handoff.IndexEntry
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("the index: %w", err)
		}
		if l.Object != "" {
			o.read(ctx, group, l, l.Size)
		}
	}
	return lines.Err()
}

// entry compares a line with the inventory, and has the object read.
func (o *objects) entry(ctx context.Context, group *errgroup.Group, l handoff.IndexEntry, e catalog.Placed) {
	want := l
	want.Path, want.Size, want.Mode, want.UID, want.GID = e.Path, e.Size, e.Mode, e.UID, e.GID
	want.Mtime, want.Type, want.Target = e.Mtime, string(e.Type), hostpath.Quote(e.Target)
	if l != want {
		o.fault(e.Path.String(), fmt.Errorf("the index has %+v, the inventory %+v", l, want))
		return
	}
	if e.Type != tree.Regular {
		return
	}
	o.read(ctx, group, l, e.Bytes())
}

// read has an object read; bytes are those that it adds.
func (o *objects) read(ctx context.Context, group *errgroup.Group, l handoff.IndexEntry, bytes int64) {
	o.files++
	o.bytes += bytes
	group.Go(func() error {
		err := store.Verify(ctx, o.store, store.Object{Name: l.Object, Size: l.Size, SHA256: l.SHA256})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			o.fault(l.Object, err)
		}
		o.Progress.Add(bytes)
		return nil
	})
}
