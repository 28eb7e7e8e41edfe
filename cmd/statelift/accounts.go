package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/handoff"
)

func newAccounts(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "accounts",
		Short: "Files and bytes per class, and the balance",
		Long: `Print how many entries, files and bytes of the source went to each class, and the
total, which is counted on its own. Bytes are logical sizes; a hard-linked file is
counted once, where its first path stands.`,
		Example: "  statelift accounts -w lift\n  statelift accounts --json | jq '.classes[] | select(.class==\"volume\")'",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ws, err := g.existing()
			if err != nil {
				return err
			}
			s, err := pipeline.Read(ws, handoff.SplitKey)
			if err != nil {
				return err
			}
			if err := g.print(s.Balance, func(w io.Writer) error { return writeBalance(w, s.Balance) }); err != nil {
				return err
			}
			if !s.Balance.Even() {
				return errNotProved
			}
			return nil
		},
	}
}

func writeBalance(w io.Writer, b handoff.Balance) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "class\tentries\tfiles\tbytes\t\t")
	var entries, files, bytes int64
	for _, c := range b.Classes {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%s\t\n", c.Class, c.Entries, c.Files, c.Bytes, bytesize.Text(c.Bytes))
		entries, files, bytes = entries+c.Entries, files+c.Files, bytes+c.Bytes
	}
	fmt.Fprintf(tw, "sum\t%d\t%d\t%d\t%s\t\n", entries, files, bytes, bytesize.Text(bytes))
	fmt.Fprintf(tw, "host\t%d\t%d\t%d\t%s\t\n", b.Total.Entries, b.Total.Files, b.Total.Bytes, bytesize.Text(b.Total.Bytes))
	if err := tw.Flush(); err != nil {
		return err
	}
	verdict := "the balance is even: every byte is accounted for"
	if !b.Even() {
		verdict = "THE BALANCE IS NOT EVEN"
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}
