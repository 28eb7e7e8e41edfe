package seed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
)

// Verify reads everything in a seed again and compares: the digest of every
// blob, the listing with the tree digest, and the content of every file with its
// sum in the listing. The error joins all faults, each naming the path and the
// blob, up to a hundred; it wraps oci.ErrDamaged or ErrFormat. workers read side
// by side.
func Verify(ctx context.Context, blobs oci.Blobs, manifest oci.Descriptor, workers int) error {
	s, err := Open(ctx, blobs, manifest)
	if err != nil {
		return err
	}
	v := verifier{seed: s, used: map[oci.Digest]bool{s.Config.Listing.Digest: true, s.Config.Map.Digest: true}}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(max(workers, 1))
	for f, err := range s.Units(gctx) {
		if err != nil {
			v.fault(err)
			break
		}
		v.use(&f)
		group.Go(func() error {
			v.unit(gctx, &f)
			return gctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(v.faults) == 0 {
		v.unused()
	}
	return errors.Join(v.faults...)
}

type verifier struct {
	seed *Seed
	used map[oci.Digest]bool // by the loop over the units only

	mu     sync.Mutex
	faults []error
}

const maxFaults = 100

func (v *verifier) fault(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.faults) < maxFaults {
		v.faults = append(v.faults, err)
	}
}

// unit checks the content of all files of a unit.
func (v *verifier) unit(ctx context.Context, f *Filled) {
	h := sha256.New()
	err := v.seed.ReadPack(ctx, f, func(i int, content io.Reader) error {
		h.Reset()
		if _, err := io.Copy(h, content); err != nil {
			return err
		}
		v.compare(f.Records[i].Path, f.Records[i].SHA256, h)
		return nil
	})
	if err != nil {
		v.fault(err)
	}
	for _, l := range f.Large {
		h.Reset()
		if err := v.seed.sumLarge(ctx, l, h); err != nil {
			v.fault(fmt.Errorf("%s: %w", f.Records[l.At].Path, err))
			continue
		}
		v.compare(f.Records[l.At].Path, f.Records[l.At].SHA256, h)
	}
}

func (s *Seed) sumLarge(ctx context.Context, l Large, h hash.Hash) error {
	for _, p := range l.Parts {
		if p.Digest == "" {
			if err := hashZeros(ctx, h, p.Raw); err != nil {
				return err
			}
			continue
		}
		r, err := s.OpenPart(ctx, p)
		if err != nil {
			return err
		}
		_, err = io.Copy(h, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) compare(p hostpath.Path, want [32]byte, h hash.Hash) {
	if got := [32]byte(h.Sum(nil)); got != want {
		v.fault(fmt.Errorf("%s: its content has the sum %x, the listing says %x: %w", p, got, want, oci.ErrDamaged))
	}
}

// use notes the blobs of a unit.
func (v *verifier) use(f *Filled) {
	if f.Pack != nil {
		v.used[f.Pack.Digest] = true
	}
	for _, l := range f.Large {
		for _, p := range l.Parts {
			if p.Digest != "" {
				v.used[p.Digest] = true
			}
		}
	}
}

// unused reports layers that no unit uses, and blobs of units that are no layer:
// a registry would not keep those.
func (v *verifier) unused() {
	for _, d := range v.seed.layers {
		if !v.used[d.Digest] {
			v.fault(fmt.Errorf("layer %s is not used: %w", d.Digest, ErrFormat))
		}
		delete(v.used, d.Digest)
	}
	for _, d := range slices.Sorted(maps.Keys(v.used)) {
		v.fault(fmt.Errorf("blob %s is in no manifest: %w", d, ErrFormat))
	}
}
