package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/fetch"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/store"
)

func newFetch(g *globals) *cobra.Command {
	var o fetch.Options
	var from, below string
	cmd := &cobra.Command{
		Use:   "fetch --store STORE --index SHA256 --below PATH --to DIR",
		Short: "Bring the objects of a directory into a Pod when it starts (what an init container runs)",
		Long: `Bring what the index of a store has below PATH into DIR: each file verified by its
SHA-256, with owners, modes and times. The Pods of a workload with "externalize:
objects" begin with this; a person rarely needs it.

Standard output has a line "fetched: {JSON}" at the end.`,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.patience.check(); err != nil {
				return err
			}
			path, err := hostpath.Unquote(below)
			if err != nil || from == "" || o.SHA256 == "" || path == "" || o.To == "" {
				return errUsage{errors.Join(errors.New("fetch needs --store, --index, --below and --to"), err)}
			}
			o.Below = hostpath.Clean(path)
			return g.fetch(cmd.Context(), from, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "store", "", "where the objects are, as for statelift run")
	f.StringVar(&o.Index, "name", "index.jsonl", "name of the index in the store")
	f.StringVar(&o.SHA256, "index", "", "SHA-256 of the index")
	f.StringVar(&below, "below", "", "the directory on the host")
	f.StringVar(&o.To, "to", "", "the directory to fill")
	g.patience.register(cmd)
	return cmd
}

func (g *globals) fetch(ctx context.Context, from string, o fetch.Options) error {
	st, err := store.Open(ctx, from, store.Options{Stall: g.patience.stall, Attempts: g.patience.attempts})
	if errors.Is(err, store.ErrNoCredentials) {
		return &pipeline.InputError{What: "--store", Err: err}
	}
	if err != nil {
		return err
	}
	defer st.Close()
	done, err := fetch.Run(ctx, st, o)
	if err != nil {
		return fmt.Errorf("objects of %s: %w", o.Below, err)
	}
	return g.tell("fetched", done)
}
