package listeners

import (
	"context"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

// Watch gives the collectors with one more behind them, which emits the
// listeners that follow from the facts of the others. The list serves one scan
// at a time.
func Watch(list []collect.Collector) []collect.Collector {
	last := &collector{}
	out := make([]collect.Collector, 0, len(list)+1)
	for _, c := range list {
		out = append(out, watched{Collector: c, to: last})
	}
	return append(out, last)
}

// watched passes the facts of a collector on, and keeps those that count.
type watched struct {
	collect.Collector
	to *collector
}

func (w watched) Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	return w.Collector.Collect(ctx, r, paths, func(f collect.Found) error {
		if err := emit(f); err != nil {
			return err
		}
		switch d := f.Data.(type) {
		case facts.Unit:
			w.to.units = append(w.to.units, d)
		case facts.Setting:
			w.to.settings = append(w.to.settings, d)
		case facts.Script:
			w.to.scripts = append(w.to.scripts, d)
		}
		return nil
	})
}

// collector emits what Derive and the command lines say.
type collector struct {
	units    []facts.Unit
	settings []facts.Setting
	scripts  []facts.Script
}

// Name implements collect.Collector.
func (*collector) Name() string { return "listeners" }

// Wants implements collect.Collector.
func (*collector) Wants(hostpath.Path, tree.Type) bool { return false }

// Collect implements collect.Collector.
func (c *collector) Collect(ctx context.Context, r *rootfs.Root, _ []hostpath.Path, emit collect.Emit) error {
	d := &deriver{}
	for _, l := range Derive(c.settings, c.units) {
		d.add(l)
	}
	err := d.ofServices(ctx, r, c.units, c.scripts)
	*c = collector{}
	if err != nil {
		return err
	}
	for _, l := range d.out {
		if err := emit(collect.Found{Kind: facts.KindListener, Name: String(l), Source: l.Source, Data: l}); err != nil {
			return err
		}
	}
	return nil
}
