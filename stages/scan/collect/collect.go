// Package collect is the contract between the scan and those who read facts
// from a foreign root: collectors of configuration, and package databases.
package collect

import (
	"context"
	"crypto"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
)

// A Collector reads facts from a foreign root; the core walks, opens and
// closes. What it cannot read or understand it emits as a facts.Problem and
// goes on; an error from Collect is for what ends the whole scan: the error of
// emit, a cancelled context.
type Collector interface {
	// Name is one lower-case word; it is part of problems and of the scan's
	// freshness.
	Name() string
	// Wants is asked for every path of the walk, concurrently. It is cheap and
	// does no I/O.
	Wants(p hostpath.Path, t tree.Type) bool
	// Collect is called once after the walk with what was wanted, depth first
	// ([hostpath.Compare]). It reads through r only.
	//
	// The core fills in what only it knows: the Package of a Unit, Script, Cron
	// or Tmpfile by the owner of the file that it was read from, when the
	// collector leaves it empty.
	Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit Emit) error
}

// Emit hands over one fact. It is for one goroutine at a time.
type Emit func(Found) error

// Found is a fact with its kind, the name that it is looked up by, and where it
// was read. Data is the type of package facts that belongs to the kind.
type Found struct {
	Kind   facts.Kind
	Name   string
	Source facts.Source
	Data   any
}

// Problem is the Found for something that the collector could not read.
func Problem(collector string, src facts.Source, what string) Found {
	return Found{
		Kind: facts.KindProblem, Name: collector, Source: src,
		Data: facts.Problem{Collector: collector, What: what, Source: src},
	}
}

// Packages reads the database of a package manager, before the walk, so that
// files can be compared with what the package shipped while they are walked.
type Packages interface {
	Name() string
	// Load reads the database and emits its facts. The error wraps
	// pipeline.ErrDeclined when the host has no such database. What is broken in
	// one that is there is a facts.Problem.
	Load(ctx context.Context, r *rootfs.Root, emit Emit) (Index, error)
}

// Index tells which package owns a path. It is safe for concurrent use.
type Index interface {
	// Owner looks p up as the walk sees it, that is, with no symlink on the way.
	Owner(p hostpath.Path) (Owned, bool)
}

// Owned is what a package manager knows about a path.
type Owned struct {
	Package  string
	Conffile bool
	// Hash and Sum are the checksum that the package shipped, Sum raw; Sum is
	// empty when there is none.
	Hash crypto.Hash
	Sum  string
}
