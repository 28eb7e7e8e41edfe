// Package snapshot keeps what a tree was, with what tells later which of its
// paths changed: the lines of its listing (package tree), and for each the
// inode, the number of its links, the time of its last status change (inode(7))
// and, for large files, the digests of its blocks.
//
// A snapshot is a file of this machine only, and no format for others: a line
// "statelift snapshot 1", and for each path a head of 52 bytes, little-endian
// (ctime, mtime, size, inode: 8 each; links, flags, length of the line, length of
// the blocks, checksum of the head: 4 each), the line, and the blocks. A head of
// zeros with the number of paths as its inode ends it.
package snapshot

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

const magic = "statelift snapshot 1\n"

// ErrDamaged is wrapped when a snapshot is not what was written.
var ErrDamaged = errors.New("damaged snapshot")

// Item is one path. Its line is parsed when it is asked for only.
type Item struct {
	Ctime, Mtime, Size int64
	Ino                uint64
	Nlink              uint32
	Flags              uint32 // the writer's own
	Blocks             []byte // digests of its blocks, one after the other; nil when unknown

	line []byte // of the listing, with its newline
	path hostpath.Path
}

// Of makes the item of a record.
func Of(r tree.Record, blocks []byte) Item {
	line, _ := r.AppendText(nil)
	return Item{
		Ctime: r.Ctime, Mtime: r.Mtime, Size: r.Size, Ino: r.Ino, Nlink: r.Nlink, Blocks: blocks,
		line: line, path: r.Path,
	}
}

// Path is the item's path.
func (i *Item) Path() hostpath.Path { return i.path }

// Type is the item's type.
func (i *Item) Type() tree.Type { return tree.Type(i.line[:1]) }

// Line is the line of the listing, with its newline.
func (i *Item) Line() []byte { return i.line }

// Record parses the line, and adds what the head knows.
func (i *Item) Record() (tree.Record, error) {
	var r tree.Record
	if err := r.UnmarshalText(i.line); err != nil {
		return r, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.Ctime, r.Ino, r.Nlink = i.Ctime, i.Ino, i.Nlink
	return r, nil
}

// Sum is the SHA-256 in the line of a regular file, and zero when there is none.
func (i *Item) Sum() (sum [32]byte) {
	// It is the field before the path, which holds no tab.
	rest := i.line[:bytes.LastIndexByte(i.line, '\t')]
	digits := rest[bytes.LastIndexByte(rest, '\t')+1:]
	if len(digits) != hex.EncodedLen(len(sum)) {
		return [32]byte{}
	}
	if _, err := hex.Decode(sum[:], digits); err != nil {
		return [32]byte{}
	}
	return sum
}

// Unchanged reports whether what stat(2) says now is what it said then. Whatever
// happens to a file sets its ctime, which nobody can choose.
func (i *Item) Unchanged(e *tree.Entry) bool {
	return i.Ino == e.Ino && i.Ctime == e.Ctime && i.Mtime == e.Mtime && (i.Size == e.Size || e.Type == tree.Symlink) &&
		i.Nlink == e.Nlink && i.Type() == e.Type
}

const headSize = 52

// Writer writes a snapshot. It is for one goroutine.
type Writer struct {
	out    *bufio.Writer
	sum    hash.Hash
	head   [headSize]byte
	totals tree.Totals
}

// NewWriter begins a snapshot.
func NewWriter(w io.Writer) *Writer {
	out := bufio.NewWriterSize(w, 256<<10)
	_, _ = out.WriteString(magic) // an error stays, see [bufio.Writer]
	return &Writer{out: out, sum: sha256.New()}
}

// Add appends an item; they come in the order of a listing.
func (w *Writer) Add(i *Item) error {
	w.totals.Entries++
	if i.Type() == tree.Regular {
		w.totals.Files++
		if i.Nlink < 2 || !i.Linked() {
			w.totals.Bytes += i.Size
		}
	}
	w.sum.Write(i.line)
	if err := w.put(i); err != nil {
		return err
	}
	if _, err := w.out.Write(i.line); err != nil {
		return err
	}
	_, err := w.out.Write(i.Blocks)
	return err
}

// Linked reports whether the line has another path as its first link: field 8.
func (i *Item) Linked() bool {
	rest := i.line
	for range 7 {
		rest = rest[bytes.IndexByte(rest, '\t')+1:]
	}
	return rest[0] != '-'
}

func (w *Writer) put(i *Item) error {
	h := w.head[:]
	le := binary.LittleEndian
	le.PutUint64(h[0:], uint64(i.Ctime))
	le.PutUint64(h[8:], uint64(i.Mtime))
	le.PutUint64(h[16:], uint64(i.Size))
	le.PutUint64(h[24:], i.Ino)
	le.PutUint32(h[32:], i.Nlink)
	le.PutUint32(h[36:], i.Flags)
	le.PutUint32(h[40:], uint32(len(i.line)))
	le.PutUint32(h[44:], uint32(len(i.Blocks)))
	le.PutUint32(h[48:], crc32.ChecksumIEEE(h[:48]))
	_, err := w.out.Write(h)
	return err
}

// Close ends the snapshot, and sums up the listing that it holds. It does not
// close the underlying writer.
func (w *Writer) Close() (tree.Totals, error) {
	err := w.put(&Item{Ino: uint64(w.totals.Entries)})
	if err = errors.Join(err, w.out.Flush()); err != nil {
		return tree.Totals{}, fmt.Errorf("snapshot: %w", err)
	}
	w.totals.Digest = hex.EncodeToString(w.sum.Sum(nil))
	return w.totals, nil
}

// Reader reads a snapshot. It is for one goroutine.
type Reader struct {
	in    *bufio.Reader
	begun bool
	count uint64
}

// NewReader reads a snapshot from r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 256<<10)} }

// What a damaged head can make a reader ask for.
const (
	maxLine   = 4 << 20
	maxBlocks = 1 << 30 // of a file of 32 TiB
)

// Next reads an item, which stays valid. It returns io.EOF after the last one.
func (r *Reader) Next() (*Item, error) {
	i, err := r.next()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("after %d paths: %w: %w", r.count, ErrDamaged, err)
	}
	return i, err
}

func (r *Reader) next() (*Item, error) {
	if !r.begun {
		start := make([]byte, len(magic))
		if _, err := io.ReadFull(r.in, start); err != nil || string(start) != magic {
			return nil, errors.Join(errors.New("it does not begin as one"), noEOF(err))
		}
		r.begun = true
	}
	var head [headSize]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return nil, noEOF(err)
	}
	le := binary.LittleEndian
	if le.Uint32(head[48:]) != crc32.ChecksumIEEE(head[:48]) {
		return nil, errors.New("a head with another checksum")
	}
	i := &Item{
		Ctime: int64(le.Uint64(head[0:])), Mtime: int64(le.Uint64(head[8:])), Size: int64(le.Uint64(head[16:])),
		Ino: le.Uint64(head[24:]), Nlink: le.Uint32(head[32:]), Flags: le.Uint32(head[36:]),
	}
	length, blocks := le.Uint32(head[40:]), le.Uint32(head[44:])
	if length == 0 {
		if i.Ino != r.count {
			return nil, fmt.Errorf("%d paths instead of %d", r.count, i.Ino)
		}
		return nil, io.EOF
	}
	if length > maxLine || blocks > maxBlocks {
		return nil, errors.New("a line out of bounds")
	}
	data := make([]byte, int(length)+int(blocks))
	if _, err := io.ReadFull(r.in, data); err != nil {
		return nil, noEOF(err)
	}
	i.line = data[:length:length]
	if blocks > 0 {
		i.Blocks = data[length:]
	}
	r.count++
	var err error
	i.path, err = pathOf(i.line)
	return i, err
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// pathOf finds the path in a line without parsing the rest.
func pathOf(line []byte) (hostpath.Path, error) {
	rest := bytes.TrimSuffix(line, []byte{'\n'})
	if len(rest) > 1 && rest[0] == 'l' { // the target comes after it
		rest = rest[:max(bytes.LastIndexByte(rest, '\t'), 0)]
	}
	text := string(rest[bytes.LastIndexByte(rest, '\t')+1:])
	if bytes.Count(rest, []byte{'\t'}) != 10 {
		return "", errors.New("a line without a path")
	}
	if strings.IndexByte(text, '\\') >= 0 {
		var err error
		if text, err = hostpath.Unquote(text); err != nil {
			return "", err
		}
	}
	if strings.IndexByte(text, 0) < 0 && (surelyClean(text) || string(hostpath.Clean(text)) == text) {
		return hostpath.Path(text), nil
	}
	return "", fmt.Errorf("%q is not an absolute, clean path", text)
}

// surelyClean spares cleaning a path, millions of times. Of one with a name that
// begins with a dot it does not tell.
func surelyClean(p string) bool {
	return len(p) > 1 && p[0] == '/' && p[len(p)-1] != '/' && !strings.Contains(p, "//") && !strings.Contains(p, "/.")
}

// OfLine makes the item of a line of a listing, which it keeps, with its newline.
// Nothing but its path is looked at: what else is wrong with the line shows when
// its record is asked for.
func OfLine(line []byte) (*Item, error) {
	p, err := pathOf(line)
	if err != nil {
		return nil, err
	}
	i := &Item{line: line, path: p}
	if i.Size, i.Mtime, err = i.numbers(); err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return i, nil
}

// numbers are the size and the mtime in the line: fields 5 and 6.
func (i *Item) numbers() (size, mtime int64, err error) {
	rest := i.line
	for range 4 {
		rest = rest[bytes.IndexByte(rest, '\t')+1:]
	}
	first, rest, _ := bytes.Cut(rest, []byte{'\t'})
	second, _, _ := bytes.Cut(rest, []byte{'\t'})
	if size, err = strconv.ParseInt(string(first), 10, 64); err == nil {
		mtime, err = strconv.ParseInt(string(second), 10, 64)
	}
	if size < 0 {
		err = errors.New("a negative size")
	}
	return size, mtime, err
}
