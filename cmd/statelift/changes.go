package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline/changes"
	"github.com/statelift/statelift/pipeline/tree"
)

// changesOptions are the flags of changes.
type changesOptions struct {
	to          string
	tree        string
	since       int64
	notCompared []string
	archive     bool
	wait        bool
	in          io.Reader
}

func newChanges(g *globals) *cobra.Command {
	o := changesOptions{in: os.Stdin}
	cmd := &cobra.Command{
		Use:   "changes",
		Short: "List what differs in a volume from its listing (what rollback runs in a cluster)",
		Long: `Compare the directory --to with a listing on standard input, compressed with zstd,
whose digest is --tree; without --tree with an empty directory. Standard output has
one line of JSON per path that was added, altered, dressed (metadata only) or
removed, and the line {"sums": …} at the end. With --archive standard output is a
tar archive of what was added and changed, and the list goes to standard error.

statelift rollback runs this in a Pod that mounts the volume read-only; a person
rarely needs it. --wait does nothing until the program is told to end: then other
commands can be run beside it.`,
		Example: `  zstd -c receipts/data.listing | statelift changes --to volumes/data --tree 4f1c…`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.changes(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "the directory to look at")
	f.StringVar(&o.tree, "tree", "", "digest of the listing, 64 hexadecimal digits")
	f.Int64Var(&o.since, "since", 0, "do not read files whose ctime is older, in nanoseconds since the epoch by the clock of the directory's file system")
	f.StringSliceVar(&o.notCompared, "not-compared", nil, "extended attributes that do not count, as patterns (security.selinux)")
	f.BoolVar(&o.archive, "archive", false, "write a tar archive to standard output, and the list to standard error")
	f.BoolVar(&o.wait, "wait", false, "do nothing, until the end")
	return cmd
}

func (g *globals) changes(ctx context.Context, o changesOptions) error {
	switch {
	case o.wait:
		<-ctx.Done()
		return nil
	case o.to == "":
		return errUsage{errors.New("changes needs --to")}
	}
	v, err := changes.Open(o.to)
	if err != nil {
		return err
	}
	defer v.Close()
	var listing *tree.Reader
	if o.tree != "" {
		text, err := zstd.NewReader(o.in, zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return fmt.Errorf("listing: %w", err)
		}
		defer text.Close()
		listing = tree.NewReader(text)
	}
	list, archive := g.out, io.Writer(nil)
	if o.archive {
		list, archive = g.err, g.out
	}
	how := changes.Options{Since: o.since, NotCompared: o.notCompared, Tree: o.tree}
	return v.Write(ctx, listing, how, list, archive)
}
