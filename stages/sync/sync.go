package sync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Options say what is synced, and how patiently.
type Options struct {
	// Checksum has every file of the source read, also those that look as before.
	Checksum bool
	// Hold says that the workloads of the cluster are held; a lift whose workloads
	// run is not synced.
	Hold bool
	// Context and Namespace are of the cluster; without a context the volumes are
	// those of a rehearsal.
	Context   string
	Namespace string
	// Talk is how the carrier of the seeds is talked to.
	Talk carrier.Options
	// Parallel is how many volumes are brought up to date at once; 0 is 4.
	Parallel int
	// Patience is how long a fault of the cluster that may pass by itself is waited
	// for; 0 is [await.Patience].
	Patience time.Duration
	// Objects has the round's part of the object store; nil leaves that out.
	Objects ObjectRounder
	// Environment is where credentials are; nil is os.Getenv.
	Environment func(string) string
}

// Stage makes rounds.
type Stage struct{ options Options }

// New makes it.
func New(o Options) *Stage {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Patience == 0 {
		o.Patience = await.Patience
	}
	if o.Environment == nil {
		o.Environment = os.Getenv
	}
	return &Stage{options: o}
}

// far is where the volumes are.
type far interface {
	// begin makes ready, and says what is in the way of any round.
	begin(ctx context.Context) error
	// behind reports whether a volume may not be what its lineage says, though
	// nothing changed at the source.
	behind(ctx context.Context, v *volume) (bool, error)
	// apply brings a volume up to its lineage, and returns the receipt without a
	// listing beside it, or with it in the receipts' directory.
	apply(ctx context.Context, v *volume) (handoff.Receipt, error)
	// end takes away what was there for the round only.
	end(ctx context.Context) error
}

// volume is one volume in a round.
type volume struct {
	handoff.Volume
	seed    handoff.Seed
	made    delta.Made
	round   handoff.VolumeRound
	lineage *lineage.Lineage
	before  handoff.ReceiptFile
}

// run is one round.
type run struct {
	*pipeline.Env
	options Options
	source  handoff.Source
	plan    handoff.Plan
	seeds   handoff.Seeds
	upload  handoff.Upload
	copies  handoff.Copies
	rounds  handoff.Rounds
	// written says that a workload had the volumes since the last round (a cutover
	// that was taken back): all of them are brought up to date, whatever changed.
	written bool
	layout  *oci.Layout
	far     far
	volumes []*volume
}

// Round makes one round, as a [Session] of its own.
func (s *Stage) Round(ctx context.Context, env *pipeline.Env, final bool) (_ handoff.Round, err error) {
	session, err := s.Open(ctx, env)
	if err != nil {
		return handoff.Round{}, err
	}
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	return session.Round(ctx, final)
}

// Session is for rounds one after the other: what they need of the cluster is made
// ready before the first, and taken away after the last, so that neither is part of
// the last one's time.
type Session struct {
	run  *run
	used bool // by a round
}

// Open makes ready. A session that was opened wants to be closed; what watches the
// cluster ends with ctx.
func (s *Stage) Open(ctx context.Context, env *pipeline.Env) (*Session, error) {
	r := &run{Env: env, options: s.options}
	if err := r.read(); err != nil {
		return nil, err
	}
	r.far = newRehearsal(r)
	if r.options.Context != "" {
		r.far = newInCluster(r)
	}
	if err := r.far.begin(ctx); err != nil {
		return nil, err
	}
	return &Session{run: r}, nil
}

// Close takes away what was there for the rounds only: credentials and Jobs.
func (s *Session) Close(ctx context.Context) error { return s.run.far.end(ctx) }

// Round makes one round over all volumes that have a seed, and records it: what
// changed at the source is read and sent, every volume that it concerns is brought
// up to it and proved. Final says that the source was quiesced.
//
// Paths that never hold still are in the round's Restless, and no error; the round
// lacks them. A volume that is not as it should be in the end is a
// [*receipts.DifferError]; then, and after any other error, nothing is recorded,
// and the next round makes up for it.
func (s *Session) Round(ctx context.Context, final bool) (handoff.Round, error) {
	r := s.run
	if s.used {
		if err := r.read(); err != nil {
			return handoff.Round{}, err
		}
	}
	s.used = true
	round := handoff.Round{Number: len(r.rounds.Rounds) + 1, Began: time.Now(), Final: final}
	if err := r.settle(); err != nil {
		return handoff.Round{}, err
	}
	round.Number = len(r.rounds.Rounds) + 1
	if err := r.make(ctx); err != nil {
		return handoff.Round{}, err
	}
	if err := r.send(ctx); err != nil {
		return handoff.Round{}, err
	}
	var err error
	if round.Objects, err = r.bringObjects(ctx, round.Final); err != nil {
		return handoff.Round{}, err
	}
	if err := r.apply(ctx); err != nil {
		return handoff.Round{}, err
	}
	round.Ended = time.Now()
	for _, v := range r.volumes {
		round.Volumes = append(round.Volumes, v.round)
	}
	r.rounds.Rounds = append(r.rounds.Rounds, round)
	return round, r.record()
}

// read reads the hand-offs.
func (r *run) read() error {
	var err error
	read := func(e error) { err = errors.Join(err, e) }
	var e error
	r.source, e = pipeline.Read(r.Workspace, handoff.SourceKey)
	read(e)
	r.plan, e = pipeline.Read(r.Workspace, handoff.PlanKey)
	read(e)
	r.seeds, e = pipeline.Read(r.Workspace, handoff.SeedsKey)
	read(e)
	r.copies, e = pipeline.Read(r.Workspace, handoff.CopiesKey)
	read(e)
	if r.options.Context != "" {
		r.upload, e = pipeline.Read(r.Workspace, handoff.UploadKey)
		read(e)
	}
	if errors.Is(err, pipeline.ErrNoHandoff) {
		return &pipeline.Blocked{Question: "nothing was lifted yet that could be brought up to date: statelift run --hold comes first (" + err.Error() + ")"}
	}
	if err != nil {
		return err
	}
	if r.source.Archive != nil {
		return &pipeline.Blocked{Question: "the source is an archive, which does not change: a sync goes over the live host (/) or its directory", Where: r.source.Spec}
	}
	if r.rounds, err = lineage.Rounds(r.Workspace, r.seeds); err != nil {
		return err
	}
	journal, err := pipeline.Read(r.Workspace, handoff.SwitchKey)
	if err != nil && !errors.Is(err, pipeline.ErrNoHandoff) {
		return err
	}
	r.written = journal.WrittenSince(r.rounds.Rounds)
	// Rounds of other seeds are over: the volumes were filled anew since.
	if r.layout, err = oci.Create(r.Workspace.Path(r.seeds.Layout)); err != nil {
		return err
	}
	seeds, proofs := map[string]handoff.Seed{}, map[string]handoff.ReceiptFile{}
	for _, s := range r.seeds.Seeds {
		seeds[s.Volume] = s
	}
	for _, f := range r.copies.Receipts {
		proofs[f.Volume] = f
	}
	r.volumes = nil
	for _, v := range r.plan.Volumes {
		if v.Seed {
			r.volumes = append(r.volumes, &volume{Volume: v, seed: seeds[v.Name], before: proofs[v.Name]})
		}
	}
	return nil
}

func (r *run) dir(volume string) string { return r.Workspace.Path(workspace.Rounds, volume) }

// settle makes the record of the rounds agree with the states that the next
// deltas start from: a kill between the two leaves the last round recorded, and not
// confirmed for some volumes. There it did nothing.
func (r *run) settle() error {
	if len(r.rounds.Rounds) == 0 {
		return nil
	}
	last := &r.rounds.Rounds[len(r.rounds.Rounds)-1]
	changed, kept := false, false
	for i := range last.Volumes {
		v := &last.Volumes[i]
		if v.Delta == "" {
			continue
		}
		base, err := delta.ReadBase(r.dir(v.Volume))
		if err != nil {
			return err
		}
		if n := len(base.Deltas); n > 0 && string(base.Deltas[n-1].Digest) == v.Delta {
			kept = true
			continue
		}
		*v = handoff.VolumeRound{Volume: v.Volume, From: v.From, To: v.From, Receipt: v.Receipt}
		changed = true
	}
	if !changed {
		return nil
	}
	r.Log.Info("a round was cut short, and is made up for by this one", "round", last.Number)
	if !kept {
		r.rounds.Rounds = r.rounds.Rounds[:len(r.rounds.Rounds)-1]
	}
	return pipeline.Write(r.Workspace, handoff.RoundsKey, r.rounds)
}

// make makes the deltas, one volume after the other: each is read by several
// workers.
func (r *run) make(ctx context.Context) error {
	root, err := rootfs.Open(r.source.Root)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer root.Close()
	r.Progress.Begin("changes", "bytes", 0)
	defer r.Progress.End()
	for _, v := range r.volumes {
		v.made, err = delta.Make(ctx, delta.MakeOptions{
			Volume: v.Name, Root: v.Path, Source: root, Dir: r.dir(v.Name), Layout: r.layout,
			Checksum: r.options.Checksum, Workers: runtime.GOMAXPROCS(0), Progress: r.Progress.Add,
		})
		if err != nil {
			return err
		}
		v.round = v.made.Round
		if v.lineage, err = lineage.Open(ctx, r.layout, v.seed, r.rounds); err != nil {
			return err
		}
		if v.lineage.Receipt.File != "" {
			v.before = v.lineage.Receipt
		}
		if v.round.Delta != "" {
			d, err := delta.Open(ctx, r.layout, v.made.Delta)
			if err != nil {
				return err
			}
			v.lineage.Deltas = append(v.lineage.Deltas, d)
		}
		v.lineage.Tree = v.round.To
		r.Log.Info("changes", "volume", v.Name, "looked", v.round.Looked, "added", v.round.Added, "altered", v.round.Altered,
			"removed", v.round.Removed, "changed", v.round.ChangedBytes, "took", v.round.Make.Round(time.Millisecond))
	}
	return nil
}

// record writes the round down, and has the next one start from it.
func (r *run) record() error {
	if err := r.layout.Flush(); err != nil {
		return err
	}
	if err := pipeline.Write(r.Workspace, handoff.RoundsKey, r.rounds); err != nil {
		return err
	}
	var errs []error
	for _, v := range r.volumes {
		errs = append(errs, v.made.Confirm())
	}
	return errors.Join(errs...)
}

// keep writes the receipt of a volume.
func (r *run) keep(v *volume, receipt handoff.Receipt) error {
	file, err := receipts.Write(r.Workspace.Path(workspace.Receipts), receipt)
	if err != nil {
		return err
	}
	v.round.Receipt = file
	if !receipt.Proved {
		return &receipts.DifferError{Receipt: receipt}
	}
	return nil
}
