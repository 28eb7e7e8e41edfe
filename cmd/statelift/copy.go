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
	"slices"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/stages/deploy"
)

// copyOptions are the flags of copy.
type copyOptions struct {
	seed        string
	to          string
	volume      string
	check       bool
	shard       string
	shards      int
	deltas      []string
	proved      string
	prove       string
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

With --delta, given once for each delta since the seed in their order, the
directory becomes what the volume was at the last of them, whatever state in
between it is in. What --proved says was proved before, and the file system says
nobody touched since, is not read back again.

With --shard it does one of several shares of the work, side by side with the
others, and proves nothing: the same command without --shard, run when no shard
runs any more, does what is left and proves all of it. --shards N takes the shard's
number from JOB_COMPLETION_INDEX, as in a Pod of an Indexed Job.

The seed is PLACE@sha256:HEX, where PLACE is one of
  registry:HOST[:PORT]/PREFIX/seeds   credentials as docker and podman keep them,
                                      or the same document in DOCKER_AUTH_CONFIG
  s3://BUCKET/PREFIX?endpoint=URL     credentials in AWS_ACCESS_KEY_ID and
                                      AWS_SECRET_ACCESS_KEY
  dir:PATH                            an OCI layout on this machine

Standard output has a line "progress: {JSON}" every two seconds, and at the end a
line "receipt: {JSON}", or "shard: {JSON}" for a shard. A short form of the receipt is written to the file
--termination-log when that is there, for Kubernetes.`,
		Example: `  statelift copy --seed registry:registry.example/lift/seeds@sha256:4f1c… --to /volume
  statelift copy --seed registry:registry.example/lift/seeds@sha256:4f1c… --delta sha256:77ab… --to /volume
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
	f.StringSliceVar(&o.deltas, "delta", nil, "digest of a delta at the same place, once for each since the seed, in their order")
	f.StringVar(&o.proved, "proved", "", "what was proved of the directory last, as sha256:HEX@MARK: the newest delta, or the seed, and markNanoseconds of that receipt")
	f.StringVar(&o.prove, "prove", proveTouched, "what is read back with --delta: \""+proveTouched+"\", what was written or touched since --proved, or \""+proveAll+"\"")
	f.StringVar(&o.shard, "shard", "", "do one share of the work only: I/N, with I from 0 to N-1")
	f.IntVar(&o.shards, "shards", 0, "as --shard, of so many, with the number from JOB_COMPLETION_INDEX")
	f.StringSliceVar(&o.notCompared, "not-compared", nil, "extended attributes that the file system there cannot hold or sets itself, as patterns (security.selinux)")
	f.IntVar(&o.workers, "workers", 0, "how much is done side by side (default by the processors, 4 to 8); each takes some 15 MiB")
	f.StringVar(&o.memory, "memory", "200Mi", "how much memory to stay below")
	f.StringVar(&o.termination, "termination-log", "", "file for the short receipt (default /dev/termination-log); it is written when it exists")
	g.patience.register(cmd)
	return cmd
}

// copy does the work of the command.
func (g *globals) copy(ctx context.Context, o copyOptions) error {
	shard, err := o.valid()
	if err != nil {
		return err
	}
	place, digest, err := carrier.ParseSeed(o.seed)
	if err != nil {
		return errUsage{fmt.Errorf("--seed: %w", err)}
	}
	from, err := carrier.Open(ctx, place, carrier.Options{Stall: g.patience.stall, Attempts: g.patience.attempts, Environment: o.environment})
	if errors.Is(err, store.ErrNoCredentials) {
		// Trying again does not help: the Job ends at once with this code.
		return &pipeline.InputError{What: "--seed", Err: err}
	}
	if err != nil {
		return err
	}
	defer from.Close()
	s, err := carrier.OpenSeed(ctx, from, digest)
	if err != nil {
		return o.advise(err)
	}
	if o.volume != "" && o.volume != s.Config.Volume {
		return errUsage{fmt.Errorf("--volume %s: the seed is of volume %s", o.volume, s.Config.Volume)}
	}
	if shard != nil {
		return g.share(ctx, s, *shard, o)
	}
	deltas, err := o.open(ctx, from)
	if err != nil {
		return o.advise(err)
	}
	receipt, err := g.fill(ctx, s, deltas, o)
	if err != nil {
		return o.advise(err)
	}
	if err := errors.Join(g.tell("receipt", receipt), o.terminate(shortOf(receipt))); err != nil {
		return err
	}
	if !receipt.Proved {
		return adviseDifferent(receipt)
	}
	return nil
}

// valid checks the flags, and sets the bound of memory. The shard is nil for the
// whole copy.
func (o copyOptions) valid() (*copier.Shard, error) {
	switch {
	case o.to == "" || o.seed == "":
		return nil, errUsage{errors.New("copy needs --seed and --to")}
	case o.shard != "" && o.shards != 0:
		return nil, errUsage{errors.New("--shard and --shards are two ways to say the same: give one")}
	case o.check && (o.shard != "" || o.shards != 0):
		return nil, errUsage{errors.New("--check proves the whole: it has no shards")}
	case len(o.deltas) > 0 && (o.shard != "" || o.shards != 0):
		return nil, errUsage{errors.New("--delta comes after the shards: it has none")}
	case o.prove != proveTouched && o.prove != proveAll:
		return nil, errUsage{fmt.Errorf("--prove %q: it is %q or %q", o.prove, proveTouched, proveAll)}
	}
	if _, err := delta.ParseProof(o.proved); err != nil {
		return nil, errUsage{fmt.Errorf("--proved: %w", err)}
	}
	if err := o.boundMemory(); err != nil {
		return nil, err
	}
	text := o.shard
	if o.shards != 0 {
		index := o.environment("JOB_COMPLETION_INDEX")
		if index == "" {
			return nil, errUsage{errors.New("--shards: JOB_COMPLETION_INDEX is not set, so this is no Pod of an Indexed Job: give --shard I/N")}
		}
		text = fmt.Sprintf("%s/%d", index, o.shards)
	}
	if text == "" {
		return nil, nil
	}
	shard, err := copier.ParseShard(text)
	if err != nil {
		return nil, errUsage{fmt.Errorf("--shard: %w", err)}
	}
	return &shard, nil
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

// options are those of the copier.
func (o copyOptions) options(t *ticker) copier.Options {
	return copier.Options{
		Workers: cmp.Or(max(o.workers, 0), min(max(runtime.GOMAXPROCS(0), 4), 8)), NotCompared: o.notCompared, MustOwn: true,
		Progress: t.copied, Proved: t.proved,
	}
}

// fill makes and proves the copy, or proves it only.
func (g *globals) fill(ctx context.Context, s *seed.Seed, deltas []*delta.Delta, o copyOptions) (handoff.Receipt, error) {
	temp, err := os.MkdirTemp("", "statelift-copy-")
	if err != nil {
		return handoff.Receipt{}, fmt.Errorf("a place for the listing: %w", err)
	}
	defer os.RemoveAll(temp)
	total := s.Config.Bytes
	for _, d := range deltas {
		total = d.Config.Bytes
	}
	ticker := newTicker(g.out, total)
	defer ticker.stop()
	listing := filepath.Join(temp, s.Config.Volume+".listing")
	if len(deltas) > 0 {
		apply := delta.ApplyOptions{Dir: o.to, Listing: listing, Seed: s, Deltas: deltas, Copy: o.options(ticker)}
		if o.check {
			return delta.Prove(ctx, apply)
		}
		if o.prove != proveAll {
			if apply.Proof, err = delta.ParseProof(o.proved); err != nil {
				return handoff.Receipt{}, err
			}
		}
		return delta.Apply(ctx, apply)
	}
	if o.check {
		return copier.Prove(ctx, s, o.to, listing, o.options(ticker))
	}
	return copier.Copy(ctx, s, o.to, listing, o.options(ticker))
}

// shared is what a shard did.
type shared struct {
	Volume string `json:"volume"`
	Seed   string `json:"seed"`
	Shard  string `json:"shard"` // I/N
	// Skipped says that the volume was full before any shard began.
	Skipped bool `json:"skipped,omitempty"`
}

// share does what is one shard's. Its progress is of what it has to do more or
// less: the shards share evenly.
func (g *globals) share(ctx context.Context, s *seed.Seed, shard copier.Shard, o copyOptions) error {
	ticker := newTicker(g.out, s.Config.Data/int64(shard.Of))
	did, err := copier.CopyShard(ctx, s, o.to, shard, o.options(ticker))
	ticker.stop()
	if err != nil {
		return o.advise(err)
	}
	short := shared{Volume: s.Config.Volume, Seed: string(s.Manifest.Digest), Shard: shard.String(), Skipped: !did}
	return errors.Join(g.tell("shard", short), o.terminate(short))
}

// advise says what a person can do.
func (o copyOptions) advise(err error) error {
	var damaged *oci.Damaged
	switch {
	case errors.Is(err, copier.ErrOccupied):
		return &pipeline.Blocked{Question: err.Error() + ": empty it, or choose another volume", Where: "--to " + o.to}
	case errors.Is(err, copier.ErrOwners):
		return &pipeline.Blocked{Question: err.Error() + ": it is NFS that squashes root, or a Pod without the capability CHOWN: " +
			"export it with no_root_squash to the nodes that run the copy, or choose a StorageClass that keeps owners", Where: "--to " + o.to}
	case errors.As(err, &damaged):
		return errSeedDamaged{fmt.Errorf("%w\nremove that blob where it is, and run the lift again: it is sent anew", err)}
	}
	return err
}

// adviseDifferent says what kinds of differences mean.
func adviseDifferent(r handoff.Receipt) error {
	err := error(&deploy.DifferError{Receipt: r})
	if !slices.ContainsFunc(r.Differences, func(d handoff.Difference) bool { return d.What != "xattrs" }) {
		return fmt.Errorf("%w\nonly extended attributes differ: the file system there does not keep them as they were, or sets its own; choose a StorageClass that keeps them, or declare those with --not-compared", err)
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

// short is the short receipt.
type short struct {
	Volume      string `json:"volume"`
	Seed        string `json:"seed"`
	CopyTree    string `json:"copyTree"`
	Proved      bool   `json:"proved"`
	Differences int64  `json:"differences"`
}

func shortOf(r handoff.Receipt) short {
	return short{Volume: r.Volume, Seed: r.Seed, CopyTree: r.CopyTree, Proved: r.Proved, Differences: r.DifferenceCount}
}

// terminationLog is where Kubernetes reads a container's last words from, of at
// most 4,096 bytes.
const terminationLog = "/dev/termination-log"

// terminate writes the last words for Kubernetes, which made the file.
func (o copyOptions) terminate(words any) error {
	data, err := json.Marshal(words)
	if err != nil {
		return fmt.Errorf("last words: %w", err)
	}
	f, err := os.OpenFile(cmp.Or(o.termination, terminationLog), os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = f.Write(append(data, '\n'))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("last words: %w", err)
	}
	return nil
}
