package changes

import (
	"archive/tar"
	"context"
	"fmt"
	"io"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// Packer writes what was added, altered or dressed as a tar archive (PAX), whole
// and with its metadata, so that `tar -x --same-owner --xattrs --acls` over the
// volume's root at the source brings it there. What was removed is in no archive,
// and a new link to a file that was not touched becomes a file of its own.
type Packer struct {
	volume *Volume
	tar    *tar.Writer
	// first holds the paths of inodes with several ones that are in the archive:
	// what is a link to another path would not unpack without that.
	first map[hostpath.Path]bool
	buf   []byte
}

// NewPacker packs files of the volume.
func NewPacker(v *Volume, w io.Writer) *Packer {
	return &Packer{volume: v, tar: tar.NewWriter(w), first: map[hostpath.Path]bool{}, buf: make([]byte, 256<<10)}
}

// Add packs one path that was found, and nothing for one that was removed or
// that an archive cannot hold (a socket).
func (p *Packer) Add(ctx context.Context, f Found) error {
	r := f.Record
	if f.What == Removed || r.Type == tree.Socket {
		return nil
	}
	if r.Link != "" && !p.first[r.Link] {
		r.Link = ""
		p.first[r.Path] = true
	}
	if r.Nlink > 1 && r.Link == "" && r.Type != tree.Directory {
		p.first[r.Path] = true
	}
	h := seed.Header(&r)
	if r.Path == hostpath.Root {
		h.Name = "./"
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("pack %s: %w", r.Path, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if err := p.content(ctx, r); err != nil {
		return fmt.Errorf("pack %s: %w", r.Path, err)
	}
	return nil
}

func (p *Packer) content(ctx context.Context, r tree.Record) error {
	f, err := p.volume.root.OpenNoFollow(r.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	left := r.Size
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(p.buf[:min(int64(len(p.buf)), left)])
		if n > 0 {
			left -= int64(n)
			if _, err := p.tar.Write(p.buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return fmt.Errorf("%d bytes are missing: %w", left, err)
		}
	}
	return nil
}

// Close ends the archive. It does not close the writer.
func (p *Packer) Close() error { return p.tar.Close() }
