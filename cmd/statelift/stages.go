package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/stages"
)

// stageInfo is one line of `statelift stages --json`.
type stageInfo struct {
	Name    string   `json:"name"`
	Summary string   `json:"summary"`
	Reads   []string `json:"reads"`
	Writes  string   `json:"writes"`
	Effects []string `json:"effects"`
	Resumes string   `json:"resumes"`
}

func newStages(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "stages",
		Short: "List the stages: what each reads, writes and touches",
		Long: `List the stages in their order: the hand-offs that each reads and writes, what it
may touch beside the workspace, and how it goes on after a stop. Nothing is run.

A stage is done once for what it reads, and again when that changes. What a user
asks for at a time of their own is no stage, but a command: sync, cutover, rollback,
accept.`,
		Example: "  statelift stages\n  statelift stages --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var list []stageInfo
			for _, s := range stages.All(stages.Deps{}) {
				list = append(list, stageInfo{
					Name: s.Name, Summary: s.Summary, Reads: append([]string{}, s.Reads...), Writes: s.Writes,
					Effects: strings.Split(s.Effects.String(), ","), Resumes: s.Resumes,
				})
			}
			return g.print(list, func(w io.Writer) error { return writeStages(w, list) })
		},
	}
}

func writeStages(w io.Writer, list []stageInfo) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STAGE\tREADS\tWRITES\tTOUCHES\tWHAT")
	for _, s := range list {
		reads := strings.Join(s.Reads, ",")
		if reads == "" {
			reads = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", s.Name, reads, s.Writes, strings.Join(s.Effects, ","), s.Summary)
	}
	return tw.Flush()
}

// stageNames are the names of the stages in their order.
func stageNames() []string {
	var names []string
	for _, s := range stages.All(stages.Deps{}) {
		names = append(names, s.Name)
	}
	return names
}
