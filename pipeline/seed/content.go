package seed

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
)

// ReadPack reads the contents of the files that are in the unit's pack, and
// calls each with the index of the record and a reader of exactly its size. The
// names and sizes in the pack must be those of the listing, whatever else its
// headers say. Only when ReadPack returns nil was the pack's digest right: until
// then nothing that was read counts.
func (s *Seed) ReadPack(ctx context.Context, f *Filled, each func(i int, content io.Reader) error) error {
	next := f.nextSmall(-1)
	if f.Pack != nil {
		err := readPack(ctx, s.blobs, *f.Pack, func(h *tar.Header, content io.Reader) error {
			if h.Typeflag != tar.TypeReg {
				return nil // the listing says all about it
			}
			if next == len(f.Records) {
				return fmt.Errorf("pack %s: %q is not in the listing: %w", f.Pack.Digest, h.Name, ErrFormat)
			}
			r := &f.Records[next]
			if h.Name != r.Path.Rel() || h.Size != r.Size {
				return fmt.Errorf("pack %s: %q of %d bytes where the listing has %s of %d: %w",
					f.Pack.Digest, h.Name, h.Size, r.Path, r.Size, ErrFormat)
			}
			if err := each(next, content); err != nil {
				return err
			}
			next = f.nextSmall(next)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if next != len(f.Records) {
		return fmt.Errorf("%s: its content is in no pack: %w", f.Records[next].Path, ErrFormat)
	}
	return nil
}

// nextSmall is the index of the next record after i whose content is packed.
func (f *Filled) nextSmall(i int) int {
	for i++; i < len(f.Records); i++ {
		if f.Small(i) {
			break
		}
	}
	return i
}
