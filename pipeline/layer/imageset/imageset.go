// Package imageset decides which images a plan makes, which layers they share,
// and which path is in which layer. Its answer depends on the inventory and the
// plan alone, so that whoever asks again, to prove an image, gets the same one.
//
// From the bottom: the packages of the host in a few layers that are equal on
// hosts with equal packages; what no package owns or somebody changed ("local");
// and for every workload the files that serve only it. All images of a host
// share the first two.
package imageset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/tree"
)

// Set is what is to be made.
type Set struct {
	Layers []Layer // from the bottom
	Images []Image // by name
	// Entries and Bytes count the paths of class image that are in a layer:
	// each exactly once, replaced ones included.
	Entries int64
	Bytes   int64
	// Notes are for people: what could not be kept exactly as it was.
	Notes []string
}

// Shape is the SHA-256 over what decides about the images: which paths are in
// which layer, with their metadata. It is the same with and without the source.
func (s *Set) Shape() string {
	h := sha256.New()
	for _, l := range s.Layers {
		fmt.Fprintln(h, l.What, l.Plan.Shape)
	}
	for _, i := range s.Images {
		fmt.Fprintln(h, i.Name, i.Layers)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Layer is one layer to be written.
type Layer struct {
	What string // for people
	Plan layer.Plan
}

// Image is one image to be made.
type Image struct {
	Name string
	// Containers run the image; the first one's command is in its config.
	Containers []Container
	Layers     []int // into Set.Layers
}

// Container is a container of a workload.
type Container struct {
	Workload string
	handoff.Container
}

// Input is what a set is drawn from.
type Input struct {
	Catalog *catalog.Catalog
	Plan    handoff.Plan
	// Accounts are the host's users with locked passwords. Nil draws the set
	// without the source, to prove images: the content of these files is then
	// not known.
	Accounts *Accounts
	// Dir takes the plans of the layers. The caller removes it.
	Dir string
}

// Draw makes the set in one pass over the inventory.
func Draw(ctx context.Context, in Input) (*Set, error) {
	if err := os.MkdirAll(in.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("draw the images: %w", err)
	}
	d := &drawing{Input: in, set: &Set{}, workload: map[string]int{}, replaced: map[hostpath.Path]bool{}}
	defer d.discard()
	if err := d.prepare(ctx); err != nil {
		return nil, fmt.Errorf("draw the images: %w", err)
	}
	for e, err := range in.Catalog.Entries(ctx, catalog.Filter{Class: claim.Image}) {
		if err == nil {
			err = d.place(ctx, e)
		}
		if err != nil {
			return nil, fmt.Errorf("draw the images: %w", err)
		}
	}
	if err := d.finish(ctx); err != nil {
		return nil, fmt.Errorf("draw the images: %w", err)
	}
	return d.set, nil
}

// drawing is a set in the making.
type drawing struct {
	Input
	set      *Set
	packages partition
	users    []facts.User
	groups   []facts.Group
	serves   map[int64]string       // claim → unit
	workload map[string]int         // unit → workload, several for none
	bins     []*bin                 // packages…, local, one for each workload
	local    int                    // index of the local bin
	replaced map[hostpath.Path]bool // paths whose made file is in the local bin
	way      []catalog.Placed       // directories of class image that lead to the last entry
	twins    map[[2]uint64]bool     // device and inode of what is no file and has further paths
}

// several marks a unit that more than one workload runs.
const several = -1

func (d *drawing) prepare(ctx context.Context) error {
	var err error
	if d.packages, err = partitionPackages(ctx, d.Catalog); err != nil {
		return err
	}
	if d.users, err = catalog.Facts[facts.User](ctx, d.Catalog, facts.KindUser); err != nil {
		return err
	}
	if d.groups, err = catalog.Facts[facts.Group](ctx, d.Catalog, facts.KindGroup); err != nil {
		return err
	}
	claims, err := d.Catalog.Claims(ctx)
	if err != nil {
		return err
	}
	d.serves = make(map[int64]string)
	for _, c := range claims {
		if c.Serves != "" {
			d.serves[c.ID] = c.Serves
		}
	}
	for i, w := range d.Plan.Workloads {
		for _, c := range w.Containers {
			if j, ok := d.workload[c.Unit]; ok && j != i {
				i = several
			}
			d.workload[c.Unit] = i
		}
	}
	for _, what := range d.packages.what {
		d.bins = append(d.bins, d.newBin(what))
	}
	d.local = len(d.bins)
	d.bins = append(d.bins, d.newBin("local files"))
	for _, w := range d.Plan.Workloads {
		d.bins = append(d.bins, d.newBin(w.Name))
	}
	if err := d.makeHost(ctx); err != nil {
		return err
	}
	for i, w := range d.Plan.Workloads {
		if err := d.makeWorkload(ctx, d.bins[d.local+1+i], w); err != nil {
			return err
		}
	}
	return nil
}

// home is the bin of a path of class image. What a package brought stays in a
// layer that all images share, whoever it serves: a cron job or a library may
// need it too.
func (d *drawing) home(e catalog.Placed) int {
	if e.Package != "" {
		if e.State != catalog.Changed && e.State != catalog.ConffileChanged {
			return d.packages.of[e.Package]
		}
		return d.local
	}
	if w, ok := d.workload[d.serves[e.Claim]]; ok && w != several {
		return d.local + 1 + w
	}
	return d.local
}

func (d *drawing) place(ctx context.Context, e catalog.Placed) error {
	d.set.Entries++
	d.set.Bytes += e.Bytes()
	for len(d.way) > 0 && !e.Path.Within(d.way[len(d.way)-1].Path) {
		d.way = d.way[:len(d.way)-1]
	}
	if e.Type == tree.Directory {
		d.way = append(d.way, e)
	}
	if d.replaced[e.Path] {
		return nil
	}
	b := d.bins[d.home(e)]
	full, err := b.add(ctx, layer.Item{Entry: e.Entry.Entry})
	again := d.again(e)
	if full && again {
		d.note("%s is a full copy in its layer: the first path of its inode is elsewhere", e.Path)
	}
	return err
}

// again reports whether an earlier path is the same inode. The inventory knows
// that of files; of links and FIFOs, of which there are few, it is kept here.
func (d *drawing) again(e catalog.Placed) bool {
	if e.Nlink < 2 || e.Type == tree.Directory || e.Type == tree.Regular {
		return e.Link != 0
	}
	key := [2]uint64{e.Dev, e.Ino}
	if d.twins[key] {
		return true
	}
	if d.twins == nil {
		d.twins = map[[2]uint64]bool{}
	}
	d.twins[key] = true
	return false
}

// maxNotes bounds the notes of a host.
const maxNotes = 1000

func (d *drawing) note(format string, args ...any) {
	if len(d.set.Notes) < maxNotes {
		d.set.Notes = append(d.set.Notes, fmt.Sprintf(format, args...))
	}
}

// finish ends the bins and puts the images together.
func (d *drawing) finish(ctx context.Context) error {
	at := make([][]int, len(d.bins)) // the layers of each bin
	for i, b := range d.bins {
		plans, err := b.end(ctx)
		if err != nil {
			return err
		}
		for n, p := range plans {
			what := b.what
			if len(plans) > 1 {
				what = fmt.Sprintf("%s, part %d of %d", what, n+1, len(plans))
			}
			at[i] = append(at[i], len(d.set.Layers))
			d.set.Layers = append(d.set.Layers, Layer{What: what, Plan: p})
		}
	}
	shared := slices.Concat(at[:d.local+1]...)
	images := map[string]int{}
	own := map[string][]int{} // image → bins of workloads
	for w, load := range d.Plan.Workloads {
		for _, c := range load.Containers {
			n, ok := images[c.Image]
			if !ok {
				n = len(d.set.Images)
				images[c.Image] = n
				d.set.Images = append(d.set.Images, Image{Name: c.Image})
			}
			d.set.Images[n].Containers = append(d.set.Images[n].Containers, Container{Workload: load.Name, Container: c})
			needs, err := d.needs(ctx, w, c)
			if err != nil {
				return err
			}
			own[c.Image] = append(own[c.Image], needs...)
		}
	}
	for n := range d.set.Images {
		img := &d.set.Images[n]
		img.Layers = slices.Clone(shared)
		bins := own[img.Name]
		slices.Sort(bins)
		for _, b := range slices.Compact(bins) {
			img.Layers = append(img.Layers, at[b]...)
		}
	}
	slices.SortFunc(d.set.Images, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// needs lists the bins of workloads that a container of workload w needs: its
// own; those that hold what its command line names; and all of them for a cron
// job, since nothing tells what a script calls.
func (d *drawing) needs(ctx context.Context, w int, c handoff.Container) ([]int, error) {
	bins := []int{d.local + 1 + w}
	if d.Plan.Workloads[w].Kind == handoff.CronJob {
		for i := range d.Plan.Workloads {
			bins = append(bins, d.local+1+i)
		}
		return bins, nil
	}
	words := append([]string{string(c.WorkDir)}, c.Command...)
	for _, before := range c.Before {
		words = append(words, before...)
	}
	for _, word := range words {
		if !filepath.IsAbs(word) {
			continue
		}
		e, ok, err := d.find(ctx, hostpath.Clean(word))
		if err != nil {
			return nil, err
		}
		if ok && e.Class == claim.Image {
			if b := d.home(e); b > d.local {
				bins = append(bins, b)
			}
		}
	}
	return bins, nil
}

func (d *drawing) discard() {
	for _, b := range d.bins {
		b.discard()
	}
}
