package tree

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Totals sums up a listing.
type Totals struct {
	Digest  string // of the tree: SHA-256 in hexadecimal
	Entries int64
	Files   int64 // regular files, by path
	Bytes   int64 // logical sizes of regular files, a hard-linked inode once
}

// Writer writes a listing line by line. It is for one goroutine.
type Writer struct {
	out    *bufio.Writer
	sum    hash.Hash
	line   []byte
	order  order
	totals Totals
}

// NewWriter writes a listing to w.
func NewWriter(w io.Writer) *Writer {
	sum := sha256.New()
	return &Writer{out: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10), sum: sum}
}

// Add appends a line. Records come in the order of a listing.
func (w *Writer) Add(r Record) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("listing: %s: %w", r.Path, err)
	}
	if err := w.order.next(r); err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	w.totals.Entries++
	if r.Type == Regular {
		w.totals.Files++
		if r.Link == "" {
			w.totals.Bytes += r.Size
		}
	}
	w.line, _ = r.AppendText(w.line[:0])
	_, err := w.out.Write(w.line)
	return err
}

// Close flushes the last lines and sums up. It does not close the underlying
// writer.
func (w *Writer) Close() (Totals, error) {
	if err := w.out.Flush(); err != nil {
		return Totals{}, fmt.Errorf("listing: %w", err)
	}
	w.totals.Digest = hex.EncodeToString(w.sum.Sum(nil))
	return w.totals, nil
}

// Reader reads a listing line by line. It refuses what is not in order, has a
// path twice, or has a path whose parent is not a directory of the listing: who
// creates the paths one after the other never steps through a symlink. It is for
// one goroutine.
type Reader struct {
	in    *bufio.Scanner
	sum   hash.Hash
	order order
	count int64
}

// maxLine bounds a line: two paths and a target, four bytes for each of theirs
// at worst, and attributes as far as a file system stores them with an inode.
const maxLine = 4 << 20

// NewReader reads a listing from r.
func NewReader(r io.Reader) *Reader {
	sum := sha256.New()
	in := bufio.NewScanner(io.TeeReader(r, sum))
	in.Buffer(make([]byte, 64<<10), maxLine)
	in.Split(scanLine)
	return &Reader{in: in, sum: sum}
}

// Next reads a line. It returns io.EOF after the last one.
func (r *Reader) Next() (Record, error) {
	if !r.in.Scan() {
		if err := r.in.Err(); err != nil {
			return Record{}, fmt.Errorf("listing: after line %d: %w", r.count, err)
		}
		return Record{}, io.EOF
	}
	r.count++
	var rec Record
	if err := rec.UnmarshalText(r.in.Bytes()); err != nil {
		return Record{}, fmt.Errorf("listing: line %d: %w", r.count, err)
	}
	if err := r.order.next(rec); err != nil {
		return Record{}, fmt.Errorf("listing: line %d: %w", r.count, err)
	}
	return rec, nil
}

// Digest is the tree's digest in hexadecimal, after Next returned io.EOF.
func (r *Reader) Digest() string { return hex.EncodeToString(r.sum.Sum(nil)) }

// scanLine is bufio.ScanLines, but keeps \r, and fails when the last line has no
// newline: the listing was cut off.
func scanLine(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

// Order checks paths as a [Reader] checks those of its records. The zero Order is
// ready.
type Order struct{ order order }

// Next takes the next path and its type.
func (o *Order) Next(p hostpath.Path, is Type) error {
	return o.order.next(Record{Entry: Entry{Path: p, Type: is}})
}

// order checks that records follow each other as a listing wants. It remembers
// the directories above the last record only.
type order struct {
	last  hostpath.Path
	above []hostpath.Path
}

var errOrder = errors.New("paths are not in order")

func (o *order) next(r Record) error {
	if o.last == "" {
		if r.Path != hostpath.Root {
			return fmt.Errorf("%s: the root comes first: %w", r.Path, errOrder)
		}
	} else {
		if hostpath.Compare(o.last, r.Path) >= 0 {
			return fmt.Errorf("%s after %s: %w", r.Path, o.last, errOrder)
		}
		parent := r.Path.Dir()
		for n := len(o.above); n > 0 && o.above[n-1] != parent; n = len(o.above) {
			o.above = o.above[:n-1]
		}
		if len(o.above) == 0 {
			return fmt.Errorf("%s: its parent is no directory of the listing", r.Path)
		}
	}
	o.last = r.Path
	if r.Type == Directory {
		o.above = append(o.above, r.Path)
	}
	return nil
}
