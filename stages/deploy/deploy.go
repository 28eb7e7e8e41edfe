package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "deploy",
		Summary: "fills the volumes from their seeds, reads everything back and proves it",
		Effects: pipeline.Local,
		Resumes: "what was written is kept, and proved with the rest",
		Version: 1,
	}
}

// Options decide about the result.
type Options struct {
	// NotCompared are names of extended attributes, as patterns of path.Match,
	// that the target's file system cannot hold or sets itself.
	NotCompared []string `json:"notCompared,omitempty"`
}

// Stage is the deploy stage.
type Stage struct{ options Options }

// New makes the stage.
func New(o Options) *Stage { return &Stage{options: o} }

// Target is what a rehearsal deploys to.
const Target = "rehearsal"

// Run fills every volume. The receipts of all volumes are written, also of one
// whose copy differs; then the error names the volumes and their first
// differences.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, plan handoff.Plan, seeds handoff.Seeds) (handoff.Copies, error) {
	r := run{Env: env, options: s.options, seeds: map[string]handoff.Seed{}}
	var err error
	if r.layout, err = oci.Open(env.Workspace.Path(seeds.Layout)); err != nil {
		return handoff.Copies{}, err
	}
	var bytes int64
	for _, sd := range seeds.Seeds {
		r.seeds[sd.Volume] = sd
		bytes += sd.Bytes
	}
	for _, dir := range []string{workspace.Volumes, workspace.Receipts} {
		if err := os.MkdirAll(env.Workspace.Path(dir), 0o700); err != nil {
			return handoff.Copies{}, err
		}
	}
	out := handoff.Copies{Target: Target, Receipts: []handoff.ReceiptFile{}}
	env.Progress.Begin("copies", "bytes", bytes)
	defer env.Progress.End()
	var differ []error
	for _, v := range plan.Volumes {
		if !v.Seed {
			if err := r.emptyVolume(ctx, v); err != nil {
				return handoff.Copies{}, err
			}
			continue
		}
		file, err := r.volume(ctx, v)
		var d *DifferError
		if errors.As(err, &d) {
			differ = append(differ, err)
		} else if err != nil {
			return handoff.Copies{}, err
		}
		out.Receipts = append(out.Receipts, file)
	}
	if err := r.dropOthers(out.Receipts); err != nil {
		return handoff.Copies{}, err
	}
	return out, errors.Join(differ...)
}

// DifferError says that a copy is not equal to its seed.
type DifferError struct {
	Receipt handoff.Receipt
}

func (e *DifferError) Error() string {
	r := e.Receipt
	first := ""
	if len(r.Differences) > 0 {
		first = fmt.Sprintf("; the first is %s: %s (%s at the source, %s in the copy)",
			r.Differences[0].Path, r.Differences[0].What, r.Differences[0].Source, r.Differences[0].Copy)
	}
	return fmt.Sprintf("the copy of volume %s differs in %d ways%s", r.Volume, r.DifferenceCount, first)
}

type run struct {
	*pipeline.Env
	options Options
	layout  *oci.Layout
	seeds   map[string]handoff.Seed
}

// item is under which the ledger keeps which seed a directory was filled from.
func item(volume string) string { return "volume " + volume }

// place is the volume's directory.
func (r *run) place(volume string) (string, error) {
	if volume == "" || strings.ContainsAny(volume, "/\x00") || volume[0] == '.' {
		return "", fmt.Errorf("volume %q: no name of a directory", volume)
	}
	return r.Workspace.Path(workspace.Volumes, volume), nil
}

func (r *run) volume(ctx context.Context, v handoff.Volume) (handoff.ReceiptFile, error) {
	want, ok := r.seeds[v.Name]
	if !ok {
		return handoff.ReceiptFile{}, fmt.Errorf("volume %s has no seed: run the stage seed again", v.Name)
	}
	dir, err := r.place(v.Name)
	if err != nil {
		return handoff.ReceiptFile{}, err
	}
	if err := r.makeRoom(ctx, v.Name, dir, want.Digest); err != nil {
		return handoff.ReceiptFile{}, err
	}
	s, err := r.open(ctx, want)
	if err != nil {
		return handoff.ReceiptFile{}, err
	}
	listing := r.Workspace.Path(workspace.Receipts, v.Name+".listing")
	receipt, err := copier.Copy(ctx, s, dir, listing, copier.Options{
		Workers: runtime.GOMAXPROCS(0), NotCompared: r.options.NotCompared, Progress: r.Progress.Add,
	})
	if errors.Is(err, copier.ErrOccupied) {
		return handoff.ReceiptFile{}, fmt.Errorf("%w\nremove %s to have it filled again", err, dir)
	}
	if err != nil {
		return handoff.ReceiptFile{}, err
	}
	if err := r.Ledger.Commit(ctx, item(v.Name), want.Digest); err != nil {
		return handoff.ReceiptFile{}, err
	}
	return r.receipt(receipt)
}

// makeRoom makes the directory, and empties one that an earlier run filled from
// another seed. The ledger says which those are; it is told before the filling
// begins. What is in a directory that it does not know is left alone: the copier
// refuses it.
func (r *run) makeRoom(ctx context.Context, volume, dir, digest string) error {
	mark, known, err := r.Ledger.Lookup(ctx, item(volume))
	if err != nil || known && mark == digest {
		return errors.Join(err, mkdir(dir))
	}
	if known {
		r.Log.Info("replace a copy of an older seed", "volume", volume)
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("volume %s: %w", volume, err)
		}
	}
	if err := mkdir(dir); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("volume %s: %w", volume, err)
	}
	if len(list) > 0 {
		return nil
	}
	return r.Ledger.Commit(ctx, item(volume), digest)
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("volume: %w", err)
	}
	return nil
}

func (r *run) open(ctx context.Context, want handoff.Seed) (*seed.Seed, error) {
	d, err := seed.Find(r.layout, want.Volume)
	if err != nil {
		return nil, err
	}
	if string(d.Digest) != want.Digest {
		return nil, fmt.Errorf("%s has the seed %s of volume %s, not %s: run the stage seed again", r.layout, d.Digest, want.Volume, want.Digest)
	}
	return seed.Open(ctx, r.layout, d)
}

// receipt writes the receipt.
func (r *run) receipt(receipt handoff.Receipt) (handoff.ReceiptFile, error) {
	data, err := json.MarshalIndent(receipt, "", "  ")
	if err != nil {
		return handoff.ReceiptFile{}, fmt.Errorf("receipt of volume %s: %w", receipt.Volume, err)
	}
	data = append(data, '\n')
	file := handoff.ReceiptFile{Volume: receipt.Volume, File: receipt.Volume + ".json", SHA256: oci.Sum(data), Proved: receipt.Proved}
	if err := atomicfile.Write(r.Workspace.Path(workspace.Receipts, file.File), data, 0o600); err != nil {
		return handoff.ReceiptFile{}, err
	}
	if !receipt.Proved {
		return file, &DifferError{Receipt: receipt}
	}
	return file, nil
}

// emptyVolume makes the directory of a volume that starts empty.
func (r *run) emptyVolume(ctx context.Context, v handoff.Volume) error {
	const none = "empty"
	dir, err := r.place(v.Name)
	if err == nil {
		err = r.makeRoom(ctx, v.Name, dir, none)
	}
	if err != nil {
		return err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	if len(names) > 0 {
		return fmt.Errorf("volume %s starts empty, but %s holds %q: remove it", v.Name, dir, names[0].Name())
	}
	if err := os.Chown(dir, int(v.UID), int(v.GID)); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	// After the change of owner, which would clear setgid.
	if err := unix.Chmod(dir, v.Mode&0o7777); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	return nil
}

// dropOthers removes receipts of volumes that there are no more.
func (r *run) dropOthers(keep []handoff.ReceiptFile) error {
	names := map[string]bool{}
	for _, k := range keep {
		names[k.Volume+".json"], names[k.Volume+".listing"] = true, true
	}
	dir := r.Workspace.Path(workspace.Receipts)
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("receipts: %w", err)
	}
	for _, e := range list {
		if names[e.Name()] || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("receipts: %w", err)
		}
	}
	return nil
}
