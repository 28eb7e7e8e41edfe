package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/transfer"
)

// transferOptions are the flags of transfer.
type transferOptions struct {
	order, source, password, ca, scratch, programTo string
	look                                            bool
	command                                         []string
}

func newTransfer(g *globals) *cobra.Command {
	var o transferOptions
	cmd := &cobra.Command{
		Use:   "transfer --order JSON --source TEXT --password FILE -- COMMAND...",
		Short: "Move the databases in a server's files into another server (what the Jobs in a cluster run)",
		Long: `Start COMMAND, the server that wrote the files, on a socket of its own; have the
engine's own tools dump its databases and restore them in the server that the order
names; compare both table by table. The Jobs that "externalize: database" makes in
a cluster run this; a person rarely needs it.

The restore goes into what is absent or empty, and into what an earlier run
restored and nobody has written to since. Standard output has a line
"receipt: {JSON}" at the end.`,
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.command = args
			if o.programTo != "" {
				return installProgram(o.programTo)
			}
			return g.transfer(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.order, "order", "", "what to move where (handoff.Transfer)")
	f.StringVar(&o.source, "source", "", "which state of the volumes this is")
	f.StringVar(&o.password, "password", "", "file with the password of the administrator there")
	f.StringVar(&o.ca, "ca", "", "file with the certificates by which the server there is known")
	f.StringVar(&o.scratch, "scratch", "", "directory for sockets and credentials, in memory")
	f.BoolVar(&o.look, "look", false, "move nothing: tell how what was moved stands there, as \"standing: {JSON}\"")
	f.StringVar(&o.programTo, "program-to", "", "only put this program into that directory, for a container of another image")
	return cmd
}

func (g *globals) transfer(ctx context.Context, o transferOptions) error {
	var order handoff.Transfer
	if err := json.Unmarshal([]byte(o.order), &order); err != nil {
		return errUsage{fmt.Errorf("--order: %w", err)}
	}
	if len(o.command) == 0 || o.source == "" {
		return errUsage{errors.New("transfer needs --source and a command")}
	}
	order.Source, order.Command = o.source, o.command
	password, err := os.ReadFile(o.password)
	if err != nil {
		return &pipeline.InputError{What: "--password", Err: err}
	}
	how := transfer.Options{Password: strings.TrimRight(string(password), "\r\n"), CA: o.ca, Scratch: o.scratch, Log: g.logger(g.err)}
	if o.look {
		standing, err := transfer.Look(ctx, order, how)
		if err != nil {
			// Somebody waits for the answer, whatever it is: the Job is not to try again.
			return &pipeline.Blocked{Question: err.Error()}
		}
		return g.tell("standing", standing)
	}
	receipt, err := transfer.Run(ctx, order, how)
	if err != nil {
		return err
	}
	return g.tell("receipt", receipt)
}

// installProgram puts this very program into a directory.
func installProgram(dir string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("this program: %w", err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "statelift"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("this program: %w", err)
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
