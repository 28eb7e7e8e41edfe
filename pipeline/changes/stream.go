package changes

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/tree"
)

// Sums are what was found, and the digests by which the far end knows that all
// of it arrived.
type Sums struct {
	Added   int64 `json:"added"`
	Altered int64 `json:"altered"`
	Dressed int64 `json:"dressed"`
	Removed int64 `json:"removed"`
	Bytes   int64 `json:"bytes"` // of content of added and altered files
	// List is the SHA-256 of the list's lines, Archive that of the archive, "" when
	// none was made.
	List    string `json:"list"`
	Archive string `json:"archive,omitempty"`
}

// last is the line after the list.
type last struct {
	Sums *Sums `json:"sums"`
}

// Write compares the volume with a listing and writes one line of JSON per change
// ([handoff.Change]) to list, and the line {"sums": …} after them; with an
// archive, that gets the changed files as a tar archive.
func (v *Volume) Write(ctx context.Context, listing *tree.Reader, o Options, list, archive io.Writer) error {
	lines := counted(list)
	var packer *Packer
	packed := counted(archive)
	if archive != nil {
		packer = NewPacker(v, packed)
	}
	sums := Sums{}
	err := v.Find(ctx, listing, o, func(f Found) error {
		sums.add(f.Change, f.Record.Link == "")
		line, err := json.Marshal(f.Change)
		if err != nil {
			return err
		}
		if _, err := lines.Write(append(line, '\n')); err != nil || packer == nil {
			return err
		}
		return packer.Add(ctx, f)
	})
	if err != nil {
		return err
	}
	if packer != nil {
		if err := packer.Close(); err != nil {
			return fmt.Errorf("pack: %w", err)
		}
		sums.Archive = packed.digest()
	}
	sums.List = lines.digest()
	line, err := json.Marshal(last{&sums})
	if err != nil {
		return err
	}
	_, err = list.Write(append(line, '\n'))
	return err
}

func (s *Sums) add(c handoff.Change, first bool) {
	switch c.What {
	case Added:
		s.Added++
	case Altered:
		s.Altered++
	case Dressed:
		s.Dressed++
	case Removed:
		s.Removed++
	}
	if first && c.Type == string(tree.Regular) && (c.What == Added || c.What == Altered) {
		s.Bytes += c.Size
	}
}

// ErrCut is wrapped when a list or an archive did not arrive as it was sent.
var ErrCut = errors.New("it is not what was sent")

// maxLine bounds a line: a path of any depth in JSON with every byte escaped.
const maxLine = 1 << 20

// Read reads what Write wrote to list, calls each with every change and compares
// the digest.
func Read(list io.Reader, each func(handoff.Change) error) (Sums, error) {
	sum := sha256.New()
	seen := Sums{}
	in := bufio.NewScanner(list)
	in.Buffer(make([]byte, 4<<10), maxLine)
	for in.Scan() {
		var end last
		if err := json.Unmarshal(in.Bytes(), &end); err == nil && end.Sums != nil {
			seen.List, seen.Archive, seen.Bytes = hex.EncodeToString(sum.Sum(nil)), end.Sums.Archive, end.Sums.Bytes
			if seen != *end.Sums {
				return Sums{}, fmt.Errorf("list of changes: %w", ErrCut)
			}
			return seen, nil
		}
		sum.Write(in.Bytes())
		sum.Write([]byte{'\n'})
		var c handoff.Change
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return Sums{}, fmt.Errorf("list of changes: %w: %w", ErrCut, err)
		}
		if !valid(c) {
			return Sums{}, fmt.Errorf("list of changes: %q is no change: %w", in.Text(), ErrCut)
		}
		seen.add(c, false)
		if err := each(c); err != nil {
			return Sums{}, err
		}
	}
	if err := in.Err(); err != nil {
		return Sums{}, fmt.Errorf("list of changes: %w", err)
	}
	return Sums{}, fmt.Errorf("list of changes: it has no end: %w", ErrCut)
}

func valid(c handoff.Change) bool {
	return c.Path != "" && c.Path[0] == '/' && c.Size >= 0 && (c.What == Added || c.What == Altered || c.What == Dressed || c.What == Removed)
}

// counter passes on what is written, and knows its digest.
type counter struct {
	out io.Writer
	sum hash.Hash
}

func counted(out io.Writer) *counter { return &counter{out, sha256.New()} }

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	c.sum.Write(p[:n])
	return n, err
}

func (c *counter) digest() string { return hex.EncodeToString(c.sum.Sum(nil)) }
