package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/statelift/statelift/pipeline/tree"
)

// maxFaults bounds what a check lists.
const maxFaults = 20

// Faults are what is wrong with a layer.
type Faults struct {
	List  []string // the first twenty
	Count int
}

func (f *Faults) Error() string {
	s := strings.Join(f.List, "; ")
	if more := f.Count - len(f.List); more > 0 {
		s += fmt.Sprintf("; and %d more", more)
	}
	return s
}

func (f *Faults) add(format string, args ...any) {
	f.Count++
	if len(f.List) < maxFaults {
		f.List = append(f.List, fmt.Sprintf(format, args...))
	}
}

// See looks at a path of a layer with its content. It is called for every path,
// and must not keep r.
type See func(i Item, r io.Reader) error

// Check proves a layer in one pass over its compressed bytes: that they have
// the digest and size of want, that the tar stream within has its DiffID, and
// that it holds the paths of plan with the metadata there, no more and no
// less. What is wrong comes back as [*Faults]; any other error is one of
// reading r or the plan. see may be nil.
func Check(ctx context.Context, r io.Reader, want Blob, plan Plan, see See) error {
	var faults Faults
	packed := &summing{r: ctxReader{ctx, r}, sum: counted{w: io.Discard, sum: sha256.New()}}
	plain, err := decompressor(bufio.NewReaderSize(packed, 256<<10), want.MediaType)
	switch {
	case packed.err != nil:
		return packed.err
	case err != nil:
		return &Faults{List: []string{"unreadable layer: " + err.Error()}, Count: 1}
	}
	defer plain.Close()
	stream := &summing{r: plain, sum: counted{w: io.Discard, sum: sha256.New()}}
	buffered := bufio.NewReaderSize(stream, 128<<10)
	err = compare(tar.NewReader(buffered), plan, &faults, see)
	// The rest is read whatever was found, since the digests cover it.
	if err == nil {
		_, err = io.Copy(io.Discard, buffered)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, packed)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case packed.err != nil:
		return packed.err
	case errors.Is(err, errPlan):
		return err
	case err != nil:
		faults.add("unreadable layer: %v", err)
	default:
		if got := stream.sum.digest(); got != want.DiffID {
			faults.add("diffID is %s, want %s", got, want.DiffID)
		}
		if got := packed.sum.digest(); got != want.Digest || packed.sum.n != want.Size {
			faults.add("blob is %s with %d bytes, want %s with %d", got, packed.sum.n, want.Digest, want.Size)
		}
	}
	if faults.Count > 0 {
		return &faults
	}
	return nil
}

// errPlan marks an error that is not one of the layer.
var errPlan = errors.New("plan")

// compare walks the stream and the plan side by side; both are in one order.
func compare(tr *tar.Reader, plan Plan, faults *Faults, see See) error {
	next, stop := iter.Pull2(plan.Items())
	defer stop()
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		got, err := entryOf(h)
		if err != nil {
			return err
		}
		want, err, more := next()
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", errPlan, err)
		case !more:
			faults.add("%s is in the layer and not in its plan", got.Path)
			continue
		case got.Path != want.Path:
			faults.add("%s is in the layer where the plan has %s", got.Path, want.Path)
			return errOrder
		}
		differences(got, want, faults)
		if see != nil {
			if err := see(got, tr); err != nil {
				faults.add("%s: %v", got.Path, err)
			}
		}
	}
	want, err, more := next()
	if err != nil {
		return fmt.Errorf("%w: %w", errPlan, err)
	}
	if more {
		faults.add("%s and what follows is missing", want.Path)
	}
	return nil
}

var errOrder = errors.New("its paths are not those of the plan")

// differences compares what a layer can say about a path.
func differences(got, want Item, faults *Faults) {
	if want.Any {
		got.Size = want.Size
	}
	if want.Link != "" { // what it is, the first path of its inode tells
		want.Type, want.Size, want.Target, want.Rdev = tree.Regular, 0, "", 0
	}
	if want.Type == "l" {
		want.Size = int64(len(want.Target))
	}
	field := func(name string, g, w any) {
		if g != w {
			faults.add("%s: %s is %v, want %v", want.Path, name, g, w)
		}
	}
	field("type", got.Type, want.Type)
	field("mode", fmt.Sprintf("%04o", got.Mode), fmt.Sprintf("%04o", want.Mode))
	field("uid", got.UID, want.UID)
	field("gid", got.GID, want.GID)
	field("size", got.Size, want.Size)
	field("mtime", got.Mtime, want.Mtime)
	field("target", got.Target, want.Target)
	field("hard link", got.Link, want.Link)
	field("xattrs", fmt.Sprint(got.Xattrs), fmt.Sprint(want.Xattrs))
	if got.Type == "c" || got.Type == "b" {
		field("device", got.Rdev, want.Rdev)
	}
}

func decompressor(r io.Reader, mediaType string) (io.ReadCloser, error) {
	switch mediaType {
	case Zstd.MediaType():
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case Gzip.MediaType():
		return gzip.NewReader(r)
	}
	return nil, fmt.Errorf("unknown media type of a layer: %q", mediaType)
}

// summing hashes what is read through it, and keeps an error of its reader
// apart from one of the decompressor above it.
type summing struct {
	r   io.Reader
	sum counted
	err error
}

func (s *summing) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
