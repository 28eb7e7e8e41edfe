package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/workspace"
)

// manifests hashes the files again.
func (r *run) manifests(context.Context) error {
	var faults []error
	dir := r.made.Manifests.Directory
	for _, f := range r.made.Manifests.Files {
		name := r.Workspace.Path(dir, f.Name)
		sum, err := sumFile(name)
		if err == nil && sum != f.SHA256 {
			err = fmt.Errorf("SHA-256 is %s, not %s", sum, f.SHA256)
		}
		if fi, serr := os.Stat(name); err == nil && serr == nil && f.Sensitive && fi.Mode().Perm()&0o077 != 0 {
			err = fmt.Errorf("it holds a Secret and its mode is %04o", fi.Mode().Perm())
		}
		if err != nil {
			faults = append(faults, err)
			r.check(aManifest, filepath.Join(dir, f.Name), err, "")
		}
	}
	if len(faults) == 0 {
		r.check(aManifest, dir, nil, "%d files are as they were written", len(r.made.Manifests.Files))
	}
	return nil
}

func sumFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// volumes proves every seed, and in a rehearsal every volume against its seed.
func (r *run) volumes(ctx context.Context) error {
	layout, err := oci.Open(r.Workspace.Path(r.made.Seeds.Layout))
	if err != nil {
		r.check(aSeed, r.made.Seeds.Layout, err, "")
		return nil
	}
	var total int64
	seeds := map[string]handoff.Seed{}
	for _, s := range r.made.Seeds.Seeds {
		seeds[s.Volume] = s
		total += s.Bytes
	}
	for _, b := range r.made.Seeds.Backups {
		r.backup(b)
	}
	receipts := map[string]handoff.ReceiptFile{}
	for _, f := range r.made.Copies.Receipts {
		receipts[f.Volume] = f
	}
	r.Progress.Begin("verify volumes", "bytes", total)
	defer r.Progress.End()
	for _, v := range r.made.Plan.Volumes {
		if !v.Seed {
			r.empty(v)
			continue
		}
		want, ok := seeds[v.Name]
		if !ok {
			r.check(aSeed, v.Name, errors.New("it was not made"), "")
			continue
		}
		s, err := r.seed(ctx, layout, want)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.check(aSeed, v.Name, err, "%s: %d blobs with %d bytes hold %d paths, tree %s", want.Digest, want.Blobs, want.Stored, want.Entries, want.Tree)
		if s == nil {
			continue
		}
		file, ok := receipts[v.Name]
		if !ok {
			r.check(aVolume, v.Name, errors.New("it was not filled: there is no receipt"), "")
			continue
		}
		l, err := lineage.Open(ctx, layout, want, r.made.Rounds)
		if err == nil && l.Receipt.File != "" {
			r.deltas(ctx, layout, v.Name, l)
			err = r.afterRounds(ctx, l, want)
		} else if err == nil {
			err = r.volume(ctx, s, want, file)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.check(aVolume, v.Name, err, "%s", r.readBack(want, l))
	}
	return nil
}

// readBack says what was proved of a volume.
func (r *run) readBack(want handoff.Seed, l *lineage.Lineage) string {
	if l == nil || l.Receipt.File == "" {
		return fmt.Sprintf("%d paths with %d bytes read back, tree %s as at the source", want.Entries, want.Bytes, want.Tree)
	}
	return fmt.Sprintf("read back after %d rounds, tree %s as at the source", len(r.made.Rounds.Rounds), l.Tree)
}

// seed reads every blob of a seed. The seed is nil when it cannot be opened.
func (r *run) seed(ctx context.Context, layout *oci.Layout, want handoff.Seed) (*seed.Seed, error) {
	d, err := seed.Find(layout, want.Volume)
	if err != nil {
		return nil, err
	}
	if string(d.Digest) != want.Digest {
		return nil, fmt.Errorf("%s has seed %s, not %s", layout, d.Digest, want.Digest)
	}
	s, err := seed.Open(ctx, layout, d)
	if err != nil {
		return nil, err
	}
	if s.Config.Tree != want.Tree {
		err = fmt.Errorf("the seed's tree is %s, not %s", s.Config.Tree, want.Tree)
	}
	return s, errors.Join(err, seed.Verify(ctx, layout, d, r.workers))
}

// volume reads a volume, and compares it with its seed, the receipt and the
// listing beside it.
func (r *run) volume(ctx context.Context, s *seed.Seed, want handoff.Seed, file handoff.ReceiptFile) error {
	receipt, err := r.receipt(file)
	if err != nil {
		return err
	}
	var faults []error
	if !receipt.Proved || receipt.Seed != want.Digest || receipt.SourceTree != receipt.CopyTree {
		faults = append(faults, fmt.Errorf("receipt %s proves nothing of seed %s", file.File, want.Digest))
	}
	if sum, err := sumFile(r.Workspace.Path(workspace.Receipts, receipt.Listing)); err != nil || sum != receipt.ListingSHA {
		faults = append(faults, errors.Join(fmt.Errorf("listing %s has SHA-256 %q, the receipt says %s", receipt.Listing, sum, receipt.ListingSHA), err))
	}
	if r.made.Copies.Target != rehearsal {
		return errors.Join(append(faults, r.written())...)
	}
	dir := r.Workspace.Path(workspace.Volumes, want.Volume)
	now, err := copier.Prove(ctx, s, dir, filepath.Join(r.temp, "listing"), copier.Options{
		Workers: r.workers, NotCompared: receipt.NotCompared, Proved: r.Progress.Add,
	})
	if err != nil {
		return errors.Join(append(faults, err)...)
	}
	for _, d := range now.Differences[:min(len(now.Differences), maxFaults)] {
		faults = append(faults, fmt.Errorf("%s: %s is %q, was %q", d.Path, d.What, d.Copy, d.Source))
	}
	if !now.Proved || now.CopyTree != receipt.CopyTree {
		faults = append(faults, fmt.Errorf("%d differences to the seed; its tree is %s, the receipt says %s", now.DifferenceCount, now.CopyTree, receipt.CopyTree))
	}
	return errors.Join(faults...)
}

// rehearsal is the target of copies that are directories of the workspace.
const rehearsal = "rehearsal"

func (r *run) receipt(file handoff.ReceiptFile) (handoff.Receipt, error) {
	var receipt handoff.Receipt
	name := r.Workspace.Path(workspace.Receipts, file.File)
	sum, err := sumFile(name)
	if err != nil {
		return receipt, err
	}
	if sum != file.SHA256 {
		return receipt, fmt.Errorf("receipt %s has SHA-256 %s, not %s", file.File, sum, file.SHA256)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return receipt, err
	}
	if err := json.Unmarshal(data, &receipt); err != nil {
		return receipt, fmt.Errorf("receipt %s: %w", file.File, err)
	}
	return receipt, nil
}
