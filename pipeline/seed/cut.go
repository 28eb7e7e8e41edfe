package seed

import (
	"sync"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// unit is a run of records that are packed together, and what became of it.
type unit struct {
	records []tree.Record
	large   []int // indices of the large files
	bytes   int64 // of the files that are packed
	done    sync.WaitGroup

	// Filled by the workers, each at its own records; all but pack are by record.
	pack   *Packed
	failed []error
	sums   [][32]byte
	sparse []bool
	parts  [][]Part
	blocks [][]byte // of large files: see [Options.Taken]
}

// small reports whether the content of record i is in the pack.
func (u *unit) small(i int, l Limits) bool {
	r := &u.records[i]
	return r.Type == tree.Regular && r.Link == "" && r.Size < l.LargeFrom
}

// seal makes room for the results.
func (u *unit) seal() {
	n := len(u.records)
	u.failed, u.sums, u.sparse, u.parts = make([]error, n), make([][32]byte, n), make([]bool, n), make([][]Part, n)
	u.blocks = make([][]byte, n)
}

// cutter collects records to units. Where it cuts depends on the records since
// the last cut only, and prefers records that a hash picks, so that after a
// change the cuts soon fall where they fell before.
type cutter struct {
	limits  Limits
	current *unit
}

// add takes a record and returns a unit when one is full.
func (c *cutter) add(r tree.Record) *unit {
	if c.current == nil {
		c.current = &unit{}
	}
	u := c.current
	u.records = append(u.records, r)
	i := len(u.records) - 1
	weight := int64(1024) // what a header takes, more or less
	switch {
	case u.small(i, c.limits):
		u.bytes += r.Size
		weight += r.Size
	case r.Type == tree.Regular && r.Link == "":
		u.large = append(u.large, i)
	}
	n := len(u.records)
	enough := u.bytes >= c.limits.PackBytes || n >= c.limits.PackPaths
	full := u.bytes >= 3*c.limits.PackBytes || n >= 4*c.limits.PackPaths || n >= maxRecords
	if full || enough && picked(r.Path, weight, c.limits.PackBytes/2) {
		return c.rest()
	}
	return nil
}

// rest returns what was collected, or nil.
func (c *cutter) rest() *unit {
	u := c.current
	c.current = nil
	if u != nil {
		u.seal()
	}
	return u
}

// picked is true for about one record in every so many bytes. The hash is FNV-1a
// of 64 bits.
func picked(p hostpath.Path, weight, every int64) bool {
	h := uint64(14695981039346656037)
	for i := range len(p) {
		h = (h ^ uint64(p[i])) * 1099511628211
	}
	h = (h ^ uint64(weight)) * 1099511628211
	h ^= h >> 32
	return int64(h>>1)%max(every, 1) < weight
}
