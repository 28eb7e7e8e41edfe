package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/deploy"
)

// Exit codes. They are part of the command line's contract: scripts rely on
// them, and exitHelp documents them in every --help.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInput       = 3
	exitBlocked     = 4
	exitIncomplete  = 5
	exitNotProved   = 6
	exitLocked      = 7
	exitNoRoom      = 8
	exitInterrupted = 130
)

const exitHelp = `Exit codes:
  0    everything was done and proved
  1    failure: something here or on a far side did not work
  2    usage: unknown command, flag or argument
  3    bad input: unusable source, hostile archive, error in statelift.yaml
  4    blocked: a person must decide; the message says what and where
  5    incomplete: all was done that could be; what is missing is named
  6    not proved: a copy or an artefact is not what it should be
  7    the workspace is in use by another statelift
  8    a disk is full; make room and run again, and it goes on
  130  interrupted; run it again and it goes on`

// errUsage marks errors about how the program was called.
type errUsage struct{ error }

// errSeedDamaged marks a copy of a seed that is not what its digest says: to copy
// it again does not mend it, which a Job sees by the exit code.
type errSeedDamaged struct{ error }

func (e errSeedDamaged) Unwrap() error { return e.error }

// errNotProved is returned when verify found a difference.
var errNotProved = errors.New("not everything is proved; the table above names what is not")

// exitCode is the one place where an error becomes an exit code.
func exitCode(ctx context.Context, err error) int {
	var (
		usage      errUsage
		input      *pipeline.InputError
		blocked    *pipeline.Blocked
		incomplete *pipeline.Incomplete
		differ     *deploy.DifferError
		damaged    errSeedDamaged
	)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, workspace.ErrLocked):
		return exitLocked
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return exitNoRoom
	case errors.As(err, &input), errors.Is(err, workspace.ErrForeign):
		return exitInput
	case errors.As(err, &blocked):
		return exitBlocked
	case errors.Is(err, errNotProved), errors.As(err, &differ), errors.As(err, &damaged):
		return exitNotProved
	case errors.As(err, &incomplete):
		return exitIncomplete
	case ctx.Err() != nil:
		return exitInterrupted
	}
	return exitFailure
}

// message is what the user reads: an incomplete run lists all its reasons.
func message(err error) string {
	var incomplete *pipeline.Incomplete
	if !errors.As(err, &incomplete) || len(incomplete.Because) < 2 {
		return err.Error()
	}
	const most = 20
	var b strings.Builder
	b.WriteString("incomplete, because")
	for i, reason := range incomplete.Because {
		if i == most {
			fmt.Fprintf(&b, "\n  … and %d more (all are in %s)", len(incomplete.Because)-most, cmp.Or(incomplete.Listed, "statelift status --json"))
			break
		}
		b.WriteString("\n  " + reason)
	}
	return b.String()
}
