package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/stages/deploy"
)

// copyOptions are the flags of copy.
type copyOptions struct {
	seed        string
	to          string
	volume      string
	check       bool
	notCompared []string
	workers     int
	memory      string
	termination string
	environment func(string) string
}

func newCopy(g *globals) *cobra.Command {
	o := copyOptions{environment: os.Getenv}
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Fill one volume from its seed and prove it (what the Jobs in a cluster run)",
		Long: `Fill the directory --to from a seed, read everything back and prove it. The Jobs
that a lift makes in a cluster run this; a person rarely needs it.

A copy that was stopped goes on; a directory that holds the whole copy already is
proved again. Every blob's digest is verified on the way.

The seed is PLACE@sha256:HEX, where PLACE is one of
  registry:HOST[:PORT]/PREFIX/seeds   credentials as docker and podman keep them,
                                      or the same document in DOCKER_AUTH_CONFIG
  s3://BUCKET/PREFIX?endpoint=URL     credentials in AWS_ACCESS_KEY_ID and
                                      AWS_SECRET_ACCESS_KEY
  dir:PATH                            an OCI layout on this machine

Standard output has a line "progress: {JSON}" every two seconds, and at the end a
line "receipt: {JSON}". A short form of the receipt is written to the file
--termination-log when that is there, for Kubernetes.`,
		Example: `  statelift copy --seed registry:registry.example/lift/seeds@sha256:4f1c… --to /volume
  statelift copy --check --seed dir:statelift/seeds@sha256:4f1c… --to statelift/volumes/data`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.patience.check(); err != nil {
				return err
			}
			return g.copy(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.seed, "seed", "", "the seed, as PLACE@sha256:HEX")
	f.StringVar(&o.to, "to", "", "the directory to fill; it must exist")
	f.StringVar(&o.volume, "volume", "", "the volume that the seed must be of")
	f.BoolVar(&o.check, "check", false, "only prove what is there; nothing is written, the directory may be read-only")
	f.StringSliceVar(&o.notCompared, "not-compared", nil, "extended attributes that the file system there cannot hold or sets itself, as patterns (security.selinux)")
	f.IntVar(&o.workers, "workers", 0, "how much is done side by side (default by the processors, at least 4); each takes some 15 MiB")
	f.StringVar(&o.memory, "memory", "200Mi", "how much memory to stay below")
	f.StringVar(&o.termination, "termination-log", "", "file for the short receipt (default /dev/termination-log); it is written when it exists")
	g.patience.register(cmd)
	return cmd
}

// copy does the work of the command.
func (g *globals) copy(ctx context.Context, o copyOptions) error {
	if o.to == "" || o.seed == "" {
		return errUsage{errors.New("copy needs --seed and --to")}
	}
	if err := o.boundMemory(); err != nil {
		return err
	}
	place, digest, err := carrier.ParseSeed(o.seed)
	if err != nil {
		return errUsage{fmt.Errorf("--seed: %w", err)}
	}
	from, err := carrier.Open(ctx, place, carrier.Options{Stall: g.patience.stall, Attempts: g.patience.attempts, Environment: o.environment})
	if err != nil {
		return err
	}
	defer from.Close()
	s, err := carrier.OpenSeed(ctx, from, digest)
	if err != nil {
		return err
	}
	if o.volume != "" && o.volume != s.Config.Volume {
		return errUsage{fmt.Errorf("--volume %s: the seed is of volume %s", o.volume, s.Config.Volume)}
	}
	receipt, err := g.fill(ctx, s, o)
	if err != nil {
		return o.advise(err)
	}
	if err := errors.Join(g.tell("receipt", receipt), o.terminate(receipt)); err != nil {
		return err
	}
	if !receipt.Proved {
		return &deploy.DifferError{Receipt: receipt}
	}
	return nil
}

// boundMemory has the garbage collector work harder before the bound is reached
// (runtime/debug.SetMemoryLimit). GOMEMLIMIT says more than a flag's default.
func (o copyOptions) boundMemory() error {
	var size decisions.Size
	if err := size.UnmarshalText([]byte(o.memory)); err != nil {
		return errUsage{fmt.Errorf("--memory: %w", err)}
	}
	if o.environment("GOMEMLIMIT") == "" && size > 0 {
		debug.SetMemoryLimit(int64(size))
	}
	return nil
}

// fill makes and proves the copy, or proves it only.
func (g *globals) fill(ctx context.Context, s *seed.Seed, o copyOptions) (handoff.Receipt, error) {
	temp, err := os.MkdirTemp("", "statelift-copy-")
	if err != nil {
		return handoff.Receipt{}, fmt.Errorf("a place for the listing: %w", err)
	}
	defer os.RemoveAll(temp)
	ticker := newTicker(g.out, s.Config.Bytes)
	defer ticker.stop()
	options := copier.Options{
		Workers: o.workers, NotCompared: o.notCompared, Progress: ticker.copied, Proved: ticker.proved,
	}
	if options.Workers <= 0 {
		options.Workers = max(4, runtime.GOMAXPROCS(0))
	}
	listing := filepath.Join(temp, s.Config.Volume+".listing")
	if o.check {
		return copier.Prove(ctx, s, o.to, listing, options)
	}
	return copier.Copy(ctx, s, o.to, listing, options)
}

// advise says what a person can do.
func (o copyOptions) advise(err error) error {
	if errors.Is(err, copier.ErrOccupied) {
		return &pipeline.Blocked{Question: err.Error() + ": empty it, or choose another volume", Where: "--to " + o.to}
	}
	return err
}

// tell prints one line of the protocol.
func (g *globals) tell(what string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintf(g.out, "%s: %s\n", what, data)
	}
	if err != nil {
		return fmt.Errorf("print the %s: %w", what, err)
	}
	return nil
}

// copied is the short receipt.
type copied struct {
	Volume      string `json:"volume"`
	Seed        string `json:"seed"`
	CopyTree    string `json:"copyTree"`
	Proved      bool   `json:"proved"`
	Differences int64  `json:"differences"`
}

// terminationLog is where Kubernetes reads a container's last words from, of at
// most 4,096 bytes.
const terminationLog = "/dev/termination-log"

// terminate writes the short receipt for Kubernetes, which made the file.
func (o copyOptions) terminate(r handoff.Receipt) error {
	data, err := json.Marshal(copied{Volume: r.Volume, Seed: r.Seed, CopyTree: r.CopyTree, Proved: r.Proved, Differences: r.DifferenceCount})
	if err != nil {
		return fmt.Errorf("short receipt: %w", err)
	}
	f, err := os.OpenFile(cmp.Or(o.termination, terminationLog), os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, os.ErrNotExist) && o.termination == "" {
		return nil
	}
	if err == nil {
		_, err = f.Write(append(data, '\n'))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("short receipt: %w", err)
	}
	return nil
}
