package pages

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	pageSize   = 8192
	fileHeader = 100 // on the first page (section 1.3)
	// lockPage is the page that SQLite locks and never uses (section 1.4).
	lockPage = 0x40000000/pageSize + 1

	leafPage, interiorPage     = 0x0d, 0x05 // of tables (section 1.6)
	leafHeader, interiorHeader = 8, 12
)

// Output is where a database is written: an empty file.
type Output interface {
	io.Writer
	io.WriterAt
}

// Writer makes a new database of tables. It is for one goroutine. Its memory does
// not grow with the rows.
type Writer struct {
	out    Output
	buf    *bufio.Writer
	next   uint32 // number of the page that is written next
	tables []*Table
}

// NewWriter begins a database. The caller closes out after Finish.
func NewWriter(out Output) (*Writer, error) {
	w := &Writer{out: out, buf: bufio.NewWriterSize(out, 1<<20), next: 1}
	_, err := w.page(make([]byte, pageSize)) // the first one is written at the end
	return w, err
}

// page writes one page, and tells its number.
func (w *Writer) page(data []byte) (uint32, error) {
	if w.next == lockPage {
		if _, err := w.buf.Write(make([]byte, pageSize)); err != nil {
			return 0, err
		}
		w.next++
	}
	if w.next == 1<<32-2 {
		return 0, errors.New("too many pages for a database")
	}
	n := w.next
	w.next++
	_, err := w.buf.Write(data)
	return n, err
}

// Table is one table that is filled. Several can be filled at the same time.
type Table struct {
	w         *Writer
	name, sql string
	last      int64
	leaf      []byte
	cells     int
	top       int       // where the cells begin, which grow down
	orphans   [][]child // by level, from the leaves up: the pages that have none above them yet
	payload   []byte
}

// child is a page that is written, and the highest row below it.
type child struct {
	page uint32
	last int64
}

// Table begins a table; sql is the statement that would create it. It has no
// WITHOUT ROWID and no indexes, and with them no UNIQUE and no PRIMARY KEY other
// than INTEGER PRIMARY KEY, which is a column that is given as NULL.
func (w *Writer) Table(name, sql string) *Table {
	t := &Table{w: w, name: name, sql: sql, leaf: make([]byte, pageSize), top: pageSize}
	w.tables = append(w.tables, t)
	return t
}

// Append adds a row under its number, which is higher than those before. It
// returns the encoded row, which tells rows apart and is valid until the next
// call.
func (t *Table) Append(id int64, r *Row) ([]byte, error) {
	if (t.orphans != nil || t.cells > 0) && id <= t.last {
		return nil, fmt.Errorf("row %d after row %d", id, t.last)
	}
	t.payload = r.payload(t.payload[:0])
	local := localSize(len(t.payload), pageSize)
	size := varintLen(uint64(len(t.payload))) + varintLen(uint64(id)) + local
	if local < len(t.payload) {
		size += 4
	}
	if leafHeader+2*(t.cells+1)+size > t.top {
		if err := t.flush(); err != nil {
			return nil, err
		}
	}
	t.last = id
	t.top -= size
	cell := appendVarint(t.leaf[t.top:t.top], uint64(len(t.payload)))
	cell = appendVarint(cell, uint64(id))
	cell = append(cell, t.payload[:local]...)
	if local < len(t.payload) {
		first, err := t.w.overflow(t.payload[local:])
		if err != nil {
			return nil, err
		}
		binary.BigEndian.AppendUint32(cell, first)
	}
	binary.BigEndian.PutUint16(t.leaf[leafHeader+2*t.cells:], uint16(t.top))
	t.cells++
	return t.payload, nil
}

// localSize is how much of a payload is in the leaf itself (section 1.6).
func localSize(payload, usable int) int {
	if payload <= usable-35 {
		return payload
	}
	least := (usable-12)*32/255 - 23
	if k := least + (payload-least)%(usable-4); k <= usable-35 {
		return k
	}
	return least
}

// overflow writes the rest of a payload into a chain of pages.
func (w *Writer) overflow(rest []byte) (first uint32, err error) {
	for len(rest) > 0 {
		page := make([]byte, pageSize)
		n := copy(page[4:], rest)
		if rest = rest[n:]; len(rest) > 0 {
			next := w.next + 1
			if w.next == lockPage || next == lockPage {
				next++
			}
			binary.BigEndian.PutUint32(page, next)
		}
		at, err := w.page(page)
		if err != nil {
			return 0, err
		}
		if first == 0 {
			first = at
		}
	}
	return first, nil
}

// flush writes the leaf.
func (t *Table) flush() error {
	t.leaf[0] = leafPage
	binary.BigEndian.PutUint16(t.leaf[3:], uint16(t.cells))
	binary.BigEndian.PutUint16(t.leaf[5:], uint16(t.top))
	n, err := t.w.page(t.leaf)
	if err != nil {
		return err
	}
	last := t.last
	clear(t.leaf)
	t.cells, t.top = 0, pageSize
	return t.add(0, child{n, last})
}

// most children of a page: a cell takes at most 2 bytes of pointer, 4 of page
// and 9 of row.
const most = (pageSize-interiorHeader)/15 + 1

// add puts a page to those of its level. When there are enough for two pages above
// them, one is written: so the last one of a level is never of a single child.
func (t *Table) add(level int, c child) error {
	if level == len(t.orphans) {
		t.orphans = append(t.orphans, nil)
	}
	t.orphans[level] = append(t.orphans[level], c)
	if len(t.orphans[level]) < 2*most {
		return nil
	}
	above, err := t.w.interior(t.orphans[level][:most])
	if err != nil {
		return err
	}
	t.orphans[level] = append(t.orphans[level][:0], t.orphans[level][most:]...)
	return t.add(level+1, above)
}

// finish writes the pages that are left, from the leaves up, and tells the root.
func (t *Table) finish() (root uint32, err error) {
	if t.cells > 0 || t.orphans == nil {
		if err := t.flush(); err != nil {
			return 0, err
		}
	}
	for level := 0; ; level++ {
		left := t.orphans[level]
		if level == len(t.orphans)-1 && len(left) == 1 {
			return left[0].page, nil
		}
		pages := (len(left) + most - 1) / most
		for i := range pages {
			c, err := t.w.interior(left[i*len(left)/pages : (i+1)*len(left)/pages])
			if err != nil {
				return 0, err
			}
			if err := t.add(level+1, c); err != nil {
				return 0, err
			}
		}
	}
}

func (w *Writer) interior(children []child) (child, error) {
	page, top := make([]byte, pageSize), pageSize
	right := children[len(children)-1]
	for i, c := range children[:len(children)-1] {
		top -= 4 + varintLen(uint64(c.last))
		appendVarint(binary.BigEndian.AppendUint32(page[top:top], c.page), uint64(c.last))
		binary.BigEndian.PutUint16(page[interiorHeader+2*i:], uint16(top))
	}
	page[0] = interiorPage
	binary.BigEndian.PutUint16(page[3:], uint16(len(children)-1))
	binary.BigEndian.PutUint16(page[5:], uint16(top))
	binary.BigEndian.PutUint32(page[8:], right.page)
	n, err := w.page(page)
	return child{n, right.last}, err
}

// Finish completes the database; version is its user_version.
func (w *Writer) Finish(version uint32) error {
	first := make([]byte, pageSize)
	top := pageSize
	for i, t := range w.tables {
		root, err := t.finish()
		if err != nil {
			return err
		}
		var r Row
		r.Text("table")
		r.Text(t.name)
		r.Text(t.name)
		r.Int(int64(root))
		r.Text(t.sql)
		p := r.payload(nil)
		cell := append(appendVarint(appendVarint(nil, uint64(len(p))), uint64(i+1)), p...)
		if top -= len(cell); len(p) > pageSize-35 || top < fileHeader+leafHeader+2*len(w.tables) {
			return errors.New("the statements of the tables are too long for one page")
		}
		copy(first[top:], cell)
		binary.BigEndian.PutUint16(first[fileHeader+leafHeader+2*i:], uint16(top))
	}
	first[fileHeader] = leafPage
	binary.BigEndian.PutUint16(first[fileHeader+3:], uint16(len(w.tables)))
	binary.BigEndian.PutUint16(first[fileHeader+5:], uint16(top))
	w.header(first, version)
	if err := w.buf.Flush(); err != nil {
		return err
	}
	_, err := w.out.WriteAt(first, 0)
	return err
}

// header fills in the database header (section 1.3).
func (w *Writer) header(b []byte, version uint32) {
	copy(b, magic)
	binary.BigEndian.PutUint16(b[16:], pageSize)
	b[18], b[19] = 1, 1 // no write-ahead log
	b[21], b[22], b[23] = 64, 32, 32
	for at, v := range map[int]uint32{
		24: 1, // change counter
		28: w.next - 1,
		40: 1, // schema cookie
		44: 4, // schema format, with 0 and 1 as serial types
		56: 1, // UTF-8
		60: version,
		92: 1, // the change counter for which the size above is valid
		96: 3046000,
	} {
		binary.BigEndian.PutUint32(b[at:], v)
	}
}

const magic = "SQLite format 3\x00"
