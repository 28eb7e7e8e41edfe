package delta

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// change is what happened to one path.
type change struct {
	path   hostpath.Path
	gone   bool
	record tree.Record // unless it is gone
	patch  *Patch      // of the content; nil for most
}

// maxChange bounds a line: a patch of a file of 16 TiB whose every other block
// changed.
const maxChange = 256 << 20

// changeReader reads the changes of a delta. It refuses what is not in order.
type changeReader struct {
	in    *bufio.Scanner
	last  hostpath.Path
	next  *change // read ahead
	count int64
}

func newChangeReader(r io.Reader) *changeReader {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), maxChange)
	in.Split(wholeLines)
	return &changeReader{in: in}
}

// wholeLines is bufio.ScanLines, but keeps \r, and fails when the last line has
// no newline: the changes were cut off.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

// read returns the next change, nil after the last.
func (r *changeReader) read() (*change, error) {
	c := r.next
	r.next = nil
	for r.in.Scan() {
		r.count++
		kind, rest, ok := bytes.Cut(r.in.Bytes(), []byte{'\t'})
		if !ok || len(kind) != 1 {
			return nil, r.fault(errors.New("no kind"))
		}
		if kind[0] == '~' {
			if c == nil || c.gone || c.patch != nil || c.record.Type != tree.Regular || c.record.Link != "" {
				return nil, r.fault(errors.New("a patch of nothing"))
			}
			var err error
			if c.patch, err = parsePatch(rest, c.record.Size); err != nil {
				return nil, r.fault(err)
			}
			continue
		}
		now, err := parseChange(kind[0], rest)
		if err != nil {
			return nil, r.fault(err)
		}
		if r.last != "" && hostpath.Compare(r.last, now.path) >= 0 {
			return nil, r.fault(fmt.Errorf("%s after %s", now.path, r.last))
		}
		r.last = now.path
		if c != nil {
			r.next = now
			return c, nil
		}
		c = now
	}
	if err := r.in.Err(); err != nil {
		return nil, fmt.Errorf("changes: after line %d: %w", r.count, err)
	}
	return c, nil
}

func (r *changeReader) fault(err error) error {
	return fmt.Errorf("changes: line %d: %w: %w", r.count, ErrFormat, err)
}

func parseChange(kind byte, rest []byte) (*change, error) {
	var c change
	switch kind {
	case '+':
		if err := c.record.UnmarshalText(rest); err != nil {
			return nil, err
		}
		c.path = c.record.Path
	case '-':
		p, err := hostpath.Parse(string(rest))
		if err != nil {
			return nil, err
		}
		if p == hostpath.Root || p.String() != string(rest) {
			return nil, fmt.Errorf("%q is not a path below the root", rest)
		}
		c.path, c.gone = p, true
	default:
		return nil, fmt.Errorf("unknown kind %q", kind)
	}
	return &c, nil
}

// parsePatch reads and checks a patch of a file that has so many bytes in the
// end.
func parsePatch(text []byte, size int64) (*Patch, error) {
	var p Patch
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return nil, err
	}
	if _, err := p.base(); err != nil || p.Size < 0 {
		return nil, errors.New("a patch without a base")
	}
	for _, b := range p.Blobs {
		if b.Raw <= 0 || b.Size < 0 || b.Digest != "" && !b.Zstd && b.Size != b.Raw || b.Digest == "" && b.Size != 0 {
			return nil, fmt.Errorf("a blob of %d bytes", b.Raw)
		}
		left := b.Raw
		for _, r := range b.Runs {
			if r.Raw <= 0 || r.Raw > left || r.At < 0 || r.At > size-r.Raw {
				return nil, fmt.Errorf("a run of %d bytes at %d", r.Raw, r.At)
			}
			left -= r.Raw
		}
		if left != 0 {
			return nil, fmt.Errorf("the runs of a blob lack %d bytes", left)
		}
	}
	return &p, nil
}

func (p *Patch) base() (sum [32]byte, err error) {
	if n, err := hex.Decode(sum[:], []byte(p.Base[:min(len(p.Base), 64)])); err != nil || n != 32 || len(p.Base) != 64 {
		return sum, errors.New("64 hexadecimal digits expected")
	}
	return sum, nil
}

// changes opens the list of changes. The caller closes it after the last one.
func (d *Delta) changes(ctx context.Context) (*changeReader, io.Closer, error) {
	raw, err := d.Config.Changes.Open(ctx, d.blobs)
	if err != nil {
		return nil, nil, fmt.Errorf("changes: %w", err)
	}
	return newChangeReader(raw), raw, nil
}

// each calls f with every change, in order.
func (d *Delta) each(ctx context.Context, f func(*change) error) error {
	in, closer, err := d.changes(ctx)
	if err != nil {
		return d.wrap(err)
	}
	defer closer.Close()
	for {
		c, err := in.read()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return d.wrap(err)
		}
		if c == nil {
			return nil
		}
		if err := f(c); err != nil {
			return err
		}
	}
}

func (d *Delta) wrap(err error) error { return fmt.Errorf("delta %s: %w", d.Manifest.Digest, err) }
