package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

// Reader reads one table of a database. It is safe for concurrent use. It sees
// the file alone, so the table must not change while the log of SQLite holds
// pages of it.
type Reader struct {
	in     io.ReaderAt
	root   uint32
	size   int // of a page
	usable int

	mu    sync.Mutex
	cache [cachePages]struct {
		number uint32
		data   []byte
	}
}

// cachePages are kept for what is looked up again and again.
const cachePages = 256

// maxDepth is more than a table of 2^63 rows has.
const maxDepth = 20

// maxPayload is the longest row that is read, in bytes.
const maxPayload = 1 << 28

// NewReader reads the table with this root page (the column rootpage of
// sqlite_schema).
func NewReader(in io.ReaderAt, root int64) (*Reader, error) {
	var head [fileHeader]byte
	if _, err := in.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(head[16:]))
	if size == 1 {
		size = 65536
	}
	usable := size - int(head[20])
	if string(head[:16]) != magic || size < 512 || size&(size-1) != 0 || usable < 480 || root < 1 || root >= 1<<32 {
		return nil, ErrMalformed
	}
	return &Reader{in: in, root: uint32(root), size: size, usable: usable}, nil
}

// read reads a page into buf, or a new one.
func (r *Reader) read(n uint32, buf []byte) ([]byte, error) {
	if n == 0 {
		return nil, ErrMalformed
	}
	if buf == nil {
		buf = make([]byte, r.size)
	}
	if _, err := r.in.ReadAt(buf, int64(n-1)*int64(r.size)); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("page %d: %w", n, ErrMalformed)
		}
		return nil, err
	}
	return buf, nil
}

// cached reads a page that is not to be changed.
func (r *Reader) cached(n uint32) ([]byte, error) {
	slot := &r.cache[n%cachePages]
	r.mu.Lock()
	number, data := slot.number, slot.data
	r.mu.Unlock()
	if number == n && data != nil {
		return data, nil
	}
	data, err := r.read(n, nil)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	slot.number, slot.data = n, data
	r.mu.Unlock()
	return data, nil
}

// node is one page of a table.
type node struct {
	data  []byte
	start int // of the page's header
	cells int
	leaf  bool
}

func (r *Reader) node(n uint32, data []byte) (node, error) {
	d := node{data: data}
	if n == 1 {
		d.start = fileHeader
	}
	header := interiorHeader
	switch data[d.start] {
	case leafPage:
		d.leaf, header = true, leafHeader
	case interiorPage:
	default:
		return d, fmt.Errorf("page %d: %w", n, ErrMalformed)
	}
	d.cells = int(binary.BigEndian.Uint16(data[d.start+3:]))
	if d.start+header+2*d.cells > r.usable {
		return d, fmt.Errorf("page %d: %w", n, ErrMalformed)
	}
	return d, nil
}

// cell is the bytes from the beginning of a cell on.
func (d node) cell(i, usable int) []byte {
	header := interiorHeader
	if d.leaf {
		header = leafHeader
	}
	at := int(binary.BigEndian.Uint16(d.data[d.start+header+2*i:]))
	if at >= usable {
		return nil
	}
	return d.data[at:usable]
}

// key is the row number of a cell.
func (d node) key(i, usable int) (id int64, err error) {
	b := d.cell(i, usable)
	if d.leaf {
		_, n := varint(b)
		b = b[n:]
	} else if len(b) > 4 {
		b = b[4:]
	} else {
		return 0, ErrMalformed
	}
	v, n := varint(b)
	if n == 0 {
		return 0, ErrMalformed
	}
	return int64(v), nil
}

// child is the page below an interior one.
func (d node) child(i, usable int) (uint32, error) {
	if i == d.cells {
		return binary.BigEndian.Uint32(d.data[d.start+8:]), nil
	}
	b := d.cell(i, usable)
	if len(b) < 4 {
		return 0, ErrMalformed
	}
	return binary.BigEndian.Uint32(b), nil
}

// search is the first cell whose row is id or higher.
func (d node) search(id int64, usable int) (int, error) {
	from, to := 0, d.cells
	for from < to {
		mid := (from + to) / 2
		key, err := d.key(mid, usable)
		if err != nil {
			return 0, err
		}
		if key < id {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from, nil
}

// Cursor moves over the rows of a table in their order. It is for one goroutine.
type Cursor struct {
	r       *Reader
	path    []step // interior pages, and the next child of each
	leaf    node
	next    int
	buf     []byte // of the leaf, when the cursor came to it by moving on
	payload []byte // of a row that did not fit into its leaf
	ID      int64  // of the row that Next went to
	Record  Record
	err     error
}

type step struct {
	node
	next int
}

// From makes a cursor in front of the first row of this number or higher.
func (r *Reader) From(id int64) *Cursor {
	c := &Cursor{r: r, ID: math.MinInt64}
	n := r.root
	for len(c.path) < maxDepth {
		data, err := r.cached(n)
		if err != nil {
			return c.fail(err)
		}
		d, err := r.node(n, data)
		if err != nil {
			return c.fail(err)
		}
		i, err := d.search(id, r.usable)
		if err != nil {
			return c.fail(err)
		}
		if d.leaf {
			c.leaf, c.next = d, i
			return c
		}
		if n, err = d.child(i, r.usable); err != nil {
			return c.fail(err)
		}
		c.path = append(c.path, step{d, i + 1})
	}
	return c.fail(ErrMalformed)
}

func (c *Cursor) fail(err error) *Cursor {
	c.err = err
	return c
}

// Err is what ended Next, other than the end of the table.
func (c *Cursor) Err() error { return c.err }

// Next goes to the next row, whose ID and Record it sets.
func (c *Cursor) Next() bool {
	for c.err == nil && c.next >= c.leaf.cells {
		if len(c.path) == 0 {
			return false
		}
		c.err = c.forward()
	}
	if c.err != nil {
		return false
	}
	c.err = c.row(c.leaf.cell(c.next, c.r.usable))
	c.next++
	return c.err == nil
}

// forward goes to the next leaf, or ends with an empty path.
func (c *Cursor) forward() error {
	for len(c.path) > 0 {
		top := &c.path[len(c.path)-1]
		if top.next > top.cells {
			c.path = c.path[:len(c.path)-1]
			continue
		}
		n, err := top.child(top.next, c.r.usable)
		if err != nil {
			return err
		}
		top.next++
		if c.buf, err = c.r.read(n, c.buf); err != nil {
			return err
		}
		d, err := c.r.node(n, c.buf)
		if err != nil {
			return err
		}
		if d.leaf && d.cells == 0 {
			return ErrMalformed
		}
		if d.leaf {
			c.leaf, c.next = d, 0
			return nil
		}
		if len(c.path) == maxDepth {
			return ErrMalformed
		}
		c.path = append(c.path, step{d, 0})
		c.buf = nil
	}
	c.leaf = node{}
	return nil
}

// row decodes a cell of a leaf (section 1.6).
func (c *Cursor) row(b []byte) error {
	size, n := varint(b)
	if n == 0 || size > maxPayload {
		return ErrMalformed
	}
	id, m := varint(b[n:])
	if m == 0 || int64(id) <= c.ID {
		return ErrMalformed // also where pages form a ring
	}
	b = b[n+m:]
	c.ID = int64(id)
	local := localSize(int(size), c.r.usable)
	if local > len(b) {
		return ErrMalformed
	}
	if local == int(size) {
		c.Record = newRecord(b[:local])
		return c.Record.err
	}
	if len(b) < local+4 {
		return ErrMalformed
	}
	c.payload = append(c.payload[:0], b[:local]...)
	if err := c.overflow(binary.BigEndian.Uint32(b[local:]), int(size)-local); err != nil {
		return err
	}
	c.Record = newRecord(c.payload)
	return c.Record.err
}

// overflow appends what is in the chain of pages from n on.
func (c *Cursor) overflow(n uint32, rest int) error {
	var page []byte
	for rest > 0 {
		var err error
		if page, err = c.r.read(n, page); err != nil {
			return err
		}
		part := min(rest, c.r.usable-4)
		c.payload = append(c.payload, page[4:4+part]...)
		rest -= part
		n = binary.BigEndian.Uint32(page)
	}
	return nil
}
