package imageset

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/tree"
)

// maxLayer is the most content of a layer, but for a single file that is
// larger: registries and runtimes load a layer in one piece, and a push that
// breaks starts it again.
const maxLayer = 1 << 30

// bin gathers the items of one layer, or of several parts when it is large.
// Items come depth first; made items wait for their turn.
type bin struct {
	what    string
	file    string // of its plans, without the part's number
	parent  func(context.Context, hostpath.Path) (layer.Item, error)
	waiting []layer.Item // made, sorted
	draft   *layer.Draft
	links   layer.Links
	chain   []hostpath.Path // directories in the draft that lead to the last item
	bytes   int64
	plans   []layer.Plan
}

func (d *drawing) newBin(what string) *bin {
	return &bin{what: what, file: filepath.Join(d.Dir, fmt.Sprintf("plan-%d", len(d.bins))), parent: d.parent}
}

// want adds a made item, before the first add. The first one of a path counts.
// Where a layer cannot say the name of a mount point, the runtime makes it.
func (b *bin) want(i layer.Item) {
	if layer.Whiteout(i.Path) {
		return
	}
	at, found := slices.BinarySearchFunc(b.waiting, i.Path, func(w layer.Item, p hostpath.Path) int {
		return hostpath.Compare(w.Path, p)
	})
	if !found {
		b.waiting = slices.Insert(b.waiting, at, i)
	}
}

// add appends an item of the source, after the made ones that precede it. It
// reports whether the content is there in full.
func (b *bin) add(ctx context.Context, i layer.Item) (full bool, err error) {
	if made, err := b.flush(ctx, i.Path); err != nil || made {
		return true, err
	}
	b.links.Resolve(&i)
	if b.bytes > 0 && b.bytes+i.Bytes() > maxLayer {
		if err := b.endPart(); err != nil {
			return false, err
		}
		b.links.Resolve(&i) // the first of its inode in the next part
	}
	return i.Link == "", b.append(ctx, i)
}

// flush appends the made items up to the path limit. It reports whether one of
// them stands for the limit itself; a directory of the source stands for
// itself.
func (b *bin) flush(ctx context.Context, limit hostpath.Path) (made bool, err error) {
	for len(b.waiting) > 0 {
		w := b.waiting[0]
		order := hostpath.Compare(w.Path, limit)
		if limit != "" && order > 0 {
			break
		}
		b.waiting = b.waiting[1:]
		if limit != "" && order == 0 {
			if w.Type == tree.Directory {
				continue
			}
			made = true
		}
		if err := b.append(ctx, w); err != nil {
			return false, err
		}
	}
	return made, nil
}

// append writes the item with the directories that lead to it.
func (b *bin) append(ctx context.Context, i layer.Item) error {
	if b.draft == nil {
		draft, err := layer.Begin(fmt.Sprintf("%s-%d", b.file, len(b.plans)))
		if err != nil {
			return err
		}
		b.draft = draft
	}
	for len(b.chain) > 0 && !i.Path.Within(b.chain[len(b.chain)-1]) {
		b.chain = b.chain[:len(b.chain)-1]
	}
	for _, dir := range ancestors(i.Path)[len(b.chain):] {
		p, err := b.parent(ctx, dir)
		if err != nil {
			return err
		}
		if err := b.draft.Add(p); err != nil {
			return err
		}
		b.chain = append(b.chain, dir)
	}
	if err := b.draft.Add(i); err != nil {
		return err
	}
	if i.Type == tree.Directory {
		b.chain = append(b.chain, i.Path)
	}
	b.bytes += i.Bytes()
	return nil
}

// ancestors lists the directories above p from the root.
func ancestors(p hostpath.Path) []hostpath.Path {
	var up []hostpath.Path
	for p != hostpath.Root {
		p = p.Dir()
		up = append(up, p)
	}
	slices.Reverse(up)
	return up
}

func (b *bin) endPart() error {
	p, err := b.draft.End()
	if err != nil {
		return err
	}
	b.plans = append(b.plans, p)
	b.draft, b.chain, b.bytes, b.links = nil, nil, 0, layer.Links{}
	return nil
}

// end gives the plans of the bin, none when nothing came.
func (b *bin) end(ctx context.Context) ([]layer.Plan, error) {
	if _, err := b.flush(ctx, ""); err != nil {
		return nil, err
	}
	if b.draft != nil {
		if err := b.endPart(); err != nil {
			return nil, err
		}
	}
	return b.plans, nil
}

func (b *bin) discard() {
	if b.draft != nil {
		b.draft.Discard()
		b.draft = nil
	}
}
