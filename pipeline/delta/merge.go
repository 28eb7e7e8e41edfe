package delta

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/snapshot"
	"github.com/statelift/statelift/pipeline/tree"
)

// product is what becomes the delta.
type product struct {
	contents []oci.Descriptor
	data     int64
	changes  seed.Packed
	count    int64
	patches  []oci.Descriptor // blobs
	totals   tree.Totals
}

// merge writes the new state, and on the way the list of changes. It returns the
// name of the state's file.
func (m *maker) merge(ctx context.Context) (string, error) {
	g := merger{maker: m, groups: map[uint64]*group{}, at: opener{source: m.Source}}
	defer g.close()
	if err := g.open(); err != nil {
		return "", err
	}
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		more, err := g.step()
		if err != nil {
			return "", err
		}
		if !more {
			break
		}
	}
	var err error
	if m.product.totals, err = g.state.finish(); err != nil {
		return "", err
	}
	m.round.To = m.product.totals.Digest
	if g.stream != nil {
		if m.product.changes, err = g.stream.Commit(); err != nil {
			return "", err
		}
		g.stream = nil
	}
	name := fmt.Sprintf("round-%d-%s%s", m.base.number(), m.round.To[:16], stateSuffix)
	if name == m.base.State { // only times that are in no listing changed
		name = "again-" + name
	}
	return name, os.Rename(filepath.Join(m.Dir, g.state.name), filepath.Join(m.Dir, name))
}

// merger goes along the state before, what is gone, what was decided and what
// was packed.
type merger struct {
	*maker
	old, lost, decided *snapshot.Cursor // the last two nil when there is none
	taken              taken
	state              *stateWriter
	stream             *seed.Stream // of changes; nil before the first
	links              tree.Links
	groups             map[uint64]*group
	above              []hostpath.Path // the directories that the last path is in
	at                 opener
}

// group is an inode of several paths, from the first to the last.
type group struct {
	tree.Record
	blocks  []byte
	left    uint32
	dropped bool // its content never held still
}

// group returns what was found under the first path of r's inode. When r is the
// first, it begins one and returns nil.
func (g *merger) group(r *tree.Record, blocks []byte, dropped bool) *group {
	if r.Nlink < 2 || r.Type == tree.Directory {
		return nil
	}
	gr := g.groups[r.Ino]
	if gr == nil {
		g.groups[r.Ino] = &group{Record: *r, blocks: blocks, left: r.Nlink - 1, dropped: dropped}
		return nil
	}
	if gr.left--; gr.left == 0 {
		delete(g.groups, r.Ino)
	}
	return gr
}

// alike gives a further path of an inode what was found under the first one: in
// between, somebody may have changed it.
func (gr *group) alike(r *tree.Record) {
	path := r.Path
	*r = gr.Record
	r.Path = path
}

// inside reports whether the path's directory is one in the new state: of a
// directory that was renamed while it was walked, only what is in it was found.
func (g *merger) inside(p hostpath.Path, is tree.Type) bool {
	if p != hostpath.Root {
		dir := p.Dir()
		for n := len(g.above); n > 0 && g.above[n-1] != dir; n = len(g.above) {
			g.above = g.above[:n-1]
		}
		if len(g.above) == 0 {
			return false
		}
	}
	if is == tree.Directory {
		g.above = append(g.above, p)
	}
	return true
}

func (g *merger) open() (err error) {
	if g.old, err = openState(g.Dir, g.base.State); err != nil {
		return err
	}
	if g.maker.lost {
		if g.lost, err = openState(g.Dir, goneList+stateSuffix); err != nil {
			return err
		}
	}
	if g.found {
		if g.decided, err = openState(g.Dir, decidedList+stateSuffix); err != nil {
			return err
		}
	}
	if g.taken, err = g.openTaken(); err != nil {
		return err
	}
	g.state, err = newState(g.Dir, "next")
	return err
}

func (g *merger) close() {
	for _, s := range []*snapshot.Cursor{g.old, g.lost, g.decided} {
		if s != nil {
			s.Close()
		}
	}
	g.taken.close()
	g.at.close()
	if g.state != nil {
		g.state.abort()
	}
	if g.stream != nil {
		g.stream.Abort()
	}
}

// step handles the next path.
func (g *merger) step() (more bool, err error) {
	o, err := g.old.Peek()
	if err != nil {
		return false, err
	}
	var d *snapshot.Item
	if g.decided != nil {
		if d, err = g.decided.Peek(); err != nil {
			return false, err
		}
	}
	c := 0
	switch {
	case o == nil && d == nil:
		return false, nil
	case o == nil:
		c = 1
	case d == nil:
		c = -1
	default:
		c = hostpath.Compare(o.Path(), d.Path())
	}
	if c <= 0 {
		g.old.Skip()
	} else {
		o = nil
	}
	if c >= 0 {
		g.decided.Skip()
		if d.Flags&gone != 0 {
			return true, g.remove(o)
		}
		return true, g.put(o, d)
	}
	if g.lost != nil {
		lost, err := g.lost.UpTo(o.Path(), nil)
		if err != nil {
			return false, err
		}
		if lost != nil {
			return true, g.remove(o)
		}
	}
	return true, g.keep(o)
}

// keep takes over a path that did not change. Of an inode of several paths
// another one may be the first now.
func (g *merger) keep(o *snapshot.Item) error {
	if !g.inside(o.Path(), o.Type()) {
		return g.remove(o)
	}
	if o.Nlink < 2 || o.Type() == tree.Directory {
		return g.state.Add(o)
	}
	r, err := o.Record()
	if err != nil {
		return err
	}
	blocks := o.Blocks
	if gr := g.group(&r, blocks, false); gr != nil {
		if gr.dropped {
			return g.remove(o)
		}
		gr.alike(&r)
		blocks = gr.blocks
	}
	r.Link = g.links.Seen(r.Entry)
	item := snapshot.Of(r, blocks)
	return g.add(o, &item)
}

// put takes a path as it is now.
func (g *merger) put(o, d *snapshot.Item) error {
	if !g.inside(d.Path(), d.Type()) {
		return g.remove(o)
	}
	r, err := d.Record()
	if err != nil {
		return err
	}
	blocks := d.Blocks
	steady := true
	switch known := g.groups[r.Ino]; {
	case known != nil && r.Nlink > 1 && r.Type == known.Type:
		steady = !known.dropped
	case r.Type != tree.Regular || d.Flags&settled != 0:
	case d.Flags&pending != 0:
		t, err := g.taken.find(r.Path)
		if err != nil {
			return err
		}
		if steady = t != nil; steady {
			if r, err = t.Record(); err != nil {
				return err
			}
			blocks = t.Blocks
		}
	default:
		steady = false
	}
	if gr := g.group(&r, blocks, !steady); gr != nil && gr.Type == r.Type {
		gr.alike(&r)
		blocks = gr.blocks
	}
	if !steady {
		return g.unsteady(o, &r)
	}
	r.Link = g.links.Seen(r.Entry)
	item := snapshot.Of(r, blocks)
	g.count(o, &item)
	return g.add(o, &item)
}

// add takes a path into the new state, and, if its line is another one than
// before, into the changes.
func (g *merger) add(o, now *snapshot.Item) error {
	kept := *now
	if now.Type() == tree.Regular && now.Ctime >= g.trusted {
		kept.Ctime = unknown
	}
	if o != nil && string(o.Line()) == string(now.Line()) {
		return g.state.Add(&kept)
	}
	if err := g.write('+', now.Line()); err != nil {
		return err
	}
	if p := g.patches[now.Path()]; p != nil {
		if err := g.patch(p); err != nil {
			return err
		}
	}
	return g.state.Add(&kept)
}

// unsteady leaves a file as it was before, to be looked at again in the next
// round; one that was not there stays away, and so do all names of an inode with
// several.
func (g *merger) unsteady(o *snapshot.Item, r *tree.Record) error {
	if dir, err := g.at.enter(g.below(r.Path)); err == nil {
		_, err = tree.Stat(dir, r.Path.Base(), r.Path)
		if isGone(err) {
			return g.remove(o)
		}
	}
	g.restless(r.Path)
	if o == nil {
		return nil
	}
	if o.Type() != tree.Regular || o.Nlink > 1 || r.Nlink > 1 {
		return g.remove(o)
	}
	again := *o
	again.Ctime = unknown
	return g.state.Add(&again)
}

// count sorts a path that is there into the figures.
func (g *merger) count(o, now *snapshot.Item) {
	k := g.known[now.Ino]
	renamed := k != nil && k.moved && k.path != now.Path()
	switch {
	case o == nil && renamed:
		g.round.Renamed++
	case o == nil:
		g.round.Added++
	case string(o.Line()) == string(now.Line()):
	case renamed && o.Ino != now.Ino:
		g.round.Renamed++
	case o.Type() != now.Type() || now.Type() == tree.Regular && o.Sum() != now.Sum() || now.Type() == tree.Symlink && o.Size != now.Size:
		g.round.Altered++
	default:
		g.round.Dressed++
	}
}

// patch adds how the content comes about to the line before.
func (g *merger) patch(p *Patch) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	for _, b := range p.Blobs {
		if b.Digest == "" {
			continue
		}
		g.product.data += b.Raw
		media := seed.MediaPart
		if b.Zstd {
			media = seed.MediaZPart
		}
		g.product.patches = append(g.product.patches, oci.Descriptor{MediaType: media, Digest: b.Digest, Size: b.Size})
	}
	g.product.count--
	return g.write('~', append(text, '\n'))
}

func (g *merger) remove(o *snapshot.Item) error {
	if o == nil {
		return nil
	}
	// What is renamed away is counted where it is now.
	if k := g.known[o.Ino]; k == nil || k.path != o.Path() || !k.moved {
		g.round.Removed++
	}
	return g.write('-', []byte(o.Path().String()+"\n"))
}

// write adds a line to the changes.
func (g *merger) write(kind byte, rest []byte) (err error) {
	if g.stream == nil {
		if g.stream, err = seed.NewStream(g.Layout); err != nil {
			return err
		}
	}
	g.product.count++
	if _, err = g.stream.Write([]byte{kind, '\t'}); err == nil {
		_, err = g.stream.Write(rest)
	}
	return err
}

// store stores config and manifests. Without a change of the tree there is no
// delta.
func (m *maker) store(ctx context.Context) (oci.Descriptor, error) {
	if m.round.To == m.base.Tree {
		return oci.Descriptor{}, nil
	}
	p := &m.product
	config, err := m.document(MediaConfig, Config{
		Version: Version, Volume: m.Volume, Seed: m.base.Seed, Previous: m.base.newest(), Number: m.base.number(),
		From: m.base.Tree, To: m.round.To, Entries: p.totals.Entries, Files: p.totals.Files, Bytes: p.totals.Bytes,
		Data: p.data, Changes: p.changes, Count: p.count,
	})
	if err != nil {
		return config, err
	}
	layers := append([]oci.Descriptor{{MediaType: MediaChanges, Digest: p.changes.Digest, Size: p.changes.Size}}, p.patches...)
	manifest, err := m.document(oci.MediaManifest, oci.Manifest{
		SchemaVersion: 2, MediaType: oci.MediaManifest, ArtifactType: ArtifactType, Config: config, Layers: layers,
	})
	if err != nil {
		return manifest, err
	}
	all := []oci.Descriptor{manifest}
	for _, c := range p.contents {
		all = append(all, oci.Descriptor{MediaType: c.MediaType, Digest: c.Digest, Size: c.Size})
	}
	index, err := m.document(oci.MediaIndex, oci.Index{SchemaVersion: 2, MediaType: oci.MediaIndex, Manifests: all})
	if err != nil {
		return index, err
	}
	index.Annotations = map[string]string{oci.RefName: refName(m.Volume, m.base.number())}
	return index, m.weigh(ctx, index)
}

func (m *maker) document(media string, v any) (oci.Descriptor, error) {
	data, err := oci.Marshal(v)
	if err != nil {
		return oci.Descriptor{}, err
	}
	d, err := m.Layout.Put(data)
	return oci.Descriptor{MediaType: media, Digest: d, Size: int64(len(data))}, err
}

// weigh counts what the delta moves.
func (m *maker) weigh(ctx context.Context, index oci.Descriptor) error {
	d, err := Open(ctx, m.Layout, index)
	if err != nil {
		return err
	}
	seen := map[oci.Digest]bool{}
	for _, b := range d.Blobs() {
		if !seen[b.Digest] {
			seen[b.Digest] = true
			m.round.MovedBytes += b.Size
		}
	}
	return nil
}

// advice is for files that change whenever they are read.
const advice = "quiesce what writes it (--quiesce), or cut over: the final round is made when nothing runs"
