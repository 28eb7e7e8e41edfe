package copier

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/seed"
)

// Shard is one of several shares of a copy: Index counts from 0. The zero value
// is the whole copy.
type Shard struct {
	Index, Of int
}

// MaxShards bounds how many shards a copy has.
const MaxShards = 1024

// ParseShard reads I/N, with I from 0 to N-1.
func ParseShard(text string) (Shard, error) {
	i, n, ok := strings.Cut(text, "/")
	index, err1 := strconv.Atoi(i)
	of, err2 := strconv.Atoi(n)
	if !ok || err1 != nil || err2 != nil || of < 1 || of > MaxShards || index < 0 || index >= of {
		return Shard{}, fmt.Errorf("%.40q is no shard I/N, with I from 0 to N-1 and N at most %d", text, MaxShards)
	}
	return Shard{Index: index, Of: of}, nil
}

// String is I/N.
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Of) }

func (s Shard) whole() bool { return s.Of == 0 }

func (s Shard) suffix() string { return fmt.Sprintf("-%d-of-%d", s.Index, s.Of) }

// share deals the pieces of a copy to its shards. All shards see the same
// pieces in the same order, so each knows which are its own.
type share struct {
	Shard
	load []int64 // of each shard until now
}

func newShare(s Shard) share { return share{Shard: s, load: make([]int64, s.Of)} }

// mine deals one piece to the shard with the least work, and reports whether
// that is this one.
func (s *share) mine(weight int64) bool {
	if s.whole() {
		return true
	}
	least := 0
	for i, load := range s.load {
		if load < s.load[least] {
			least = i
		}
	}
	s.load[least] += weight
	return least == s.Index
}

// parts deals the parts of a large file. mine is nil when none is this shard's;
// shared says that another one has some.
func (s *share) parts(l *seed.Large, sparse bool) (mine []bool, shared bool) {
	mine = make([]bool, len(l.Parts))
	if s.whole() {
		for k := range mine {
			mine[k] = true
		}
		return mine, false
	}
	some := false
	for k, p := range l.Parts {
		switch {
		case k > 0 && p.Digest == "" && sparse:
			mine[k] = mine[k-1] // no work
		default:
			mine[k] = s.mine(p.Raw)
		}
		some = some || mine[k]
		shared = shared || !mine[k]
	}
	if !some {
		return nil, true
	}
	return mine, shared
}

// perFile is what making one file takes, in bytes of content that could be
// written meanwhile (measured: some 30 µs).
const perFile = 32 << 10

// weigh says how much work is in a unit without its large files.
func weigh(u *seed.Filled) int64 {
	w := perFile * int64(len(u.Records)-len(u.Large))
	if u.Pack != nil {
		w += u.Pack.Raw
	}
	return w
}
