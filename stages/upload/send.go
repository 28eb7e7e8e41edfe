package upload

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
)

// parallel is how many blobs are on their way at once: enough to hide the
// answers' delay, few enough for a slow line.
const parallel = 4

// content is what has to be at the far side.
type content struct {
	layout    string           // directory
	blobs     []oci.Descriptor // in no order that matters, each once
	manifests []oci.Descriptor // each after those that it names
	seeds     []oci.Descriptor // a manifest for each, with its volume's name
	volume    map[oci.Digest]string
}

// contents lists the blobs of all seeds.
func contents(ctx context.Context, env *pipeline.Env, seeds handoff.Seeds) (*content, error) {
	c := &content{layout: env.Workspace.Path(seeds.Layout), volume: map[oci.Digest]string{}}
	layout, err := oci.Open(c.layout)
	if err != nil {
		return nil, err
	}
	for _, want := range seeds.Seeds {
		d, err := seed.Find(layout, want.Volume)
		if err != nil {
			return nil, err
		}
		if string(d.Digest) != want.Digest {
			return nil, fmt.Errorf("%s has the seed %s of volume %s, not %s: run the stage seed again", layout, d.Digest, want.Volume, want.Digest)
		}
		s, err := seed.Open(ctx, layout, d)
		if err != nil {
			return nil, err
		}
		c.add(s, want.Volume)
		c.seeds = append(c.seeds, d)
	}
	return c, nil
}

func (c *content) add(s *seed.Seed, volume string) {
	all := s.Blobs()
	// The manifest comes first, before the pages that it names.
	for i := len(all) - 1; i >= 0; i-- {
		d := all[i]
		if _, seen := c.volume[d.Digest]; seen {
			continue
		}
		c.volume[d.Digest] = volume
		if d.MediaType == oci.MediaManifest || d.MediaType == oci.MediaIndex {
			c.manifests = append(c.manifests, d)
		} else {
			c.blobs = append(c.blobs, d)
		}
	}
}

func (c *content) totals() (n, bytes int64) {
	for _, list := range [][]oci.Descriptor{c.blobs, c.manifests} {
		for _, d := range list {
			n++
			bytes += d.Size
		}
	}
	return n, bytes
}

// send brings everything there: blobs side by side, then manifests, then names.
func (c *content) send(ctx context.Context, env *pipeline.Env, to carrier.Carrier) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, d := range c.blobs {
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error { return c.put(gctx, env, to, d) })
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return err
	}
	for _, d := range c.manifests {
		if err := c.put(ctx, env, to, d); err != nil {
			return err
		}
	}
	return to.Name(ctx, c.seeds)
}

// put brings one blob there. A record here proves nothing about the far side, so
// that is asked in any case; but what this workspace has seen there as a whole is
// not read back once more.
func (c *content) put(ctx context.Context, env *pipeline.Env, to carrier.Carrier, d oci.Descriptor) error {
	fail := func(err error) error {
		return fmt.Errorf("seed of volume %s: %w", c.volume[d.Digest], err)
	}
	item := to.String() + " " + string(d.Digest)
	_, before, err := env.Ledger.Lookup(ctx, item)
	if err != nil {
		return err
	}
	if before {
		has, err := to.Has(ctx, d.Digest, d.Size)
		switch {
		case err != nil:
			return fail(err)
		case has:
			env.Progress.Add(d.Size)
			return nil
		default:
			env.Log.Warn("a blob that was there is gone, and is sent again", "blob", d.Digest, "volume", c.volume[d.Digest])
		}
	}
	name, err := carrier.BlobFile(c.layout, d.Digest)
	if err != nil {
		return fail(err)
	}
	f, err := os.Open(name)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if err := to.Put(ctx, d, f, env.Progress.Add); err != nil {
		return fail(advise(err))
	}
	return env.Ledger.Commit(ctx, item, "sent")
}

// advise says what to do about a blob that is damaged here.
func advise(err error) error {
	var damaged *oci.Damaged
	if errors.As(err, &damaged) {
		return fmt.Errorf("%w\nremove %s from the seeds of the workspace, and run again: it is made anew from the source", err, damaged.Digest)
	}
	return err
}
