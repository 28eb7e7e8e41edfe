package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "deploy",
		Summary: "fills the volumes from their seeds, reads everything back and proves it",
		Effects: pipeline.Local,
		Resumes: "what was written is kept, and proved with the rest",
		Version: 1,
	}
}

// Options decide about the result.
type Options struct {
	// NotCompared are names of extended attributes, as patterns of path.Match,
	// that the target's file system cannot hold or sets itself.
	NotCompared []string `json:"notCompared,omitempty"`
}

// Stage is the deploy stage.
type Stage struct{ options Options }

// New makes the stage.
func New(o Options) *Stage { return &Stage{options: o} }

// Target is what a rehearsal deploys to.
const Target = "rehearsal"

// Run fills every volume. The receipts of all volumes are written, also of one
// whose copy differs; then the error names the volumes and their first
// differences.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, plan handoff.Plan, seeds handoff.Seeds) (handoff.Copies, error) {
	r := run{Env: env, options: s.options, volumes: plan.Volumes, seeds: map[string]handoff.Seed{}}
	var err error
	if r.layout, err = oci.Open(env.Workspace.Path(seeds.Layout)); err != nil {
		return handoff.Copies{}, err
	}
	var bytes int64
	for _, sd := range seeds.Seeds {
		r.seeds[sd.Volume] = sd
		bytes += sd.Bytes
	}
	if r.rounds, err = lineage.Rounds(env.Workspace, seeds); err != nil {
		return handoff.Copies{}, err
	}
	for _, dir := range []string{workspace.Volumes, workspace.Receipts} {
		if err := os.MkdirAll(env.Workspace.Path(dir), 0o700); err != nil {
			return handoff.Copies{}, err
		}
	}
	env.Progress.Begin("copies", "bytes", bytes)
	err = r.fill(ctx, plan.Volumes)
	env.Progress.End()
	defer r.close()
	if err != nil {
		return handoff.Copies{}, err
	}
	env.Progress.Begin("proofs", "bytes", bytes)
	defer env.Progress.End()
	if err := r.prove(ctx); err != nil {
		return handoff.Copies{}, err
	}
	return r.finish(ctx)
}

// DifferError says that a copy is not equal to its seed.
type DifferError = receipts.DifferError

type run struct {
	*pipeline.Env
	options Options
	layout  *oci.Layout
	volumes []handoff.Volume
	seeds   map[string]handoff.Seed
	rounds  handoff.Rounds // since the seeds
	copies  []*volumeCopy
	behind  []*lineage.Lineage // of volumes that had rounds
}

// volumeCopy is one volume on its way.
type volumeCopy struct {
	*copier.Copying
	volume, dir string
	seed        string // digest
	receipt     handoff.Receipt
}

func (r *run) close() {
	for _, c := range r.copies {
		c.Close()
	}
}

// fill writes all volumes.
func (r *run) fill(ctx context.Context, volumes []handoff.Volume) error {
	for _, v := range volumes {
		var err error
		if v.Seed {
			err = r.start(ctx, v)
		} else {
			err = r.emptyVolume(ctx, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) start(ctx context.Context, v handoff.Volume) error {
	want, ok := r.seeds[v.Name]
	if !ok {
		return fmt.Errorf("volume %s has no seed: run the stage seed again", v.Name)
	}
	dir, err := r.place(v.Name)
	if err != nil {
		return err
	}
	if err := r.makeRoom(ctx, v.Name, dir, want.Digest); err != nil {
		return err
	}
	l, err := lineage.Open(ctx, r.layout, want, r.rounds)
	if err != nil {
		return r.advise(err, dir)
	}
	if len(l.Deltas) > 0 {
		r.behind = append(r.behind, l)
		if filled, err := filled(dir); filled || err != nil {
			return err
		}
	}
	if err := r.Workspace.Overwrites(); err != nil {
		return err
	}
	c, err := copier.Start(ctx, l.Seed, dir, copier.Options{
		Workers: runtime.GOMAXPROCS(0), NotCompared: r.options.NotCompared, Progress: r.Progress.Add, Proved: r.Progress.Add,
	})
	if err != nil {
		return r.advise(err, dir)
	}
	r.copies = append(r.copies, &volumeCopy{Copying: c, volume: v.Name, dir: dir, seed: want.Digest})
	return nil
}

// advise says what to do about a directory that holds something else, and about
// a damaged blob, which it removes: then the stage seed makes it again.
func (r *run) advise(err error, dir string) error {
	var damaged *oci.Damaged
	switch {
	case errors.Is(err, copier.ErrOccupied):
		return fmt.Errorf("%w\nremove %s to have it filled again", err, dir)
	case errors.As(err, &damaged):
		if removed := r.layout.Remove(damaged.Digest); removed != nil {
			return errors.Join(err, removed)
		}
		return fmt.Errorf("%w\nit was removed: run again, and it is made anew from the source", err)
	}
	return err
}

// prove reads all volumes back while they are flushed to the disk. A failure of
// either one is one of the stage.
func (r *run) prove(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for _, c := range r.copies {
			if err := c.Flush(); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() (err error) {
		for _, c := range r.copies {
			if c.receipt, err = c.Prove(ctx, r.Workspace.Path(workspace.Receipts, receipts.Listing(c.volume))); err != nil {
				return r.advise(err, c.dir)
			}
		}
		return nil
	})
	return group.Wait()
}

// finish writes the receipts of what is proved and durable, and of what differs.
func (r *run) finish(ctx context.Context) (handoff.Copies, error) {
	out := handoff.Copies{Target: Target, Receipts: []handoff.ReceiptFile{}}
	dir := r.Workspace.Path(workspace.Receipts)
	var differ []error
	var err error
	for _, c := range r.copies {
		if err := c.Release(ctx); err != nil {
			return handoff.Copies{}, err
		}
		if err := r.Ledger.Commit(ctx, item(c.volume), c.seed); err != nil {
			return handoff.Copies{}, err
		}
		file, err := receipts.Write(dir, c.receipt)
		if err != nil {
			return handoff.Copies{}, err
		}
		out.Receipts = append(out.Receipts, file)
		if !c.receipt.Proved {
			differ = append(differ, &DifferError{Receipt: c.receipt})
		}
	}
	out.Receipts, err = r.catchUp(ctx, out.Receipts)
	if err != nil {
		return handoff.Copies{}, err
	}
	if err := receipts.Prune(dir, out.Receipts); err != nil {
		return handoff.Copies{}, err
	}
	for _, c := range r.copies {
		if err := c.Flush(); err != nil {
			return handoff.Copies{}, err
		}
	}
	return out, errors.Join(append(differ, flush(dir))...)
}

// flush makes the file system of a directory durable.
func flush(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("flush %s: %w", dir, err)
	}
	return nil
}
