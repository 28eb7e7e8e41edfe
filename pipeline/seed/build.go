package seed

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/tree"
)

// Options say what a seed is made of.
type Options struct {
	Volume  string        // its name
	Root    hostpath.Path // the volume's root on the host
	Workers int           // at least 1; each takes some 30 MiB
	Limits  Limits
	// How says how databases in it were taken consistently while they ran.
	How []string
	// Ledger remembers blobs between runs; nil remembers nothing.
	Ledger Ledger
	// Progress is told the bytes of content that were taken; it is called
	// concurrently. It may be nil.
	Progress func(bytes int64)
	// Taken is called with each record of the listing, in its order, and, for a
	// large file, with the SHA-256 of each of its blocks of DigestBlock bytes, one
	// after the other; nil when they are not known. It may be nil.
	Taken func(r tree.Record, blocks []byte) error
}

// Built is a seed in the layout.
type Built struct {
	Manifest oci.Descriptor // of the manifest, or of the index of its pages
	Config   Config
	Stored   int64 // bytes of all blobs
	Blobs    int
	// Problems are files that are not in the seed since their content could not
	// be read or was not that of the scan, the first thousand of ProblemCount.
	Problems     []Problem
	ProblemCount int64
}

// Build makes the seed of one volume. The entries come from the scan, depth
// first, the volume's root first, with their paths on the host; each one's
// parent is among them. Every file is read once. A file that cannot be taken is
// left out and is among the problems; an error means that there is no seed.
func Build(ctx context.Context, layout *oci.Layout, source Source, entries iter.Seq2[tree.Entry, error], o Options) (Built, error) {
	b := &builder{
		layout: layout, source: source, root: o.Root, limits: o.Limits.orUsual(), ledger: o.Ledger, progress: o.Progress, taken: o.Taken,
		sums: map[hostpath.Path]*shared{}, seen: map[oci.Digest]bool{},
	}
	if b.progress == nil {
		b.progress = func(int64) {}
	}
	defer b.abort()
	if err := b.begin(); err != nil {
		return Built{}, fmt.Errorf("seed of volume %s: %w", o.Volume, err)
	}
	if err := b.run(ctx, entries, max(o.Workers, 1)); err != nil {
		return Built{}, fmt.Errorf("seed of volume %s: %w", o.Volume, err)
	}
	out, err := b.finish(o.Volume, o.How)
	if err != nil {
		return Built{}, fmt.Errorf("seed of volume %s: %w", o.Volume, err)
	}
	return out, nil
}

type builder struct {
	layout   *oci.Layout
	source   Source
	root     hostpath.Path
	limits   Limits
	ledger   Ledger
	progress func(int64)
	taken    func(tree.Record, []byte) error

	// Of the collector only.
	listing, index *zblob
	lines          *tree.Writer
	sums           map[hostpath.Path]*shared // of inodes with several paths
	units          int64
	data           int64
	seen           map[oci.Digest]bool
	blobs          []oci.Descriptor
	problems       []Problem
	problemCount   int64
}

// shared is the sum of an inode that more paths of the listing may have.
type shared struct {
	sum  [32]byte
	left uint32
}

func (b *builder) begin() (err error) {
	if b.listing, err = newZBlob(b.layout); err != nil {
		return err
	}
	if b.index, err = newZBlob(b.layout); err != nil {
		return err
	}
	b.lines = tree.NewWriter(b.listing)
	return nil
}

func (b *builder) abort() {
	if b.listing != nil {
		b.listing.blob.Abort()
	}
	if b.index != nil {
		b.index.blob.Abort()
	}
}

// run cuts the entries into units, has them packed side by side, and collects
// them in their order.
func (b *builder) run(ctx context.Context, entries iter.Seq2[tree.Entry, error], workers int) error {
	group, ctx := errgroup.WithContext(ctx)
	jobs := make(chan func(*worker) error)
	ordered := make(chan *unit, workers+1)
	group.Go(func() error {
		defer close(jobs)
		defer close(ordered)
		return b.cut(ctx, entries, jobs, ordered)
	})
	for range workers {
		group.Go(func() error {
			w, err := b.newWorker()
			if err != nil {
				return err
			}
			defer w.in.close()
			for job := range jobs {
				if err := job(w); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		for u := range ordered {
			if err := u.wait(ctx); err != nil {
				return err
			}
			if err := b.collect(u); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// wait returns when all jobs of the unit are done, or when one failed.
func (u *unit) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		u.done.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *builder) cut(ctx context.Context, entries iter.Seq2[tree.Entry, error], jobs chan<- func(*worker) error, ordered chan<- *unit) error {
	send := func(u *unit) error {
		u.done.Add(1 + len(u.large))
		select {
		case ordered <- u:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, job := range u.jobs(ctx) {
			select {
			case jobs <- job:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	c := cutter{limits: b.limits}
	var links tree.Links
	for e, err := range entries {
		if err != nil {
			return err
		}
		if !e.Path.Within(b.root) {
			return fmt.Errorf("%s is not within %s", e.Path, b.root)
		}
		e.Path = e.Path.Below(b.root)
		if u := c.add(tree.Record{Entry: e, Link: links.Seen(e)}); u != nil {
			if err := send(u); err != nil {
				return err
			}
		}
	}
	if u := c.rest(); u != nil {
		return send(u)
	}
	return nil
}

// jobs are what workers do for the unit: the pack, and each large file.
func (u *unit) jobs(ctx context.Context) []func(*worker) error {
	out := []func(*worker) error{func(w *worker) error {
		if err := w.pack(ctx, u); err != nil {
			return err
		}
		u.done.Done()
		return nil
	}}
	for _, i := range u.large {
		out = append(out, func(w *worker) error {
			if err := w.large(ctx, u, i); err != nil {
				if fatal(ctx, err) {
					return err
				}
				u.failed[i] = reason(err)
			}
			u.done.Done()
			return nil
		})
	}
	return out
}

// maxProblems is how many problems are kept by name.
const maxProblems = 1000

func (b *builder) problem(p hostpath.Path, err error) {
	b.problemCount++
	if len(b.problems) < maxProblems {
		b.problems = append(b.problems, Problem{Path: below(b.root, p), Err: err})
	}
}

var errNoFirst = errors.New("a hard link to a file that could not be taken")

// collect writes the lines of a unit to the listing and the map.
func (b *builder) collect(u *unit) error {
	line := Unit{Pack: u.pack}
	if u.pack != nil {
		b.blob(MediaPack, u.pack.Digest, u.pack.Size)
	}
	for i, r := range u.records {
		r.SHA256 = u.sums[i]
		if r.Type == tree.Regular && r.Link != "" {
			first := b.sums[r.Link]
			if first == nil {
				b.problem(r.Path, errNoFirst)
				continue
			}
			r.SHA256 = first.sum
			if first.left--; first.left == 0 {
				delete(b.sums, r.Link)
			}
		}
		if err := u.failed[i]; err != nil {
			b.problem(r.Path, err)
			continue
		}
		if r.Type == tree.Regular && r.Link == "" {
			if r.Nlink > 1 {
				b.sums[r.Path] = &shared{sum: r.SHA256, left: r.Nlink - 1}
			}
			b.content(u, i, &line)
		}
		if err := b.lines.Add(r); err != nil {
			return err
		}
		if b.taken != nil {
			if err := b.taken(r, u.blocks[i]); err != nil {
				return err
			}
		}
		line.Records++
	}
	if line.Records == 0 {
		return nil
	}
	b.units++
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = b.index.Write(append(text, '\n'))
	return err
}

// content notes where the content of record i is.
func (b *builder) content(u *unit, i int, line *Unit) {
	at := line.Records
	if u.sparse[i] {
		line.Sparse = append(line.Sparse, at)
	}
	if u.small(i, b.limits) {
		b.data += u.records[i].Size
		return
	}
	line.Large = append(line.Large, Large{At: at, Parts: u.parts[i]})
	for _, p := range u.parts[i] {
		if p.Digest == "" {
			continue
		}
		b.data += p.Raw
		media := MediaPart
		if p.Zstd {
			media = MediaZPart
		}
		b.blob(media, p.Digest, p.Size)
	}
}

func (b *builder) blob(media string, d oci.Digest, size int64) {
	if !b.seen[d] {
		b.seen[d] = true
		b.blobs = append(b.blobs, oci.Descriptor{MediaType: media, Digest: d, Size: size})
	}
}

// zblob is a blob that is compressed while it is written.
type zblob struct {
	blob *oci.Writer
	enc  *zstd.Encoder
	out  *bufio.Writer
	raw  int64
}

func newZBlob(l *oci.Layout) (*zblob, error) {
	enc, err := NewEncoder()
	if err != nil {
		return nil, err
	}
	blob, err := l.Begin()
	if err != nil {
		return nil, err
	}
	enc.Reset(blob)
	return &zblob{blob: blob, enc: enc, out: bufio.NewWriterSize(enc, 128<<10)}, nil
}

func (z *zblob) Write(p []byte) (int, error) {
	z.raw += int64(len(p))
	return z.out.Write(p)
}

func (z *zblob) commit() (Packed, error) {
	if err := errors.Join(z.out.Flush(), z.enc.Close()); err != nil {
		return Packed{}, err
	}
	d, size, err := z.blob.Commit()
	return Packed{Digest: d, Size: size, Raw: z.raw}, err
}

var _ io.Writer = (*zblob)(nil)
