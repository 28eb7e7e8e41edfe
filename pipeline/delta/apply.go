package delta

import (
	"context"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// Apply makes a directory what the volume is after all deltas, whatever state in
// between it is in: an empty one is filled from the seed first. See
// [copier.Reconcile] for what is read and what is carried over, and for errors.
func Apply(ctx context.Context, o ApplyOptions) (handoff.Receipt, error) {
	c := chain{o.Seed, o.Deltas}
	if err := c.check(); err != nil {
		return handoff.Receipt{}, err
	}
	proof := o.Proof
	begun, err := copier.Begun(o.Dir, o.Seed.Manifest.Digest)
	if err != nil {
		return handoff.Receipt{}, err
	}
	if !begun {
		receipt, err := copier.Copy(ctx, o.Seed, o.Dir, o.Listing, o.Copy)
		if err != nil {
			return receipt, err
		}
		proof = ProofOf(receipt)
	}
	w, err := o.wanted(ctx, c, proof)
	if err != nil {
		return handoff.Receipt{}, err
	}
	return copier.Reconcile(ctx, w, o.Dir, o.Listing, o.Copy)
}

func (o *ApplyOptions) wanted(ctx context.Context, c chain, proof Proof) (copier.Wanted, error) {
	store, err := openContents(ctx, c)
	if err != nil {
		return copier.Wanted{}, err
	}
	w := copier.Wanted{
		Volume: c.seed.Config.Volume, Seed: string(c.seed.Manifest.Digest), Content: store,
		Names: map[string]bool{},
	}
	for _, d := range c.deltas {
		w.Deltas = append(w.Deltas, string(d.Manifest.Digest))
	}
	at, ok := c.at(proof.Newest)
	if ok {
		w.Mark = proof.Mark
	}
	w.Listing = func(ctx context.Context, each, proved func(*snapshot.Item) error) error {
		return c.listing(ctx, each, at, proved, w.Names)
	}
	return w, nil
}

// Prove reads the directory as a whole and compares it with the volume after all
// deltas; it changes nothing but the listing.
func Prove(ctx context.Context, o ApplyOptions) (handoff.Receipt, error) {
	c := chain{o.Seed, o.Deltas}
	if err := c.check(); err != nil {
		return handoff.Receipt{}, err
	}
	w, err := o.wanted(ctx, c, Proof{})
	if err != nil {
		return handoff.Receipt{}, err
	}
	return copier.Check(ctx, w, o.Dir, o.Listing, o.Copy)
}

// contents finds contents in a seed and its deltas.
type contents struct {
	seeds   []*seed.Seed // newest first
	blobs   oci.Blobs
	patches map[[32]byte]patched // by what they make, the newest ones
	first   map[[32]byte]patched // the oldest ones, of what has several
	workers int
}

type patched struct {
	*Patch
	size  int64
	delta int // its place among the deltas
}

// openContents reads which contents are patches of others.
func openContents(ctx context.Context, c chain) (*contents, error) {
	out := &contents{patches: map[[32]byte]patched{}, first: map[[32]byte]patched{}, workers: 4, blobs: c.seed.From()}
	for n, d := range c.deltas {
		out.seeds = append(out.seeds, d.contents...)
		err := d.each(ctx, func(ch *change) error {
			if ch.patch != nil {
				sum := ch.record.SHA256
				if old, again := out.patches[sum]; again && out.first[sum].Patch == nil {
					out.first[sum] = old
				}
				out.patches[sum] = patched{ch.patch, ch.record.Size, n}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Reverse(out.seeds)
	out.seeds = append(out.seeds, c.seed)
	return out, nil
}

// Open is for [copier.Content].
func (c *contents) Open(ctx context.Context, p seed.Part) (io.ReadCloser, error) {
	return p.Open(ctx, c.blobs)
}

// Steps is for [copier.Content]. They go by the newest patches, which begin at what
// a volume most likely has. Contents that came back make a circle of these: from
// there they go by the oldest ones, down to a content that is stored as a whole.
func (c *contents) Steps(sum [32]byte) []copier.Step {
	var out []copier.Step
	seen := map[[32]byte]bool{}
	for !seen[sum] {
		p, ok := c.patches[sum]
		if !ok {
			return out
		}
		seen[sum] = true
		out = append(out, p.step())
		sum, _ = p.base()
	}
	// The base of a content's first patch was there before it: by a patch of an
	// earlier delta, or else as a whole.
	for p, ok := c.oldest(sum); ok; {
		out = append(out, p.step())
		from, _ := p.base()
		before := p.delta
		p, ok = c.oldest(from)
		ok = ok && p.delta < before
	}
	return out
}

// oldest is the first patch that made a content.
func (c *contents) oldest(sum [32]byte) (patched, bool) {
	if p, ok := c.first[sum]; ok {
		return p, true
	}
	p, ok := c.patches[sum]
	return p, ok
}

func (p *patched) step() copier.Step {
	s := copier.Step{Size: p.size}
	s.From, _ = p.base()
	for _, b := range p.Blobs {
		blob := copier.StepBlob{Part: b.Part}
		for _, r := range b.Runs {
			blob.Places = append(blob.Places, copier.Range{At: r.At, Raw: r.Raw})
		}
		s.Blobs = append(s.Blobs, blob)
	}
	return s
}

// Fetch is for [copier.Content].
func (c *contents) Fetch(ctx context.Context, more func() bool, wanted func([32]byte) bool,
	small func([32]byte, int64, bool, io.Reader) error, large func([32]byte, int64, bool, []seed.Part) error,
) error {
	for _, s := range c.seeds {
		if !more() {
			return nil
		}
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(c.workers)
		for u, err := range s.Units(gctx) {
			if err != nil {
				return err
			}
			if !c.any(&u, wanted) {
				continue
			}
			group.Go(func() error { return c.unit(gctx, s, &u, wanted, small, large) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (c *contents) any(u *seed.Filled, wanted func([32]byte) bool) bool {
	return slices.ContainsFunc(u.Records, func(r tree.Record) bool {
		return r.Type == tree.Regular && r.Link == "" && wanted(r.SHA256)
	})
}

func (c *contents) unit(ctx context.Context, s *seed.Seed, u *seed.Filled, wanted func([32]byte) bool,
	small func([32]byte, int64, bool, io.Reader) error, large func([32]byte, int64, bool, []seed.Part) error,
) error {
	packed := false
	for i := range u.Records {
		r := &u.Records[i]
		if r.Type != tree.Regular || r.Link != "" || !wanted(r.SHA256) {
			continue
		}
		l := u.LargeAt(i)
		if l == nil {
			packed = true
			continue
		}
		if err := large(r.SHA256, r.Size, slices.Contains(u.Sparse, i), l.Parts); err != nil {
			return fmt.Errorf("%s: %w", r.Path, err)
		}
	}
	if !packed {
		return nil
	}
	return s.ReadPack(ctx, u, func(i int, content io.Reader) error {
		r := &u.Records[i]
		if !wanted(r.SHA256) {
			return nil
		}
		return small(r.SHA256, r.Size, slices.Contains(u.Sparse, i), content)
	})
}
