package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
)

// openSeed opens the seed here from which the volume was filled there.
func (r *run) openSeed(ctx context.Context, v *volume) (*seed.Seed, error) {
	layout, err := oci.Open(r.Workspace.Path(workspace.Seeds))
	if err != nil {
		return nil, err
	}
	d, err := seed.Find(layout, v.Name)
	if err != nil {
		return nil, err
	}
	if string(d.Digest) != v.seed.Digest {
		return nil, fmt.Errorf("%s has the seed %s, not %s: run the stage seed again", layout, d.Digest, v.seed.Digest)
	}
	return seed.Open(ctx, layout, d)
}

// expect writes the listing that a proved copy has: that of the seed without the
// extended attributes that are not compared. It returns the tree digest and how
// many paths lack which attribute.
func (r *run) expect(ctx context.Context, v *volume, notCompared []string, w io.Writer) (digest string, lacking map[string]int, err error) {
	s, err := r.openSeed(ctx, v)
	if err != nil {
		return "", nil, err
	}
	in, err := s.Listing(ctx)
	if err != nil {
		return "", nil, err
	}
	defer in.Close()
	lacking = map[string]int{}
	from, to := tree.NewReader(in), tree.NewWriter(w)
	for {
		line, err := from.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", nil, err
		}
		line.Xattrs = slices.DeleteFunc(line.Xattrs, func(x tree.Xattr) bool {
			drop := matches(notCompared, x.Name)
			if drop {
				lacking[x.Name]++
			}
			return drop
		})
		if err := errors.Join(to.Add(line), ctx.Err()); err != nil {
			return "", nil, err
		}
	}
	totals, err := to.Close()
	return totals.Digest, lacking, err
}

// matches applies patterns as the copier does.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// writeListing writes the listing of a proved copy beside its receipt.
func (r *run) writeListing(ctx context.Context, v *volume, name string) error {
	return atomicfile.WriteTo(name, 0o600, func(w io.Writer) error {
		_, lacking, err := r.expect(ctx, v, v.state.Receipt.NotCompared, w)
		for _, attribute := range slices.Sorted(maps.Keys(lacking)) {
			if ofTheHost(attribute) {
				continue
			}
			v.lacking = append(v.lacking, fmt.Sprintf("volume %s: no Pod that fits Pod Security baseline may write the extended attribute %s, which %d paths have at the source", v.Name, attribute, lacking[attribute]))
		}
		return err
	})
}

// ofTheHost are attributes that belong to the policy of a machine, not to its
// data: each machine sets its own.
func ofTheHost(attribute string) bool {
	return slices.Contains([]string{"security.selinux", "security.ima", "security.evm"}, attribute)
}
