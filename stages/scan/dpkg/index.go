package dpkg

import (
	"cmp"
	"crypto"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/stages/scan/collect"
)

// index tells the owner of every path that packages shipped. It is sorted and
// holds all paths in one piece of memory and all sums in another: about 20 bytes
// for a path, plus its own bytes (some 50), plus 16 where it has a sum. The
// 40,000 paths of a small server take 3 MiB.
type index struct {
	names   []string // of packages
	arena   string
	records []record
	sums    [][md5Size]byte
}

const md5Size = 16

type record struct {
	offset uint32
	length uint16
	flags  flags
	owner  uint32 // of names
	sum    int32  // of sums, noSum for none
}

const noSum = -1

type flags uint8

const (
	shipped  flags = 1 << iota // in the package's list
	conffile                   // in its conffiles
)

func (x *index) path(r record) string { return x.arena[r.offset : r.offset+uint32(r.length)] }

// Owner implements collect.Index.
func (x *index) Owner(p hostpath.Path) (collect.Owned, bool) {
	i, ok := slices.BinarySearchFunc(x.records, string(p), func(r record, p string) int {
		return strings.Compare(x.path(r), p)
	})
	if !ok {
		return collect.Owned{}, false
	}
	r := x.records[i]
	o := collect.Owned{Package: x.names[r.owner], Conffile: r.flags&conffile != 0}
	if r.sum != noSum {
		o.Hash, o.Sum = crypto.MD5, string(x.sums[r.sum][:])
	}
	return o, true
}

// builder collects what the files of the database say, in any order.
type builder struct {
	index
	arena   []byte
	aliases []alias
	diverts map[string]diverted
}

// alias is a directory of the top level that is a symlink: since the merge of
// /usr, packages list /bin/ls where the disk has /usr/bin/ls.
type alias struct{ from, to string }

// diverted says where dpkg puts a path of all packages but one.
type diverted struct {
	to     string
	except string // the package that diverted; "" when the administrator did
}

var errTooMany = errors.New("too many paths")

// addPackage gives the number of a package.
func (b *builder) addPackage(name string) uint32 {
	b.names = append(b.names, name)
	return uint32(len(b.names) - 1)
}

// add notes a path of a package as a file of the database spells it.
func (b *builder) add(owner uint32, pkg, p string, f flags, sum *[md5Size]byte) error {
	p = b.place(pkg, p)
	if len(b.arena)+len(p) > math.MaxUint32 || len(b.sums) >= math.MaxInt32 {
		return errTooMany
	}
	if len(p) > math.MaxUint16 {
		return errors.New("a path of more than 65535 bytes")
	}
	r := record{offset: uint32(len(b.arena)), length: uint16(len(p)), flags: f, owner: owner, sum: noSum}
	b.arena = append(b.arena, p...)
	if sum != nil {
		r.sum = int32(len(b.sums))
		b.sums = append(b.sums, *sum)
	}
	b.records = append(b.records, r)
	return nil
}

// place is where a path of the package is on the disk.
func (b *builder) place(pkg, p string) string {
	if d, ok := b.diverts[p]; ok && d.except != pkg {
		p = d.to
	}
	for _, a := range b.aliases {
		if strings.HasPrefix(p, a.from) && len(p) > len(a.from) && p[len(a.from)] == '/' {
			return a.to + p[len(a.from):]
		}
	}
	return p
}

// finish sorts, joins what was said about the same path, and lets the first
// package own what several list, which are directories mostly.
func (b *builder) finish() *index {
	x := &b.index
	x.arena = string(b.arena)
	b.arena = nil
	slices.SortFunc(x.records, func(r, s record) int {
		return cmp.Or(strings.Compare(x.path(r), x.path(s)), cmp.Compare(r.owner, s.owner))
	})
	kept := x.records[:0]
	for i := 0; i < len(x.records); {
		r := x.records[i]
		for i++; i < len(x.records) && x.records[i].owner == r.owner && x.path(x.records[i]) == x.path(r); i++ {
			r.flags |= x.records[i].flags
			// The sum of a conffile is the one in the status file.
			if s := x.records[i]; r.sum == noSum || s.sum != noSum && s.flags&conffile != 0 {
				r.sum = s.sum
			}
		}
		// A sum alone owns nothing: the file went to another package, which
		// replaces this one's.
		if r.flags == 0 {
			continue
		}
		if n := len(kept); n > 0 && x.path(kept[n-1]) == x.path(r) {
			continue
		}
		kept = append(kept, r)
	}
	x.records = slices.Clip(kept)
	return x
}

// parseSum reads an MD5 sum in hexadecimal.
func parseSum(s string) (sum [md5Size]byte, ok bool) {
	if len(s) != 2*md5Size {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(s))
	return sum, err == nil
}
