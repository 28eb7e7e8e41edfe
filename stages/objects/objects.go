package objects

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/ctime"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage. With a bucket it has that effect too.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "objects",
		Summary: "puts what no program needs by path into the object store, with an index",
		Effects: pipeline.Local,
		Resumes: "an object that the store has is not sent again, a large one goes on where it was",
		Version: 1,
	}
}

// Options decide about the result.
type Options struct {
	// Store is where the objects go, see [store.ParseSpec]; "" is store/ in the
	// workspace.
	Store string `json:"store,omitempty"`
	// Hold says that no workload starts with these objects before a sync round: what
	// changed since the scan is no fault then, the next round brings it.
	Hold bool `json:"hold,omitempty"`
}

// Stage is the objects stage.
type Stage struct {
	options Options
	open    func(ctx context.Context, spec string) (store.Store, error)
	workers int
}

// New makes the stage. open opens a store by its specification; nil is
// [store.Default].
func New(o Options, open func(ctx context.Context, spec string) (store.Store, error)) *Stage {
	if open == nil {
		open = store.Default
	}
	return &Stage{options: o, open: open, workers: 4}
}

// Run stores the objects and their index. Files that are not as the scan saw
// them are in neither, and named in the [*pipeline.Incomplete] that it then
// returns beside the hand-off; of a lift that is held they are no fault. What sync
// rounds brought is over: the index is that of the scan again.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, source handoff.Source, plan handoff.Plan) (handoff.Objects, error) {
	var out handoff.Objects
	r, err := s.begin(ctx, env, source)
	if err != nil {
		return out, err
	}
	defer r.close()
	if err := forget(env.Workspace); err != nil {
		return out, err
	}
	r.entries = r.scanned
	env.Progress.Begin("objects", "bytes", plan.Objects.Bytes)
	defer env.Progress.End()
	if err := r.all(ctx); err != nil {
		return out, err
	}
	if err := keepOnly(env.Workspace, r.out.IndexSHA256); err != nil {
		return out, err
	}
	if len(r.out.Missing) == 0 {
		return r.out, nil
	}
	if s.options.Hold {
		env.Log.Info("the source goes on: what changed since it was scanned comes with the next sync", "objects", len(r.out.Missing))
		return r.out, nil
	}
	var why pipeline.Incomplete
	for _, m := range r.out.Missing {
		why.Because = append(why.Because, m.Why)
	}
	return r.out, &why
}

type run struct {
	*pipeline.Env
	cat     *catalog.Catalog
	root    *rootfs.Root
	store   store.Store
	workers int
	// entries gives every path of class object to yield, in the order of the index.
	entries func(ctx context.Context, yield func(catalog.Placed) error) error
	round   *round // nil when the objects are those of the scan
	mark    *ctime.Mark
	doubts  bool // every file is read, also those that look as they did

	index *bufio.Writer
	out   handoff.Objects
}

// begin opens what a run needs. Its Env has the ledger of this stage, whoever runs
// it.
func (s *Stage) begin(ctx context.Context, env *pipeline.Env, source handoff.Source) (_ *run, err error) {
	r := &run{Env: env, workers: s.workers}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.mark, err = ctime.Now(); err != nil {
		return nil, err
	}
	if r.cat, err = catalog.Open(ctx, env.Workspace.Path(workspace.Inventory)); err != nil {
		return nil, err
	}
	if r.root, err = rootfs.Open(source.Root); err != nil {
		return nil, err
	}
	if r.store, err = s.open(ctx, cmp.Or(s.options.Store, env.Workspace.Path(workspace.Store))); err != nil {
		return nil, err
	}
	r.out = handoff.Objects{Store: r.store.String(), Index: IndexName}
	return r, nil
}

func (r *run) close() {
	if r.cat != nil {
		r.cat.Close()
	}
	if r.root != nil {
		r.root.Close()
	}
	if r.store != nil {
		r.store.Close()
	}
}

// scanned are the paths as the scan saw them.
func (r *run) scanned(ctx context.Context, yield func(catalog.Placed) error) error {
	for e, err := range r.cat.Entries(ctx, catalog.Filter{Class: claim.Object}) {
		if err == nil {
			err = yield(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// job is one path on its way. The paths come back in order, whoever is ready
// first.
type job struct {
	entry catalog.Placed
	// before is the line of the index before this round, nil for what is new.
	before *handoff.IndexEntry
	sum    string
	err    error
	done   chan struct{}
}

// maxMissing bounds the files that may have changed.
const maxMissing = 10_000

// window is how many paths are on their way at most.
const window = 256

// all stores every object, then the index, of which it keeps a copy.
func (r *run) all(ctx context.Context) error {
	name := r.Workspace.Path(workspace.Run, unfinishedIndex)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(name) // it is another one's name by then
	defer f.Close()
	digest := &indexDigest{Hash: sha256.New()}
	r.index = bufio.NewWriterSize(io.MultiWriter(f, digest), 64<<10)
	group, gctx := errgroup.WithContext(ctx)
	order, work := make(chan *job, window), make(chan *job)
	group.Go(func() error {
		defer close(order)
		defer close(work)
		return r.find(gctx, order, work)
	})
	for range r.workers {
		group.Go(func() error { return r.work(gctx, work) })
	}
	group.Go(func() error { return r.collect(gctx, order) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := r.index.Flush(); err != nil {
		return err
	}
	r.out.IndexSHA256 = hex.EncodeToString(digest.Sum(nil))
	if _, err := r.store.Put(ctx, IndexName, f, store.Object{Size: digest.n, SHA256: r.out.IndexSHA256}); err != nil {
		return err
	}
	return os.Rename(name, keptIndex(r.Workspace, r.out.IndexSHA256))
}

type indexDigest struct {
	hash.Hash
	n int64
}

func (d *indexDigest) Write(p []byte) (int, error) {
	d.n += int64(len(p))
	return d.Hash.Write(p)
}

func (r *run) find(ctx context.Context, order, work chan<- *job) error {
	err := r.entries(ctx, func(e catalog.Placed) (err error) {
		j := &job{entry: e, done: make(chan struct{})}
		if r.round != nil {
			if j.before, err = r.round.upTo(e.Path); err != nil {
				return err
			}
		}
		select {
		case order <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
		// A further path of an inode waits for the first one, see collect.
		if e.Type != tree.Regular || e.Link != 0 {
			close(j.done)
			return nil
		}
		select {
		case work <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	})
	if err == nil && r.round != nil {
		err = r.round.rest()
	}
	return err
}

func (r *run) work(ctx context.Context, work <-chan *job) error {
	files := content.NewReader(r.root)
	defer files.Close()
	for j := range work {
		j.sum, j.err = r.take(ctx, files, j)
		close(j.done)
	}
	return nil
}

// collect writes the index in order.
func (r *run) collect(ctx context.Context, order <-chan *job) error {
	files := content.NewReader(r.root)
	defer files.Close()
	for j := range order {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		name := Name(j.entry.Path)
		if j.entry.Type == tree.Regular && j.entry.Link != 0 {
			name, j.sum, j.err = r.link(ctx, files, j.entry)
		}
		if errors.Is(j.err, errVanished) {
			if j.before != nil {
				r.round.vanished++
			}
			continue
		}
		var c *content.Changed
		if errors.As(j.err, &c) && r.round != nil {
			if err := r.round.restless(r, j, c); err != nil {
				return err
			}
			continue
		}
		if errors.As(j.err, &c) {
			r.out.Missing = append(r.out.Missing, handoff.Missing{Path: j.entry.Path, Why: c.Error()})
			if len(r.out.Missing) > maxMissing {
				return fmt.Errorf("over %d files changed since the scan, the last one %s: plan again, while the source is quiet", maxMissing, j.entry.Path)
			}
			continue
		}
		if j.err != nil {
			return j.err
		}
		if err := r.line(j, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) line(j *job, name string) error {
	e, sum := j.entry, j.sum
	l := handoff.IndexEntry{
		Path: e.Path, Size: e.Size, SHA256: sum, Mode: e.Mode, UID: e.UID, GID: e.GID,
		Mtime: e.Mtime, Type: string(e.Type), Target: hostpath.Quote(e.Target),
	}
	if e.Type == tree.Regular {
		l.Object = name
	}
	if r.round != nil {
		r.round.compare(l, j.before)
	}
	return r.write(l, e.Bytes())
}

// write adds a line to the index; bytes are those that it adds to what there is.
func (r *run) write(l handoff.IndexEntry, bytes int64) error {
	if l.Object != "" {
		r.out.Count++
		r.out.Bytes += bytes
	}
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = r.index.Write(append(data, '\n'))
	return err
}

// Recheck looks whether what an earlier run stored is still there: the index,
// and every object that it names, with size and checksum as the store tells
// them. It says what is not. After sync rounds it goes by the newest.
func (s *Stage) Recheck(ctx context.Context, env *pipeline.Env, out handoff.Objects) (stale string, err error) {
	if out, err = lineage.Objects(env.Workspace, out); err != nil {
		return "", err
	}
	st, err := s.open(ctx, cmp.Or(s.options.Store, env.Workspace.Path(workspace.Store)))
	if err != nil {
		return "", err
	}
	defer st.Close()
	index, o, err := st.Open(ctx, out.Index)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Sprintf("%s has no %s any more", out.Store, out.Index), nil
	case errors.Is(err, store.ErrMismatch):
		return err.Error(), nil
	case err != nil:
		return "", err
	}
	defer index.Close()
	if o.SHA256 != out.IndexSHA256 {
		return fmt.Sprintf("%s in %s is another one", out.Index, out.Store), nil
	}
	lines := bufio.NewScanner(index)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l handoff.IndexEntry
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Sprintf("%s in %s is damaged: %v", out.Index, out.Store, err), nil
		}
		if l.Object == "" {
			continue
		}
		have, err := st.Stat(ctx, l.Object)
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrMismatch):
			return err.Error(), nil
		case err != nil:
			return "", err
		case have.Size != l.Size || have.SHA256 != l.SHA256:
			return fmt.Sprintf("%s has other content under %s", out.Store, l.Object), nil
		}
	}
	if err := lines.Err(); errors.Is(err, store.ErrMismatch) {
		return err.Error(), nil
	} else if err != nil {
		return "", err
	}
	return "", nil
}
