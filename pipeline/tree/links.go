package tree

import (
	"sync"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Links finds the hard links of one tree. It remembers an inode from its first
// path to its last one (Nlink), so a tree without hard links costs nothing. It
// is safe for concurrent use; the zero Links is ready.
type Links struct {
	mu     sync.Mutex
	groups map[inode]*Inode
}

type inode struct{ dev, ino uint64 }

// Inode is what several paths share.
type Inode struct {
	// First is the first path in the order of the listing, "" until it was seen.
	First hostpath.Path

	left uint32
	once sync.Once
	sum  [32]byte
	err  error
}

// Of returns the inode of e, or nil when e is its only path or a directory.
func (l *Links) Of(e Entry) *Inode {
	if e.Nlink < 2 || e.Type == Directory {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groups == nil {
		l.groups = make(map[inode]*Inode)
	}
	key := inode{e.Dev, e.Ino}
	g := l.groups[key]
	if g == nil {
		g = &Inode{left: e.Nlink}
		l.groups[key] = g
	}
	return g
}

// Seen is called once for each path in the order of the listing, and returns
// the first path of its inode, or "" when e is it.
func (l *Links) Seen(e Entry) hostpath.Path {
	g := l.Of(e)
	if g == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	first := g.First
	if first == "" {
		g.First = e.Path
	}
	if g.left--; g.left == 0 {
		delete(l.groups, inode{e.Dev, e.Ino})
	}
	return first
}

// Sum computes the sum of the content once for all paths.
func (g *Inode) Sum(compute func() ([32]byte, error)) ([32]byte, error) {
	g.once.Do(func() { g.sum, g.err = compute() })
	return g.sum, g.err
}
