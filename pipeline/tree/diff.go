package tree

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Difference is one way in which a path of a copy is not as at the source.
type Difference struct {
	Path   hostpath.Path
	What   string // missing, extra, type, size, content, target, link, mode, owner, mtime, xattrs
	Source string // for people; "" for an extra path
	Copy   string // "" for a missing path
}

// Diff compares two listings, streaming both, and calls found for every
// difference in the order of paths.
func Diff(ctx context.Context, source, got *Reader, found func(Difference)) error {
	d := differ{found}
	a, errA := source.Next()
	b, errB := got.Next()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if errA != nil && errA != io.EOF {
			return fmt.Errorf("source: %w", errA)
		}
		if errB != nil && errB != io.EOF {
			return fmt.Errorf("copy: %w", errB)
		}
		if errA == io.EOF && errB == io.EOF {
			return nil
		}
		switch {
		case errB == io.EOF || errA == nil && hostpath.Compare(a.Path, b.Path) < 0:
			d.add(a.Path, "missing", words(a), "")
			a, errA = source.Next()
		case errA == io.EOF || hostpath.Compare(a.Path, b.Path) > 0:
			d.add(b.Path, "extra", "", words(b))
			b, errB = got.Next()
		default:
			d.compare(a, b)
			a, errA = source.Next()
			b, errB = got.Next()
		}
	}
}

type differ struct{ found func(Difference) }

func (d differ) add(p hostpath.Path, what, source, got string) {
	d.found(Difference{Path: p, What: what, Source: source, Copy: got})
}

// compare looks at one path of both.
func (d differ) compare(a, b Record) {
	if a.Type != b.Type {
		d.add(a.Path, "type", string(a.Type), string(b.Type))
		return
	}
	if a.Size != b.Size && a.Type == Regular {
		d.add(a.Path, "size", fmt.Sprint(a.Size), fmt.Sprint(b.Size))
	}
	if a.SHA256 != b.SHA256 {
		d.add(a.Path, "content", hex.EncodeToString(a.SHA256[:]), hex.EncodeToString(b.SHA256[:]))
	}
	if a.Target != b.Target {
		d.add(a.Path, "target", hostpath.Quote(a.Target), hostpath.Quote(b.Target))
	}
	if a.Rdev != b.Rdev {
		d.add(a.Path, "target", device(a.Rdev), device(b.Rdev))
	}
	if a.Link != b.Link {
		d.add(a.Path, "link", a.Link.String(), b.Link.String())
	}
	if a.Mode != b.Mode {
		d.add(a.Path, "mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode))
	}
	if a.UID != b.UID || a.GID != b.GID {
		d.add(a.Path, "owner", fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID))
	}
	if a.Mtime != b.Mtime {
		d.add(a.Path, "mtime", moment(a.Mtime), moment(b.Mtime))
	}
	if !slices.EqualFunc(a.Xattrs, b.Xattrs, func(x, y Xattr) bool { return x.Name == y.Name && bytes.Equal(x.Value, y.Value) }) {
		d.add(a.Path, "xattrs", string(appendXattrs(nil, a.Xattrs)), string(appendXattrs(nil, b.Xattrs)))
	}
}

func device(rdev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev)) }

func moment(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// words says in short what a path is.
func words(r Record) string {
	switch r.Type {
	case Regular:
		return fmt.Sprintf("a file of %d bytes", r.Size)
	case Directory:
		return "a directory"
	case Symlink:
		return "a symlink to " + hostpath.Quote(r.Target)
	case FIFO:
		return "a FIFO"
	case Socket:
		return "a socket"
	}
	return "the device " + device(r.Rdev)
}

// Sums prints the regular files of a listing in the format that sha256sum -c
// reads, with names from "./", for a check by hand with public tools:
//
//	cd COPY && sha256sum -c SUMS
func Sums(ctx context.Context, w io.Writer, listing *Reader) error {
	var line []byte
	for {
		r, err := listing.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if r.Type != Regular {
			continue
		}
		line = appendSum(line[:0], r)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
}

// appendSum escapes as GNU coreutils does since 9.0: a line whose name holds a
// backslash, a newline or a carriage return starts with a backslash.
func appendSum(line []byte, r Record) []byte {
	name := "." + string(r.Path)
	escape := false
	for i := range len(name) {
		escape = escape || name[i] == '\\' || name[i] == '\n' || name[i] == '\r'
	}
	if escape {
		line = append(line, '\\')
	}
	line = hex.AppendEncode(line, r.SHA256[:])
	line = append(line, "  "...)
	for i := range len(name) {
		switch c := name[i]; c {
		case '\\':
			line = append(line, `\\`...)
		case '\n':
			line = append(line, `\n`...)
		case '\r':
			line = append(line, `\r`...)
		default:
			line = append(line, c)
		}
	}
	return append(line, '\n')
}
