package carrier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/oci"
)

// parallel is how many blobs are on their way at once: enough to hide the
// answers' delay, few enough for a slow line.
const parallel = 4

// Shipment is what has to be at the far side: blobs of a layout.
type Shipment struct {
	layout    string           // directory
	blobs     []oci.Descriptor // in no order that matters, each once
	manifests []oci.Descriptor // each after those that it names
	named     []oci.Descriptor
	of        map[oci.Digest]string // what a blob is of, for people
}

// NewShipment is an empty one of the layout in that directory.
func NewShipment(layout string) *Shipment {
	return &Shipment{layout: layout, of: map[oci.Digest]string{}}
}

// Add adds blobs, each manifest before those that it names. Errors call them by
// what they are of ("seed of volume data").
func (s *Shipment) Add(all []oci.Descriptor, of string) {
	// What is named is there before what names it.
	for i := len(all) - 1; i >= 0; i-- {
		d := all[i]
		if _, seen := s.of[d.Digest]; seen {
			continue
		}
		s.of[d.Digest] = of
		if d.MediaType == oci.MediaManifest || d.MediaType == oci.MediaIndex {
			s.manifests = append(s.manifests, d)
		} else {
			s.blobs = append(s.blobs, d)
		}
	}
}

// Totals are the blobs, and their bytes.
func (s *Shipment) Totals() (n, bytes int64) {
	for _, list := range [][]oci.Descriptor{s.blobs, s.manifests} {
		for _, d := range list {
			n++
			bytes += d.Size
		}
	}
	return n, bytes
}

// Name has what was added be named after its volume there, see [Carrier.Name].
func (s *Shipment) Name(d oci.Descriptor) { s.named = append(s.named, d) }

// Ledger remembers what the far side confirmed; pipeline.Ledger is one.
type Ledger interface {
	Lookup(ctx context.Context, item string) (mark string, ok bool, err error)
	Commit(ctx context.Context, item, mark string) error
}

// Sending is how a shipment is sent.
type Sending struct {
	Ledger Ledger
	Log    *slog.Logger
	Sent   func(bytes int64) // told of bytes that are there, each once
}

// Send brings everything there: blobs side by side, then manifests, then names.
func (s *Shipment) Send(ctx context.Context, to Carrier, o Sending) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, d := range s.blobs {
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error { return s.put(gctx, to, d, o) })
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return err
	}
	for _, d := range s.manifests {
		if err := s.put(ctx, to, d, o); err != nil {
			return err
		}
	}
	if len(s.named) == 0 {
		return nil
	}
	return to.Name(ctx, s.named)
}

// put brings one blob there. A record here proves nothing about the far side, so
// that is asked in any case; but what this workspace has seen there as a whole is
// not read back once more.
func (s *Shipment) put(ctx context.Context, to Carrier, d oci.Descriptor, o Sending) error {
	fail := func(err error) error {
		return fmt.Errorf("%s: %w", s.of[d.Digest], err)
	}
	item := to.String() + " " + string(d.Digest)
	_, before, err := o.Ledger.Lookup(ctx, item)
	if err != nil {
		return err
	}
	if before {
		has, err := to.Has(ctx, d.Digest, d.Size)
		switch {
		case err != nil:
			return fail(err)
		case has:
			o.Sent(d.Size)
			return nil
		default:
			o.Log.Warn("a blob that was there is gone, and is sent again", "blob", d.Digest, "of", s.of[d.Digest])
		}
	}
	name, err := BlobFile(s.layout, d.Digest)
	if err != nil {
		return fail(err)
	}
	f, err := os.Open(name)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if err := to.Put(ctx, d, f, o.Sent); err != nil {
		return fail(advise(err))
	}
	return o.Ledger.Commit(ctx, item, "sent")
}

// advise says what to do about a blob that is damaged here.
func advise(err error) error {
	var damaged *oci.Damaged
	if errors.As(err, &damaged) {
		return fmt.Errorf("%w\nremove %s from the seeds of the workspace, and run again: it is made anew from the source", err, damaged.Digest)
	}
	return err
}

// Gone names one blob that the far side does not have as a whole, "" when it has
// all. It reads none.
func (s *Shipment) Gone(ctx context.Context, from Reader) (string, error) {
	var (
		mu    sync.Mutex
		stale string
	)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * parallel)
	for _, list := range [][]oci.Descriptor{s.manifests, s.blobs} {
		for _, d := range list {
			if gctx.Err() != nil {
				break
			}
			group.Go(func() error {
				has, err := from.Has(gctx, d.Digest, d.Size)
				if err != nil || has {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				stale = fmt.Sprintf("%s has no blob %s of the %s any more", from, d.Digest, s.of[d.Digest])
				return errGone
			})
		}
	}
	err := group.Wait()
	if errors.Is(err, errGone) {
		return stale, nil
	}
	return "", errors.Join(err, ctx.Err())
}

var errGone = errors.New("gone")
