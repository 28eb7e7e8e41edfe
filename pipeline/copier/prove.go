package copier

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/tree"
)

// ReceiptVersion is of the receipt's fields.
const ReceiptVersion = 1

// maxDifferences is how many differences a receipt names.
const maxDifferences = 1000

// prove reads everything below root, writes the listing and compares.
func prove(ctx context.Context, s *seed.Seed, root *os.File, listing string, o Options) (handoff.Receipt, error) {
	skip, lost, err := skipped(ctx, s, root)
	if err != nil {
		return handoff.Receipt{}, err
	}
	notCompared := slices.Clone(o.NotCompared)
	if lost && !slices.Contains(notCompared, string(lostFound)) {
		notCompared = append(notCompared, string(lostFound))
	}
	var got tree.Totals
	err = replace(listing, func(w io.Writer) error {
		lines := tree.NewWriter(w)
		each := func(r tree.Record) error {
			r.Xattrs = o.compared(r.Xattrs)
			return lines.Add(r)
		}
		how := tree.ReadOptions{Workers: o.Workers, Skip: skip, Done: o.Proved}
		if o.known != nil {
			how.Known = o.known.sumOf
		}
		if err := tree.Read(ctx, root, how, each); err != nil {
			return err
		}
		got, err = lines.Close()
		return err
	})
	if err != nil {
		return handoff.Receipt{}, err
	}
	receipt := handoff.Receipt{
		Version: ReceiptVersion, Volume: s.Config.Volume, Seed: string(s.Manifest.Digest), SourceTree: s.Config.Tree, Taken: s.Config.Taken,
		CopyTree: got.Digest, Entries: got.Entries, Files: got.Files, Bytes: got.Bytes,
		Listing: filepath.Base(listing), ListingSHA: got.Digest,
		Differences: []handoff.Difference{}, NotCompared: notCompared,
	}
	if len(o.NotCompared) > 0 {
		if receipt.SourceTree, err = o.sourceTree(ctx, s); err != nil {
			return handoff.Receipt{}, err
		}
	}
	receipt.Proved = receipt.SourceTree == receipt.CopyTree
	if receipt.Proved {
		return receipt, nil
	}
	return receipt, o.differences(ctx, s, listing, &receipt)
}

// replace is atomicfile.WriteTo without the flush, for which the caller has a
// better moment.
func replace(name string, fill func(io.Writer) error) error {
	temp := filepath.Join(filepath.Dir(name), ".new-"+filepath.Base(name))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	if err = errors.Join(fill(f), f.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}

// lostFound is what mke2fs(8) makes in every new ext4 file system.
const lostFound = hostpath.Path("/lost+found")

// skipped says what in the directory is not of the copy: the marker and what
// belongs to it, and, which lost says, the lost+found of a new file system where
// the seed has none.
func skipped(ctx context.Context, s *seed.Seed, root *os.File) (skip func(hostpath.Path) bool, lost bool, err error) {
	if untouched(root, lostFound.Rel()) {
		has, err := has(ctx, s, lostFound)
		if err != nil {
			return nil, false, err
		}
		lost = !has
	}
	return func(p hostpath.Path) bool { return reservedPath(p) || lost && p == lostFound }, lost, nil
}

// untouched reports whether the directory is as mke2fs(8) makes lost+found:
// root's, of mode 0700, empty.
func untouched(root *os.File, name string) bool {
	fd, err := openat(int(root.Fd()), name, dirFlags, 0)
	if err != nil {
		return false
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Uid != 0 || st.Gid != 0 || st.Mode&0o7777 != 0o700 {
		return false
	}
	_, err = dir.Readdirnames(1)
	return err == io.EOF
}

// has reports whether a path right below the root is in the listing.
func has(ctx context.Context, s *seed.Seed, p hostpath.Path) (bool, error) {
	listing, err := s.Listing(ctx)
	if err != nil {
		return false, err
	}
	defer listing.Close()
	lines := tree.NewReader(listing)
	for {
		r, err := lines.Next()
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if c := hostpath.Compare(r.Path, p); c >= 0 {
			return c == 0, nil
		}
	}
}

// compared drops the attributes that are not compared.
func (o Options) compared(list []tree.Xattr) []tree.Xattr {
	if len(o.NotCompared) == 0 || len(list) == 0 {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(x tree.Xattr) bool {
		return slices.ContainsFunc(o.NotCompared, func(pattern string) bool {
			ok, _ := path.Match(pattern, x.Name)
			return ok
		})
	})
}

// sourceTree is the tree digest of the source without what is not compared.
func (o Options) sourceTree(ctx context.Context, s *seed.Seed) (string, error) {
	lines := tree.NewWriter(io.Discard)
	if err := o.source(ctx, s, lines); err != nil {
		return "", err
	}
	totals, err := lines.Close()
	return totals.Digest, err
}

// source writes the seed's listing without what is not compared.
func (o Options) source(ctx context.Context, s *seed.Seed, lines *tree.Writer) error {
	listing, err := s.Listing(ctx)
	if err != nil {
		return err
	}
	defer listing.Close()
	in := tree.NewReader(listing)
	for {
		r, err := in.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			r.Xattrs = o.compared(r.Xattrs)
			err = lines.Add(r)
		}
		if err != nil {
			return err
		}
	}
	if in.Digest() != s.Config.Tree {
		return errors.Join(seed.ErrFormat, oci.ErrDamaged)
	}
	return nil
}

// differences names what is not equal.
func (o Options) differences(ctx context.Context, s *seed.Seed, listing string, receipt *handoff.Receipt) error {
	got, err := os.Open(listing)
	if err != nil {
		return err
	}
	defer got.Close()
	pr, pw := io.Pipe()
	go func() {
		lines := tree.NewWriter(pw)
		err := o.source(ctx, s, lines)
		if err == nil {
			_, err = lines.Close()
		}
		pw.CloseWithError(err)
	}()
	defer pr.Close()
	return tree.Diff(ctx, tree.NewReader(pr), tree.NewReader(bufio.NewReaderSize(got, 256<<10)), func(d tree.Difference) {
		receipt.DifferenceCount++
		if len(receipt.Differences) < maxDifferences {
			receipt.Differences = append(receipt.Differences, handoff.Difference(d))
		}
	})
}
