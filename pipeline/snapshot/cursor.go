package snapshot

import (
	"fmt"
	"io"
	"os"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Cursor goes along the paths of a snapshot's file. It is for one goroutine.
type Cursor struct {
	file *os.File
	in   *Reader
	next *Item // read ahead; nil before the first and after the last
	over bool
}

// OpenFile opens a snapshot. The caller closes the cursor.
func OpenFile(name string) (*Cursor, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return &Cursor{file: f, in: NewReader(f)}, nil
}

// Close releases the file.
func (c *Cursor) Close() error { return c.file.Close() }

// Peek is the next item, nil after the last.
func (c *Cursor) Peek() (*Item, error) {
	if c.next == nil && !c.over {
		next, err := c.in.Next()
		if err == io.EOF {
			c.over = true
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.file.Name(), err)
		}
		c.next = next
	}
	return c.next, nil
}

// Skip moves on after a Peek.
func (c *Cursor) Skip() { c.next = nil }

// Take is Peek, and moves on.
func (c *Cursor) Take() (*Item, error) {
	i, err := c.Peek()
	c.next = nil
	return i, err
}

// UpTo moves on behind path p and returns its item, nil if there is none. Those
// before it that were not taken yet are told to before, which may be nil. For the
// path "" these are all the others.
func (c *Cursor) UpTo(p hostpath.Path, before func(*Item) error) (*Item, error) {
	for {
		i, err := c.Peek()
		if err != nil || i == nil {
			return nil, err
		}
		order := -1
		if p != "" {
			order = hostpath.Compare(i.path, p)
		}
		if order > 0 {
			return nil, nil
		}
		c.next = nil
		if order == 0 {
			return i, nil
		}
		if before != nil {
			if err := before(i); err != nil {
				return nil, err
			}
		}
	}
}

// Pairs goes along two snapshots at once, and calls each for every path that is
// in one of them, or in both; the other item is nil.
func Pairs(a, b string, each func(a, b *Item) error) error {
	ca, err := OpenFile(a)
	if err != nil {
		return err
	}
	defer ca.Close()
	cb, err := OpenFile(b)
	if err != nil {
		return err
	}
	defer cb.Close()
	for {
		ia, err := ca.Peek()
		if err != nil {
			return err
		}
		ib, err := cb.Peek()
		if err != nil {
			return err
		}
		if ia == nil && ib == nil {
			return nil
		}
		order := 0
		switch {
		case ia == nil:
			order = 1
		case ib == nil:
			order = -1
		default:
			order = hostpath.Compare(ia.path, ib.path)
		}
		if order <= 0 {
			ca.Skip()
		} else {
			ia = nil
		}
		if order >= 0 {
			cb.Skip()
		} else {
			ib = nil
		}
		if err := each(ia, ib); err != nil {
			return err
		}
	}
}

// Lines reads the listing that a snapshot's file holds, as text.
func Lines(name string) (io.ReadCloser, error) {
	c, err := OpenFile(name)
	if err != nil {
		return nil, err
	}
	return &lines{cursor: c}, nil
}

type lines struct {
	cursor *Cursor
	rest   []byte
}

func (l *lines) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		i, err := l.cursor.Take()
		if err != nil {
			return 0, err
		}
		if i == nil {
			return 0, io.EOF
		}
		l.rest = i.line
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *lines) Close() error { return l.cursor.Close() }
