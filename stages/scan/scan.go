package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/mounts"
	"github.com/statelift/statelift/stages/scan/walk"
)

// Options of the stage.
type Options struct {
	// Workers read at the same time; enough for this machine when 0. They do not
	// change the result.
	Workers int `json:"-"`
}

// Stage scans one source.
type Stage struct {
	Options
	packages   []collect.Packages
	collectors []collect.Collector
}

// New makes the stage. Package managers and collectors are asked in the order
// given; their facts come in that order. At most 64 collectors are possible.
func New(o Options, packages []collect.Packages, collectors []collect.Collector) *Stage {
	return &Stage{Options: o, packages: packages, collectors: collectors}
}

// WorkspaceFS is what Entry.FS says of the workspace, when it lies below the
// source: it is no part of the host.
const WorkspaceFS = "statelift-workspace"

// Run makes the inventory of in.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, in handoff.Source) (_ handoff.Inventory, err error) {
	if len(s.collectors) > maxCollectors {
		return handoff.Inventory{}, fmt.Errorf("scan: %d collectors, at most %d are possible", len(s.collectors), maxCollectors)
	}
	root, err := rootfs.Open(in.Root)
	if err != nil {
		return handoff.Inventory{}, &pipeline.InputError{What: "source " + in.Spec, Err: err}
	}
	defer root.Close()
	w, err := catalog.Create(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return handoff.Inventory{}, err
	}
	defer w.Abort()
	r := &run{Stage: s, root: root, out: w, progress: env.Progress, sum: newSummary(), wanted: make([][]hostpath.Path, len(s.collectors))}
	if err := r.loadPackages(ctx); err != nil {
		return handoff.Inventory{}, fmt.Errorf("scan: %w", err)
	}
	env.Progress.Begin("scan", "entries", 0)
	err = r.walk(ctx, env.Workspace)
	env.Progress.End()
	if err != nil {
		return handoff.Inventory{}, fmt.Errorf("scan: %w", err)
	}
	if err := r.collect(ctx); err != nil {
		return handoff.Inventory{}, fmt.Errorf("scan: %w", err)
	}
	digest, err := w.Commit(ctx)
	if err != nil {
		return handoff.Inventory{}, err
	}
	return r.sum.inventory(ctx, digest, env.Workspace.Path(workspace.Inventory))
}

// maxCollectors is the number of bits in walk.Note.Marks.
const maxCollectors = 64

// run is one scan.
type run struct {
	*Stage
	root     *rootfs.Root
	out      *catalog.Writer
	progress pipeline.Progress
	sum      *summary
	indexes  []collect.Index
	wanted   [][]hostpath.Path // by collector
	refused  []int             // paths over the limit, by collector
}

func (r *run) loadPackages(ctx context.Context) error {
	for _, p := range r.packages {
		x, err := p.Load(ctx, r.root, func(f collect.Found) error { return r.fact(ctx, f) })
		if errors.Is(err, pipeline.ErrDeclined) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name(), err)
		}
		r.indexes = append(r.indexes, x)
	}
	return nil
}

// walk lists the source.
func (r *run) walk(ctx context.Context, ws workspace.Workspace) error {
	table, err := mountTable(r.root)
	if err != nil {
		// Without /proc, another file system is known by its device number.
		if err := r.fact(ctx, collect.Problem("mounts", facts.Source{}, err.Error())); err != nil {
			return err
		}
	}
	compare := newComparer(r.indexes)
	defer compare.close()
	r.refused = make([]int, len(r.collectors))
	err = walk.Walk(ctx, walk.Options{
		Root: r.root, Mounts: table, Workers: cmp.Or(r.Workers, max(lanes, runtime.GOMAXPROCS(0))), Prune: prune(ws),
		Inspect: func(ctx context.Context, dir *os.File, it *walk.Item) walk.Inspector {
			for i, c := range r.collectors {
				if c.Wants(it.Path, it.Type) {
					it.Note.Marks |= 1 << i
				}
			}
			return compare.inspect(ctx, dir, it)
		},
		Vanished: func(p hostpath.Path, why string) error {
			return r.fact(ctx, collect.Problem("walk", facts.Source{Path: p}, why))
		},
	}, func(it *walk.Item) error { return r.visit(ctx, it) })
	if err != nil {
		return err
	}
	for i, n := range r.refused {
		if n > 0 {
			what := fmt.Sprintf("%d more files of this kind than the %d that are read", n, maxWanted)
			if err := r.fact(ctx, collect.Problem(r.collectors[i].Name(), facts.Source{}, what)); err != nil {
				return err
			}
		}
	}
	r.progress.Add(r.sum.Entries % progressStep)
	return nil
}

func mountTable(root *rootfs.Root) (mounts.Table, error) {
	dir, err := root.OpenDir(hostpath.Root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return mounts.Read(dir)
}

// prune recognises the workspace by its inode, whatever path leads to it.
func prune(ws workspace.Workspace) func(tree.Entry) string {
	var st unix.Stat_t
	if err := unix.Stat(ws.Dir, &st); err != nil {
		return nil
	}
	return func(e tree.Entry) string {
		if e.Dev == st.Dev && e.Ino == st.Ino {
			return WorkspaceFS
		}
		return ""
	}
}

const (
	maxWanted    = 100_000 // paths that one collector gets
	progressStep = 1024
)

// visit stores one path.
func (r *run) visit(ctx context.Context, it *walk.Item) error {
	e := catalog.Entry{Entry: it.Entry, Package: it.Note.Package, State: catalog.State(it.Note.State), Problem: it.Problem, FS: it.FS}
	if it.FS == WorkspaceFS || it.Mount != nil && it.Mount.Virtual {
		settle(&e.Entry)
	}
	if err := r.out.Add(ctx, e); err != nil {
		return err
	}
	r.sum.add(e)
	if r.sum.Entries%progressStep == 0 {
		r.progress.Add(progressStep)
	}
	for i := range r.collectors {
		switch {
		case it.Note.Marks&(1<<i) == 0:
		case len(r.wanted[i]) >= maxWanted:
			r.refused[i]++
		default:
			r.wanted[i] = append(r.wanted[i], it.Path)
		}
	}
	if it.Mount == nil {
		return nil
	}
	return r.fact(ctx, collect.Found{Kind: facts.KindMount, Name: it.Path.String(), Data: *it.Mount})
}

// settle removes what changes by itself from an entry whose content is no part
// of the host: the time of /proc, the number of its processes.
func settle(e *tree.Entry) {
	*e = tree.Entry{Path: e.Path, Type: e.Type, Mode: e.Mode, UID: e.UID, GID: e.GID}
}

// collect lets the collectors read what they wanted.
func (r *run) collect(ctx context.Context) error {
	for i, c := range r.collectors {
		var failed error
		err := c.Collect(ctx, r.root, r.wanted[i], func(f collect.Found) error {
			failed = r.fact(ctx, f)
			return failed
		})
		r.wanted[i] = nil
		switch {
		case failed != nil:
			return failed
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if err := r.fact(ctx, collect.Problem(c.Name(), facts.Source{}, err.Error())); err != nil {
				return err
			}
		}
	}
	return nil
}

// fact stores a fact, with the owner of the file that it was read from.
func (r *run) fact(ctx context.Context, f collect.Found) error {
	owner := func(name string, p hostpath.Path) string {
		if name == "" && p != "" {
			for _, x := range r.indexes {
				if o, ok := x.Owner(p); ok {
					return o.Package
				}
			}
		}
		return name
	}
	switch d := f.Data.(type) {
	case facts.Unit:
		d.Package = owner(d.Package, d.Path)
		f.Data = d
	case facts.Script:
		d.Package = owner(d.Package, d.Path)
		f.Data = d
	case facts.Cron:
		d.Package = owner(d.Package, f.Source.Path)
		f.Data = d
	case facts.Tmpfile:
		d.Package = owner(d.Package, f.Source.Path)
		f.Data = d
	}
	if !utf8.ValidString(f.Name) {
		f.Name = hostpath.Quote(f.Name)
	}
	r.sum.fact(f)
	return r.out.AddFact(ctx, f.Kind, f.Name, f.Source, f.Data)
}
