package layer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// Plan is the ordered list of a layer's paths, kept in a file so that a layer
// of millions of paths needs no memory.
type Plan struct {
	File string
	// Digest is the SHA-256 of everything that decides about the layer, the
	// times of change at the source included: an equal digest stands for equal
	// content of a source that can be trusted to keep its ctimes.
	Digest string
	// Shape is the SHA-256 of what the layer says about every path, without the
	// content of made files: equal for equal hosts, and known without the source.
	Shape   string
	Entries int64 // all items
	Taken   int64 // items with the role Taken
	Bytes   int64 // of content
	Newest  int64 // mtime of the newest item, nanoseconds since the epoch
}

// Draft is a plan that is being written. It is for one goroutine.
type Draft struct {
	f    *os.File
	w    *bufio.Writer
	sum  hash.Hash
	form hash.Hash // of the shape
	plan Plan
	last hostpath.Path
}

// Begin starts a plan in the file name, which it replaces. The caller ends it
// with End or Discard.
func Begin(name string) (*Draft, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("plan of a layer: %w", err)
	}
	d := &Draft{f: f, sum: sha256.New(), form: sha256.New(), plan: Plan{File: name}}
	d.w = bufio.NewWriterSize(io.MultiWriter(f, d.sum), 64<<10)
	return d, nil
}

// Add appends an item. Items come depth first, each path once.
func (d *Draft) Add(i Item) error {
	if d.plan.Entries > 0 && hostpath.Compare(d.last, i.Path) >= 0 {
		return fmt.Errorf("plan of a layer: %s after %s: items must come depth first", i.Path, d.last)
	}
	data, err := i.marshal()
	if err != nil {
		return fmt.Errorf("plan of a layer: %s: %w", i.Path, err)
	}
	if _, err := d.w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("plan of a layer: %w", err)
	}
	size := i.Size
	if i.Role == Made {
		size = 0
	}
	fmt.Fprintf(d.form, "%s\x00%s %s %o %d %d %d %d %d\x00%s\x00%s\x00%q\n", i.Path, i.Role, i.Type, i.Mode, i.UID, i.GID,
		size, i.Mtime, i.Rdev, i.Target, i.Link, i.Xattrs)
	d.last = i.Path
	d.plan.Entries++
	d.plan.Bytes += i.Bytes()
	d.plan.Newest = max(d.plan.Newest, i.Mtime)
	if i.Role == Taken {
		d.plan.Taken++
	}
	return nil
}

// End completes the plan.
func (d *Draft) End() (Plan, error) {
	if err := d.w.Flush(); err != nil {
		d.Discard()
		return Plan{}, fmt.Errorf("plan of a layer: %w", err)
	}
	if err := d.f.Close(); err != nil {
		return Plan{}, fmt.Errorf("plan of a layer: %w", err)
	}
	d.plan.Shape = hex.EncodeToString(d.form.Sum(nil))
	d.plan.Digest = hex.EncodeToString(d.sum.Sum(nil))
	return d.plan, nil
}

// Discard throws the plan away. It does nothing after End.
func (d *Draft) Discard() {
	if d.f.Close() == nil {
		os.Remove(d.plan.File)
	}
}

// maxLine bounds a line of a plan: a path and a target of PATH_MAX each in the
// escape, xattrs of at most 64 KiB each (xattr(7)), and made files.
const maxLine = 64 << 20

// Items reads the plan back, in order. It stops after an error.
func (p Plan) Items() iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		f, err := os.Open(p.File)
		if err != nil {
			yield(Item{}, fmt.Errorf("plan of a layer: %w", err))
			return
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(make([]byte, 0, 64<<10), maxLine)
		for lines.Scan() {
			i, err := unmarshal(lines.Bytes())
			if err != nil {
				yield(Item{}, fmt.Errorf("plan of a layer: %w", err))
				return
			}
			if !yield(i, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Item{}, fmt.Errorf("plan of a layer: %w", err))
		}
	}
}

// Without writes the plan anew, to the file name, without some paths and without
// all hard links to them; those come back too.
func (p Plan) Without(name string, out map[hostpath.Path]bool) (_ Plan, links []hostpath.Path, err error) {
	d, err := Begin(name)
	if err != nil {
		return Plan{}, nil, err
	}
	defer d.Discard()
	for i, err := range p.Items() {
		if err != nil {
			return Plan{}, nil, err
		}
		switch {
		case out[i.Path]:
			continue
		case out[i.Link]:
			links = append(links, i.Path)
			continue
		}
		if err := d.Add(i); err != nil {
			return Plan{}, nil, err
		}
	}
	plan, err := d.End()
	return plan, links, err
}

// regular reports whether the item brings content of its own.
func (i Item) regular() bool { return i.Type == tree.Regular && i.Link == "" }
